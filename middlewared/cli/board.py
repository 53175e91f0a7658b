"""The live table of ``middlewared watch``."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import anyio

from middlewared.cli.output import STATE_COLOURS, elapsed, percent, seconds, what
from middlewared.client import FINAL_STATES, RESUMED, is_final

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from middlewared.client import Client, Subscription

__all__ = ["Board", "Frames", "show_board"]

Item = Mapping[str, Any]

#: Ended jobs that are kept for the table; terminals are not higher.
KEPT = 200

#: Ended jobs that are read at the start.
RECENT = 50

#: Times a second the table is drawn, at most: a picture takes some 20 ms.
FRAMES = 8


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
        before = self._open.get(job_id)
        if before is not None:
            self._counts[before["state"]] -= 1
        self._counts[state] += 1
        if not is_final(item):
            self._open[job_id] = item
            return
        self._open.pop(job_id, None)
        self._ended[job_id] = item
        if len(self._ended) > KEPT:
            del self._ended[next(iter(self._ended))]

    def reset(self, items: Iterable[Item]) -> None:
        """Start over with what the server says is open, after a gap."""
        for state in ("WAITING", "RUNNING"):
            self._counts[state] = 0
        self._open.clear()
        for item in items:
            self.update(item)

    def count(self, state: str) -> int:
        """Say how many jobs are in a state; of final ones, since the start."""
        return self._counts[state]

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


async def _read(client: "Client", board: Board) -> None:
    """Read what is open and what ended last."""
    ended = await client.call(
        "core.get_jobs",
        [["state", "in", sorted(FINAL_STATES)]],
        {"order_by": ["-id"], "limit": RECENT},
    )
    still_open = await client.call(
        "core.get_jobs", [["state", "in", ["WAITING", "RUNNING"]]]
    )
    board.reset([*reversed(ended), *still_open])


async def show_board(client: "Client", count: int | None) -> None:
    """Draw the table until *count* events were seen, or for ever."""
    from rich.console import Console  # noqa: PLC0415 - lazy, rich takes its time
    from rich.live import Live  # noqa: PLC0415

    board = Board()
    console = Console()

    def picture() -> "RenderableType":
        return render(board, client.address.text, console.size.height)

    async with client.subscribe("core.get_jobs") as events:
        await _read(client, board)
        with Live(get_renderable=picture, console=console, auto_refresh=False) as live:
            frames = Frames(live.refresh)
            seen = 0
            while seen != count:
                event = await _next_event(events, frames.wait)
                if event is _END:
                    break
                if event is not None and event["msg"] == RESUMED:
                    await _read(client, board)
                elif event is not None:
                    if event.get("fields"):
                        board.update(event["fields"])
                    seen += 1
                frames.draw_if_due(changed=event is not None)


_END: Item = {}


async def _next_event(events: "Subscription", seconds: float) -> Item | None:
    """Wait for an event; None when there is none so soon, `_END` when no more come."""
    with anyio.move_on_after(seconds):
        return await anext(events, _END)
    return None


class Frames:
    """Says when to draw: soon after a change, else once a second for the clocks.

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

    def draw_if_due(self, *, changed: bool) -> None:
        """Draw, unless the last picture is too fresh."""
        if changed:
            self._due = min(self._due, self._drawn + 1 / FRAMES)
        now = self._clock()
        if now >= self._due:
            self._draw()
            self._drawn, self._due = now, now + 1.0


def render(board: Board, address: str, height: int) -> "RenderableType":
    """Draw the table for a terminal of *height* lines."""
    table = _make_table()
    table.title = _title(board, address)
    # Title, head, rule, foot and the line of the cursor.
    shown = board.rows(max(1, height - 6))
    for item in shown:
        table.add_row(*_cells(item), style="" if item["state"] == "RUNNING" else "dim")
    hidden = board.hidden(shown)
    if hidden:
        table.caption = f"{hidden} more"
    return table


def _make_table() -> "Table":
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(
        box=box.SIMPLE_HEAD,
        expand=True,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("method", no_wrap=True, overflow="ellipsis", max_width=28)
    table.add_column("state", no_wrap=True)
    table.add_column("", width=16, no_wrap=True)
    table.add_column("%", justify="right", no_wrap=True, min_width=4)
    table.add_column("time", justify="right", no_wrap=True, min_width=5)
    table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    return table


def _cells(item: Item) -> list["RenderableType"]:
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    state, value = item["state"], item["progress"]["percent"]
    bar: RenderableType = ""
    if state == "RUNNING":
        bar = ProgressBar(
            total=None if value is None else 100,
            completed=value or 0,
            pulse=value is None,
            complete_style="cyan",
            finished_style="cyan",
        )
    return [
        str(item["id"]),
        item["method"],
        Text(state, style=STATE_COLOURS[state]),
        bar,
        percent(item) if state == "RUNNING" else "",
        seconds(elapsed(item)),
        Text(what(item), style="red" if state == "FAILED" else ""),
    ]


def _title(board: Board, address: str) -> "Text":
    from rich.text import Text  # noqa: PLC0415

    title = Text("middlewared ", style="bold not italic")
    title.append(address, style="dim not bold not italic")
    for state, colour in STATE_COLOURS.items():
        number = board.count(state)
        if number or state in {"RUNNING", "WAITING"}:
            title.append(f"   {number} {state.lower()}", style=colour)
    return title
