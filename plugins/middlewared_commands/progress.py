"""Progress from lines of output, by the patterns of the settings."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import regex  # type: ignore[import-untyped]  # it ships no types

from middlewared_commands.table import Pattern

__all__ = ["Compiled", "Progress", "compile_pattern", "number", "printable"]

#: Seconds that one pattern may take for one line; past it, it is not used any more.
BUDGET = 0.1
#: Characters of a line that patterns look at, and of a description.
MAX_LINE = 4096
MAX_DESCRIPTION = 200

_GROUPS = {"percent", "done", "total", "description"}
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")


class Compiled(msgspec.Struct, frozen=True):
    """A pattern that can be used.

    Attributes:
        expression: compiled.
        scale: what its percent is multiplied by.
        log: whether lines that match are kept in the log.
    """

    expression: Any
    scale: float
    log: bool


def compile_pattern(pattern: Pattern) -> Compiled:
    """Make a pattern ready.

    Raises:
        ValueError: it is no regular expression, or has not the groups it needs.
    """
    try:
        expression = regex.compile(pattern.pattern)
    except regex.error as exc:
        raise ValueError(f"no regular expression: {exc}") from None
    groups = set(expression.groupindex)
    if not groups <= _GROUPS:
        odd = ", ".join(sorted(groups - _GROUPS))
        raise ValueError(f"there is no group {odd}, expected {_all(_GROUPS)}")
    if ("done" in groups) != ("total" in groups):
        raise ValueError("done and total go together")
    if not groups:
        raise ValueError(f"it has no named group, expected one of {_all(_GROUPS)}")
    return Compiled(expression, pattern.scale, pattern.log)


def _all(names: set[str]) -> str:
    return ", ".join(sorted(names))


class Progress:
    """Looks at lines and reports what they show.

    Args:
        patterns: tried in order; the first that matches counts.
        report: called with percent and description; None for what is not shown.
        warn: called with a text when a pattern takes too long.
    """

    def __init__(
        self,
        patterns: Sequence[Compiled],
        report: Callable[[float | None, str | None], None],
        warn: Callable[[str], None],
    ) -> None:
        self._patterns = list(patterns)
        self._report = report
        self._warn = warn

    def look(self, line: bytes) -> bool:
        """Report what a line shows; False when it is not to be in the log."""
        text = line[:MAX_LINE].decode(errors="replace").strip()
        for pattern in tuple(self._patterns):
            match = self._search(pattern, text)
            if match is not None:
                self._tell(pattern, match.groupdict())
                return pattern.log
        return True

    def _search(self, pattern: Compiled, text: str) -> Any:
        try:
            return pattern.expression.search(text, timeout=BUDGET, concurrent=True)
        except TimeoutError:
            self._patterns.remove(pattern)
            self._warn(
                f"progress pattern {pattern.expression.pattern!r} took more than "
                f"{BUDGET:g} s for a line and is not used any more"
            )
            return None

    def _tell(self, pattern: Compiled, groups: dict[str, str | None]) -> None:
        percent = number(groups.get("percent"))
        if percent is not None:
            percent *= pattern.scale
        done, total = number(groups.get("done")), number(groups.get("total"))
        if done is not None and total:
            percent = 100 * done / total
        description = groups.get("description")
        if description is not None:
            description = printable(description)[:MAX_DESCRIPTION]
        if percent is not None or description:
            self._report(percent, description or None)


def number(text: str | None) -> float | None:
    """Read a number as programs print it: ``45.3``, ``45,3``, ``1,234``, ``1_234``.

    None when it is none.
    """
    if text is None:
        return None
    plain = re.sub(r"[\s_'\u00a0\u202f]", "", text)
    if _THOUSANDS.fullmatch(plain) or "." in plain:
        plain = plain.replace(",", "")
    try:
        found = float(plain.replace(",", "."))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def printable(text: str) -> str:
    """Make one line of a text that programs wrote; terminals are not to obey it."""
    plain = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in plain)
