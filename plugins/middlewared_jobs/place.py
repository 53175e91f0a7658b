"""What a body may change of the process it runs in, and the way back."""

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

__all__ = ["Place"]

_OUTPUTS = (1, 2)


def _user() -> tuple[object, ...]:
    return os.getresuid(), os.getresgid(), os.getgroups()


def _has_children() -> bool:
    """Tell whether a thread of this process has started processes that are there."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            if (task / "children").read_bytes():
                return True
    return False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


class Place:
    """Folder, umask, environment, user, output and threads, as a job found them.

    One is made before each job of a child. From `redirect` to `restore_output` what
    goes to descriptors 1 and 2 goes elsewhere, also from what the body starts.
    """

    def __init__(self) -> None:
        self._streams = sys.stdin, sys.stdout, sys.stderr
        _flush()
        self._outputs = [os.dup(number) for number in _OUTPUTS]
        self._folder = os.getcwd()  # noqa: PTH109 - what chdir takes
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._environment = dict(os.environ)
        self._user = _user()
        self._threads = set(threading.enumerate())
        self._on_term = signal.getsignal(signal.SIGTERM)
        self._lost = False

    def redirect(self, descriptor: int) -> None:
        """Send output elsewhere."""
        for number in _OUTPUTS:
            os.dup2(descriptor, number)

    def restore_output(self) -> None:
        """Send output where it went before; what is buffered goes first."""
        try:
            sys.stdin, sys.stdout, sys.stderr = self._streams
            _flush()
            for number, saved in zip(_OUTPUTS, self._outputs, strict=True):
                os.dup2(saved, number)
                os.close(saved)
        except (OSError, ValueError):  # ValueError: a stream was closed
            self._lost = True

    def restore(self) -> bool:
        """Go back in everything else.

        Returns:
            False when the process is not as it was, and should run no other job: the
            body left processes or threads behind, became another user, closed what
            was not its own, or its folder is gone.
        """
        same = (
            not self._lost
            and _user() == self._user
            and signal.getsignal(signal.SIGTERM) == self._on_term
            and not _has_children()
            and set(threading.enumerate()) <= self._threads
        )
        signal.alarm(0)
        try:
            os.chdir(self._folder)
            os.umask(self._umask)
            if os.environ != self._environment:
                os.environ.clear()
                os.environ.update(self._environment)
        except OSError:
            return False
        return same
