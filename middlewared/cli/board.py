"""The live table of ``middlewared watch``."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import anyio

from middlewared.cli.output import STATE_COLOURS, elapsed, percent, seconds, what
from middlewared.client import FINAL_STATES, RESUMED, is_final

if TYPE_CHECKING:
    from rich.text import Text

    from middlewared.client import Client, Subscription

__all__ = ["Board", "Frames", "show_board"]

Item = Mapping[str, Any]

#: Ended jobs that are kept for the table; terminals are not higher.
KEPT = 200

#: Ended jobs that are read at the start.
RECENT = 50

#: Seconds between two pictures while jobs change; a picture takes some ms.
BUSY = 0.2

#: Seconds between two pictures while jobs only get older, and when nothing is open.
AGEING, IDLE = 1.0, 5.0


class Board:
    """The jobs that are shown: all that have not ended, and those that ended last."""

    def __init__(self) -> None:
        self._open: dict[int, Item] = {}
        self._ended: dict[int, Item] = {}
        self._counts: Counter[str] = Counter()

    def update(self, item: Item) -> None:
        """Take a newer item; one that is older than the end is ignored."""
        job_id, state = item["id"], item["state"]
        if job_id in self._ended:
            return
        before = self._open.pop(job_id, None)
        if before is not None:
            self._counts[before["state"]] -= 1
        self._counts[state] += 1
        if is_final(item):
            self._keep(item)
        else:
            self._open[job_id] = item

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event."""
        if event["msg"] == "removed":
            self.remove(event["id"])
        elif event.get("fields"):
            self.update(event["fields"])

    def remove(self, number: int) -> None:
        """Forget a job that is gone, or of no interest any more."""
        item = self._open.pop(number, None)
        if item is not None:
            self._counts[item["state"]] -= 1
        self._ended.pop(number, None)

    def _keep(self, item: Item) -> None:
        self._ended[item["id"]] = item
        if len(self._ended) > KEPT:
            del self._ended[next(iter(self._ended))]

    def reset(
        self, still_open: Iterable[Item], ended: Iterable[Item], counts: dict[str, int]
    ) -> None:
        """Start over with what the server says, at the start and after a gap.

        Args:
            still_open: all jobs that run or wait.
            ended: those that ended last, oldest first.
            counts: how many jobs there are in each final state.
        """
        self._open.clear()
        self._ended.clear()
        self._counts = Counter(counts)
        for item in ended:
            self._keep(item)
        for item in still_open:
            self.update(item)

    def count(self, state: str) -> int:
        """Say how many jobs are in a state."""
        return self._counts[state]

    @property
    def is_open(self) -> bool:
        """Whether a job runs or waits."""
        return bool(self._open)

    def rows(self, limit: int) -> list[Item]:
        """Choose what fits: running jobs, then waiting ones, then the last to end."""
        running = (i for i in self._open.values() if i["state"] == "RUNNING")
        waiting = (i for i in self._open.values() if i["state"] == "WAITING")
        chosen = list(islice(running, limit))
        room = limit - len(chosen)
        # Someone who watches wants to see jobs end, however many wait.
        chosen += islice(waiting, max(room - 5, room // 2) if self._ended else room)
        chosen += islice(reversed(self._ended.values()), limit - len(chosen))
        return chosen

    def hidden(self, shown: Iterable[Item]) -> int:
        """Say how many open jobs are not among those shown."""
        return len(self._open) - sum(1 for item in shown if not is_final(item))


async def _read(client: "Client", board: Board, filters: Sequence[Any]) -> None:
    """Read what is open, what ended last, and how many ended."""
    counts = {
        state: await client.call(
            "core.get_jobs", [*filters, ["state", "=", state]], {"count": True}
        )
        for state in sorted(FINAL_STATES)
    }
    ended = await client.call(
        "core.get_jobs",
        [*filters, ["state", "in", sorted(FINAL_STATES)]],
        {"order_by": ["-id"], "limit": RECENT},
    )
    still_open = await client.call(
        "core.get_jobs", [*filters, ["state", "in", ["WAITING", "RUNNING"]]]
    )
    board.reset(still_open, reversed(ended), counts)


async def show_board(
    client: "Client", options: Mapping[str, Any], count: int | None
) -> None:
    """Draw the table until *count* events were seen, or for ever.

    Args:
        client: the connection.
        options: of the subscription.
        count: how many events.
    """
    from rich.console import Console  # noqa: PLC0415 - lazy, rich takes its time
    from rich.live import Live  # noqa: PLC0415

    board = Board()
    console = Console()
    filters = options.get("filters", ())

    def picture() -> "Text":
        width, height = console.size
        return render(board, client.address.text, width, height)

    async with client.subscribe("core.get_jobs", **options) as events:
        await _read(client, board, filters)
        with Live(get_renderable=picture, console=console, auto_refresh=False) as live:
            frames = Frames(live.refresh)
            seen = 0
            while seen != count:
                event = await _next_event(events, frames.wait)
                if event is _END:
                    break
                if event is not None and event["msg"] == RESUMED:
                    if not event["recovered"]:
                        await _read(client, board, filters)
                elif event is not None:
                    board.take(event)
                    seen += 1
                frames.draw_if_due(changed=event is not None, ageing=board.is_open)


_END: Item = {}


async def _next_event(events: "Subscription", seconds: float) -> Item | None:
    """Wait for an event; None when there is none so soon, `_END` when no more come."""
    with anyio.move_on_after(seconds):
        return await anext(events, _END)
    return None


class Frames:
    """Says when to draw: soon after a change, else now and then.

    Args:
        draw: draws the picture.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        draw: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._draw = draw
        self._clock = clock
        self._drawn = -math.inf
        self._due = -math.inf

    @property
    def wait(self) -> float:
        """Seconds until the next picture is due."""
        return max(0.0, self._due - self._clock())

    def draw_if_due(self, *, changed: bool, ageing: bool) -> None:
        """Draw, unless the last picture is too fresh.

        Args:
            changed: something else is to be shown.
            ageing: times are shown that go on without changes.
        """
        if changed:
            self._due = min(self._due, self._drawn + BUSY)
        now = self._clock()
        if now >= self._due:
            self._draw()
            self._drawn = now
            self._due = now + (AGEING if ageing else IDLE)


def render(board: Board, address: str, width: int, height: int) -> "Text":
    """Draw the table for a terminal of so many columns and lines.

    Lines are put together here, since a table of rich takes ten times as long.
    """
    from rich.text import Text  # noqa: PLC0415 - lazy

    # Title, head, foot and the line of the cursor.
    shown = board.rows(max(1, height - 5))
    rows = [_cells(item) for item in shown]
    columns = _columns(rows, width)
    lines = [_title(board, address), Text()]
    lines.append(Text(_line(HEAD, columns), style="bold"))
    lines += [_row(item, row, columns) for item, row in zip(shown, rows, strict=True)]
    hidden = board.hidden(shown)
    if hidden:
        lines.append(Text(f"{hidden} more", style="dim italic"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


HEAD = ("id", "method", "state", "", "%", "time", "")

#: The columns of numbers, which stand at the right of their cells.
NUMBERS = (0, 4, 5)

#: The column of the bar, and its width.
BAR, BAR_WIDTH = 3, 16

#: Columns between two columns.
GAP = 2


def _cells(item: Item) -> tuple[str, ...]:
    running = item["state"] == "RUNNING"
    return (
        str(item["id"]),
        item["method"],
        item["state"],
        "",
        percent(item) if running else "",
        seconds(elapsed(item)),
        what(item),
    )


def _columns(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Choose widths of the columns; the last one takes what is left."""
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    # These three change all the time, and columns that jump are hard to read.
    widths[2], widths[4], widths[5] = 7, 4, 6
    widths[1], widths[BAR] = min(widths[1], 28), BAR_WIDTH
    widths[-1] = max(0, width - sum(widths[:-1]) - GAP * (len(widths) - 1))
    return widths


def _fit(text: str, width: int, *, right: bool = False) -> str:
    """Pad or cut a text to a width in columns; some characters take two."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415

    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…" if width else ""
    space = " " * (width - size)
    return space + text if right else text + space


def _line(cells: Sequence[str], columns: Sequence[int]) -> str:
    return (" " * GAP).join(
        _fit(cell, width, right=number in NUMBERS)
        for number, (cell, width) in enumerate(zip(cells, columns, strict=True))
    )


def _row(item: Item, cells: Sequence[str], columns: Sequence[int]) -> "Text":
    from rich.text import Text  # noqa: PLC0415

    state = item["state"]
    line = Text(_line(cells, columns), style="" if state == "RUNNING" else "dim")
    starts = [sum(columns[:n]) + GAP * n for n in range(len(columns))]
    line.stylize(STATE_COLOURS[state], starts[2], starts[2] + columns[2])
    if state == "FAILED":
        line.stylize("red", starts[-1])
    if state == "RUNNING":
        start, end = starts[BAR], starts[BAR] + BAR_WIDTH
        line.plain = line.plain[:start] + "━" * BAR_WIDTH + line.plain[end:]
        done_from, done_to = _done(item["progress"]["percent"])
        line.stylize("bright_black", start, end)
        line.stylize("cyan", start + done_from, start + done_to)
    return line


def _done(value: float | None) -> tuple[int, int]:
    """Say which part of the bar is lit; one that moves where nobody knows."""
    if value is not None:
        return 0, round(BAR_WIDTH * value / 100)
    start = int(time.monotonic() * 4) % (BAR_WIDTH - 3)
    return start, start + 4


def _title(board: Board, address: str) -> "Text":
    from rich.text import Text  # noqa: PLC0415

    title = Text("middlewared ", style="bold")
    title.append(address, style="not bold dim")
    for state, colour in STATE_COLOURS.items():
        number = board.count(state)
        if number or state in {"RUNNING", "WAITING"}:
            title.append(f"   {number} {state.lower()}", style=colour)
    return title
