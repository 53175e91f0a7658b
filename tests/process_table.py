"""Looks at processes, whoever started them."""

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio.to_thread

__all__ = [
    "children_of",
    "is_running",
    "session_of",
    "state_of",
    "wait_ended",
    "wait_in_thread",
    "wait_until",
]

#: Seconds that killed processes may take.
PATIENCE = 10.0
LOOK_SECONDS = 0.01


def _fields(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return text.rpartition(")")[2].split()


def state_of(pid: int) -> str | None:
    """Give the letter of a process's state, None when it is gone."""
    try:
        return _fields(pid)[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    return state_of(pid) not in (None, "Z", "X")


def session_of(pid: int) -> int:
    """Give the session of a process."""
    return int(_fields(pid)[3])


def children_of(pid: int) -> list[int]:
    """List the processes that a process has started, zombies too."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the thread has ended meanwhile
            found += [int(text) for text in (task / "children").read_text().split()]
    return found


def wait_until(true: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until something is true, since nothing tells; False when it stays false."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def wait_ended(pids: Iterable[int], seconds: float = PATIENCE) -> bool:
    """Wait until none of these runs; False when one still does."""
    found = list(pids)
    return wait_until(lambda: not any(map(is_running, found)), seconds)


async def wait_in_thread(true: Callable[[], object]) -> bool:
    """Wait like `wait_until` while the loop goes on."""
    return await anyio.to_thread.run_sync(wait_until, true)
