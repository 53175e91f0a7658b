"""What Linux does for a process that must not outlive another: prctl(2)."""

import contextlib
import ctypes
import os
import signal

__all__ = ["die_with_parent", "set_name"]

_SET_DEATH_SIGNAL = 1
_SET_NAME = 15


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


def set_name(name: str) -> None:
    """Show a name in ``top`` and ``ps -o comm``; at most 15 bytes of it."""
    _prctl(_SET_NAME, name.encode()[:15])
