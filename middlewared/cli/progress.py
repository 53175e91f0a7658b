"""How a job is shown on standard error while somebody waits for it."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from middlewared.cli.output import (
    STATE_COLOURS,
    describe,
    elapsed,
    percent,
    seconds,
    what,
)

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress, Task

__all__ = ["Bar", "Display", "Lines", "Silence", "make_display"]

Item = Mapping[str, Any]


class Display:
    """Shows the items of one job, from the first to the final one.

    Used as a context manager; leaving it leaves the terminal in order.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal in order."""

    def show(self, item: Item) -> None:
        """Show a newer item."""
        raise NotImplementedError


class Silence(Display):
    """Shows nothing."""

    def show(self, item: Item) -> None:
        """Show nothing."""


class Lines(Display):
    """Prints a line when the state changes, and if wanted when the words do."""

    def __init__(self, *, descriptions: bool) -> None:
        self._descriptions = descriptions
        self._last: tuple[str, str] | None = None

    def show(self, item: Item) -> None:
        """Print a line if there is something new to say."""
        words = what(item) if self._descriptions else ""
        if (item["state"], words) != self._last:
            self._last = (item["state"], words)
            click.echo(describe(item), err=True)


class Bar(Display):
    """A live progress bar on a terminal."""

    def __init__(self) -> None:
        self._progress = _make_progress()
        self._task = self._progress.add_task("", total=None, item=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last state of the bar on the terminal."""
        self._progress.stop()

    def show(self, item: Item) -> None:
        """Move the bar."""
        value = item["progress"]["percent"]
        # A waiting or failed job must not pulse as if something were going on.
        idle = item["state"] != "RUNNING"
        self._progress.update(
            self._task,
            total=None if value is None and not idle else 100,
            completed=value or 0,
            item=item,
        )


_MARKS = {"WAITING": "·", "SUCCESS": "✔", "FAILED": "✘", "ABORTED": "■"}


def _make_progress() -> "Progress":
    """Build the bar: mark, id, method, bar, percent, time, words."""
    from rich.console import Console, ConsoleDimensions  # noqa: PLC0415 - lazy
    from rich.progress import BarColumn, Progress, ProgressColumn  # noqa: PLC0415
    from rich.spinner import Spinner  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    spinner = Spinner("dots", style="cyan")

    class Margin(Console):
        @property  # type: ignore[misc]  # nobody sets the size of a terminal
        def size(self) -> ConsoleDimensions:
            # Room for the ^C that a terminal echoes: it must not open a second line.
            width, height = super().size
            return ConsoleDimensions(width - 3, height)

    class Mark(ProgressColumn):
        def render(self, task: "Task") -> "RenderableType":
            state = (task.fields["item"] or {}).get("state", "WAITING")
            if state == "RUNNING":
                return spinner.render(task.get_time())
            return Text(_MARKS[state], style=STATE_COLOURS[state])

    class Cell(ProgressColumn):
        def __init__(self, function: Any, column: Column, style: str = "") -> None:
            super().__init__(column)
            self._function, self._style = function, style

        def render(self, task: "Task") -> Text:
            item = task.fields["item"]
            text = self._function(item) if item else ""
            failed = item is not None and item["state"] == "FAILED"
            return Text(text, style="red" if failed and self._style else self._style)

    def column(**attributes: Any) -> Column:
        return Column(no_wrap=True, **attributes)

    return Progress(
        Mark(),
        Cell(lambda item: f"{item['id']} {item['method']}", column(), "bold"),
        BarColumn(bar_width=24, complete_style="cyan", finished_style="green"),
        Cell(percent, column(justify="right", min_width=4)),
        Cell(lambda item: seconds(elapsed(item)), column(min_width=5), "dim"),
        Cell(what, column(ratio=1, overflow="ellipsis")),
        console=Margin(stderr=True),
        expand=True,
    )


def make_display(style: str, *, quiet: bool) -> Display:
    """Choose how to show a job.

    Args:
        style: ``progressbar`` or ``description``. Where standard error is no terminal,
            a bar becomes a line per state.
        quiet: show nothing.
    """
    if quiet:
        return Silence()
    if style == "description":
        return Lines(descriptions=True)
    return Bar() if sys.stderr.isatty() else Lines(descriptions=False)
