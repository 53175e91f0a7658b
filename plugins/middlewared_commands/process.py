"""The process of a command: started held back, let go, waited for."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from middlewared import CallError
from middlewared_commands import launch
from middlewared_commands.account import Account

__all__ = ["Place", "Process"]

MAX_REPORT = 256


class Place(msgspec.Struct, frozen=True):
    """How a program is started.

    Attributes:
        words: the program and its words.
        environment: all of it.
        folder: its working folder.
        account: who it runs as, None for the server's user.
        umask: octal digits, None for the server's.
        nice: added to the niceness.
    """

    words: Sequence[str]
    environment: Mapping[bytes, bytes]
    folder: str
    account: Account | None = None
    umask: str | None = None
    nice: int = 0


class Process:
    """A program with a session of its own, for the length of a block.

    It begins when it is told to, and dies with the thread that started it. Leaving the
    block kills it if it still runs.

    Args:
        place: how to start it.
        stdin: descriptor to read from.
        stdout: descriptor for its output.
        stderr: descriptor for its errors.

    Attributes:
        pid: its number, also that of its session and process group.
        descriptor: becomes readable when it has ended.
    """

    def __init__(self, place: Place, *, stdin: int, stdout: int, stderr: int) -> None:
        self._place = place
        self._server, theirs = socket.socketpair()
        try:
            with theirs:
                self._popen = subprocess.Popen(  # noqa: S603 - words, no shell
                    [*_launcher(place, theirs.fileno()), *_encoded(place.words)],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[theirs.fileno()],
                    env={},  # see `launch`
                    cwd="/",
                    start_new_session=True,
                )
            self.pid = self._popen.pid
            self.descriptor = self._open_descriptor()
        except OSError as exc:
            self._server.close()
            raise _not_started(place, "starter", exc.errno or 0) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._popen.returncode is None:
            self.kill()
            self._popen.wait()
        self._server.close()
        os.close(self.descriptor)

    def _open_descriptor(self) -> int:
        try:
            return os.pidfd_open(self.pid)
        except OSError:
            self._popen.kill()
            self._popen.wait()
            raise

    def begin(self) -> None:
        """Let the program begin; returns when it does.

        Raises:
            CallError: it cannot; the message says why.
        """
        try:
            self._server.sendall(launch.packed(self._place.environment))
            report = self._server.recv(MAX_REPORT).decode()
        except OSError:
            report = ""  # it was killed meanwhile
        if report:
            what, _, number = report.partition(" ")
            raise _not_started(self._place, what, int(number))

    def kill(self) -> None:
        """Kill its process group."""
        # It may run with the rights of somebody else by now.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended, and let its number go.

        Returns:
            Its exit code, or a negative signal.
        """
        return self._popen.wait()


def _encoded(words: Sequence[str]) -> list[bytes]:
    return [word.encode() for word in words]


def _launcher(place: Place, inlet: int) -> list[str | bytes]:
    """Give the words that start `launch`."""
    account = place.account
    groups = "-"
    if account is not None:
        groups = f"{account.uid}:{account.gid}:{','.join(map(str, account.groups))}"
    return [
        sys.executable,
        "-I",
        "-S",
        str(Path(launch.__file__)),
        str(inlet),
        str(os.getpid()),
        groups,
        place.umask or "-",
        str(place.nice),
        place.folder.encode(),
    ]


def _not_started(place: Place, what: str, number: int) -> CallError:
    """Say why a program did not begin."""
    program, reason = place.words[0], os.strerror(number)
    if number == errno.E2BIG:
        what = "program"
    texts = {
        "cwd": f"working folder {place.folder!r} cannot be entered: {reason}",
        "user": f"the command cannot run as {place.account and place.account.name!r}: "
        f"{reason}",
        "nice": f"niceness {place.nice} cannot be had: {reason}",
        "starter": f"the server cannot start processes: {reason}",
        "program": f"program {program!r} cannot be started: {reason}",
    }
    if what == "program" and number == errno.ENOENT and "/" not in program:
        path = place.environment.get(b"PATH", b"").decode(errors="replace")
        texts[what] = f"program {program!r} is in none of the folders of PATH, {path}"
    return CallError(texts[what], number or errno.EFAULT)
