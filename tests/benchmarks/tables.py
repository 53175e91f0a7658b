"""What a row found, and how it is shown."""

from collections.abc import Sequence

import msgspec

__all__ = ["Goal", "Table", "at_least", "at_most", "markdown"]


class Goal(msgspec.Struct, frozen=True):
    """What was to be reached.

    Attributes:
        text: what, and by how much.
        reached: what it is.
        met: whether that will do; None when it is only reported.
    """

    text: str
    reached: str
    met: bool | None = None


class Table(msgspec.Struct):
    """What a row found.

    Attributes:
        number: which row.
        title: what was measured.
        method: how, in a sentence or two.
        head: names of the columns.
        lines: the cells.
        goals: what was to be reached.
        notes: what else is to be said, such as a rival that is not installed.
    """

    number: int
    title: str
    method: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]] = ()
    goals: list[Goal] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


def at_most(text: str, value: float, limit: float, unit: str = "x") -> Goal:
    """Judge a value that is to be small."""
    return Goal(
        f"{text}: at most {limit:g} {unit}", f"{value:.3g} {unit}", value <= limit
    )


def at_least(text: str, value: float, limit: float, unit: str = "x") -> Goal:
    """Judge a value that is to be large."""
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return Goal(
        f"{text}: at least {limit:,g} {unit}", f"{shown} {unit}", value >= limit
    )


def markdown(table: Table) -> str:
    """Show a row."""
    parts = [f"### {table.number}. {table.title}", "", table.method, ""]
    parts += _lines(table.head, table.lines)
    if table.goals:
        words = {True: "met", False: "**missed**", None: "reported"}
        found = [(g.text, g.reached, words[g.met]) for g in table.goals]
        parts += ["", *_lines(("goal", "reached", ""), found)]
    for note in table.notes:
        parts += ["", note]
    return "\n".join(parts) + "\n"


def _lines(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)]
