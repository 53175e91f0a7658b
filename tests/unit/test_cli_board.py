"""The live table of ``middlewared watch``."""

import io
from typing import Any

import pytest
from rich.console import Console

from middlewared.cli.board import KEPT, Board, Frames, render


def item(number: int, state: str = "RUNNING", **changes: Any) -> dict[str, Any]:
    """Make an item."""
    made: dict[str, Any] = {
        "id": number,
        "method": "demo.sleep",
        "state": state,
        "description": None,
        "progress": {"percent": 40, "description": "", "extra": None},
        "error": None,
        "time_started": {"$date": 1_000},
        "time_finished": {"$date": 3_000},
    }
    return made | changes


def ids(board: Board, limit: int) -> list[int]:
    """List the ids that a board shows."""
    return [one["id"] for one in board.rows(limit)]


def test_order() -> None:
    """Running jobs come first, then waiting ones, then the last to end."""
    board = Board()
    for number, state in enumerate(["SUCCESS", "WAITING", "RUNNING", "FAILED"]):
        board.update(item(number, state))
    assert ids(board, 10) == [2, 1, 3, 0]


def test_counts_follow_moves() -> None:
    """A job is counted once, in its present state."""
    board = Board()
    for state in ("WAITING", "RUNNING", "RUNNING", "SUCCESS", "RUNNING"):
        board.update(item(1, state))
    counts = {state: board.count(state) for state in ("WAITING", "RUNNING", "SUCCESS")}
    assert counts == {"WAITING": 0, "RUNNING": 0, "SUCCESS": 1}


def test_many_waiting() -> None:
    """However many wait, there is room for jobs that ended, and a count of the rest."""
    board = Board()
    for number in range(1000):
        board.update(item(number, "WAITING"))
    board.update(item(2000, "SUCCESS"))
    rows = board.rows(20)
    assert len(rows) == 16
    assert rows[-1]["id"] == 2000
    assert board.hidden(rows) == 985


def test_memory_is_bounded() -> None:
    """Jobs that ended long ago are forgotten."""
    board = Board()
    for number in range(3 * KEPT):
        board.update(item(number, "SUCCESS"))
    assert len(ids(board, 10 * KEPT)) == KEPT
    assert ids(board, 1) == [3 * KEPT - 1]


def test_reset() -> None:
    """After a gap, jobs that are no longer open disappear."""
    board = Board()
    board.update(item(1))
    board.update(item(2))
    board.reset([item(2), item(3, "WAITING")])
    assert ids(board, 10) == [2, 3]
    assert (board.count("RUNNING"), board.count("WAITING")) == (1, 1)


def draw(board: Board, *, width: int, height: int) -> str:
    """Draw a board as text."""
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as capture:
        console.print(render(board, "/data/middlewared.sock", height))
    return capture.get()


def test_picture() -> None:
    """The picture shows id, method, state, percent, time and words, and fits."""
    board = Board()
    progress = {"percent": None, "description": "counting", "extra": None}
    board.update(item(7, progress=progress))
    board.update(item(8, "FAILED", error="[EFAULT] boom"))
    for number in range(100, 200):
        board.update(item(number, "WAITING", time_started=None))
    for width in (80, 120, 40):
        text = draw(board, width=width, height=24)
        assert len(text.splitlines()) < 24
        assert all(len(line) <= width for line in text.splitlines())
    text = draw(board, width=120, height=24)
    for part in (
        "1 running",
        "100 waiting",
        "1 failed",
        "counting",
        "[EFAULT] boom",
        "more",
    ):
        assert part in text


def test_frames() -> None:
    """Changes are drawn at once, but not too often; without any, once a second."""
    now = 100.0
    drawn: list[float] = []
    frames = Frames(lambda: drawn.append(now), clock=lambda: now)
    for moment, changed in [
        (100.0, True),
        (100.01, True),
        (100.12, True),
        (100.13, True),
        (100.2, False),
        (100.26, False),
        (101.2, False),
        (101.3, False),
    ]:
        now = moment
        frames.draw_if_due(changed=changed)
    assert drawn == [100.0, 100.13, 101.2]
    assert frames.wait == pytest.approx(0.9)
