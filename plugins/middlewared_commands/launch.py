"""Becomes a command: a script that the server starts, waits, and turns into a program.

It runs without the packages of this project (``python -I -S``). It waits until the
server has written its number down, so that a program never runs unknown to the
database, and does what has to be done between fork and exec in a process that has one
thread.

Arguments: a socket to the server; the server's number; account, as
``UID:GID:GROUP,GROUP`` or ``-``; umask in octal or ``-``; niceness; the working
folder; the program and its words.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
from typing import NoReturn

__all__ = ["GO", "main"]

#: What the server sends when the program may begin.
GO = b"go"
#: Exit code when there is no program; the server hears why through the socket.
EXIT_NOT_STARTED = 125
_SET_DEATH_SIGNAL = 1
#: Of 1000: how much sooner than the server the program is killed when memory runs out.
_OOM_SCORE = b"500"


def _die_with(parent: int) -> None:
    """Get SIGKILL when the thread of the server that started this process ends."""
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT_NOT_STARTED)


def _fail(server: socket.socket, what: str, exc: OSError) -> NoReturn:
    with contextlib.suppress(OSError):
        server.sendall(f"{what} {exc.errno or 0}".encode())
    os._exit(EXIT_NOT_STARTED)


def _become(account: str) -> None:
    if account != "-":
        uid, gid, groups = account.split(":")
        os.setgroups([int(group) for group in groups.split(",") if group])
        os.setresgid(int(gid), int(gid), int(gid))
        os.setresuid(int(uid), int(uid), int(uid))


def _reset_signals() -> None:
    """Give the program the signals as a login shell would: nothing ignored."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _settle(umask: str, nice: str) -> None:
    if umask != "-":
        os.umask(int(umask, 8))
    os.nice(int(nice))
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, _OOM_SCORE)
        os.close(descriptor)


def _given_environment() -> dict[bytes, bytes]:
    """Read the environment as the server gave it; this interpreter may change its own.

    It sets ``LC_CTYPE`` where there is no locale (PEP 538).
    """
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - no more imports
            parts = file.read().split(b"\0")
    except OSError:
        return dict(os.environb)
    pairs = (part.partition(b"=") for part in parts if part)
    return {name: value for name, _, value in pairs}


def main(arguments: list[str]) -> NoReturn:
    """Wait for the server, then become the program; never returns."""
    inlet, parent, account, umask, nice, folder, *words = arguments
    environment = _given_environment()
    server = socket.socket(fileno=int(inlet))
    server.set_inheritable(False)  # its end tells the server that the program runs
    _die_with(int(parent))
    what = "nice"
    try:
        _settle(umask, nice)
        if server.recv(len(GO)) != GO:
            os._exit(EXIT_NOT_STARTED)
        what = "user"
        _become(account)
        _die_with(int(parent))  # another user means another start of the clock
        what = "cwd"
        os.chdir(folder)
        _reset_signals()
        what = "program"
        os.execvpe(words[0], words, environment)  # noqa: S606 - that is the purpose
    except OSError as exc:
        _fail(server, what, exc)


if __name__ == "__main__":
    main(sys.argv[1:])
