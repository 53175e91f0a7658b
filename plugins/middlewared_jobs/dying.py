"""How Linux ends processes that must not outlive others: prctl(2), proc(5)."""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

__all__ = ["adopt_orphans", "die_first", "die_with_parent", "set_name"]

_SET_DEATH_SIGNAL = 1
_SET_NAME = 15
_SET_CHILD_SUBREAPER = 36
#: Of 1000: how much sooner than others a child is killed when memory runs out.
OOM_SCORE = "500"


def _prctl(option: int, argument: int | bytes) -> None:
    with contextlib.suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(option, argument)


def die_with_parent(parent: int) -> None:
    """Get SIGKILL when the thread that started this process ends.

    Args:
        parent: number of the process that started this one; if it is gone already,
            this process ends here.
    """
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of processes below this one whose own parent has ended."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_first() -> None:
    """Ask to be killed before the server when memory runs out."""
    with contextlib.suppress(OSError):  # not on Linux
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


def set_name(name: str) -> None:
    """Show a name in ``top`` and ``ps -o comm``; at most 15 bytes of it."""
    _prctl(_SET_NAME, name.encode()[:15])
