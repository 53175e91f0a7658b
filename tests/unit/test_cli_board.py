"""The live table of ``middlewared watch``."""

import io
from typing import Any

from rich.cells import cell_len
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


def test_jobs_that_are_gone_are_forgotten() -> None:
    """Removed, or of no interest any more; unknown ones are ignored."""
    board = Board()
    for number, state in enumerate(["SUCCESS", "WAITING", "RUNNING"]):
        board.take({"msg": "added", "id": number, "fields": item(number, state)})
    for number in (0, 2, 7):
        board.take({"msg": "removed", "id": number})
    assert ids(board, 10) == [1]
    assert (board.count("RUNNING"), board.count("WAITING")) == (0, 1)


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
    ended = [item(4, "FAILED"), item(1, "SUCCESS")]
    board.reset([item(2), item(3, "WAITING")], ended, {"SUCCESS": 70, "FAILED": 5})
    assert ids(board, 10) == [2, 3, 1, 4]
    board.update(item(2, "SUCCESS"))
    counts = [board.count(s) for s in ("RUNNING", "WAITING", "SUCCESS", "FAILED")]
    assert counts == [0, 1, 71, 5]


def draw(board: Board, *, width: int, height: int) -> str:
    """Draw a board as text."""
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as capture:
        console.print(render(board, "/data/middlewared.sock", width, height))
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


def test_odd_words() -> None:
    """Wide characters do not push columns, and escape sequences do nothing."""
    board = Board()
    for number, words in enumerate(["\x1b[2Jgone", 30 * "作業", "plain"]):
        progress = {"percent": 100 / 3, "description": words, "extra": None}
        board.update(item(number, progress=progress))
    lines = draw(board, width=80, height=24).splitlines()
    assert not any("\x1b" in line for line in lines)
    assert all(cell_len(line) <= 80 for line in lines)
    assert "33.3333" not in "".join(lines)


def test_frames() -> None:
    """Changes are drawn soon, but not too often; without any, times are kept fresh."""
    now = 100.0
    drawn: list[float] = []
    frames = Frames(lambda: drawn.append(now), clock=lambda: now)
    for moment, changed, ageing in [
        (100.0, True, True),
        (100.1, True, True),
        (100.3, True, True),
        (100.4, False, True),
        (101.2, False, True),
        (101.4, False, False),
        (105.0, False, False),
        (106.5, False, False),
    ]:
        now = moment
        frames.draw_if_due(changed=changed, ageing=ageing)
    assert drawn == [100.0, 100.3, 101.4, 106.5]
    assert frames.wait == 5.0
