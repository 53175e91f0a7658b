"""Becomes a command: a script that the server starts, waits, and turns into a program.

It runs without the packages of this project (``python -I -S``). It waits until the
server has written its number down, so that a program never runs unknown to the
database, and does what has to be done between fork and exec in a process that has one
thread.

The environment of the program comes through the socket, and only then: in this process
variables such as ``LD_PRELOAD`` would run code of others with the rights of the server.

Arguments: a socket to the server; the server's number; account, as
``UID:GID:GROUP,GROUP`` or ``-``; umask in octal or ``-``; niceness; the working
folder; the program and its words.
"""

import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import NoReturn

__all__ = ["main", "packed"]

_LENGTH = struct.Struct(">I")
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


def packed(environment: Mapping[bytes, bytes]) -> bytes:
    """Write the message that lets a program begin: its environment."""
    block = b"\0".join(name + b"=" + value for name, value in environment.items())
    return _LENGTH.pack(len(block)) + block


def _receive(server: socket.socket) -> dict[bytes, bytes]:
    """Wait for the environment; ends the process when the server goes first."""
    with server.makefile("rb", buffering=0) as file:
        head = file.read(_LENGTH.size)
        if head is None or len(head) < _LENGTH.size:
            os._exit(EXIT_NOT_STARTED)
        (left,) = _LENGTH.unpack(head)
        block = b""
        while left and (data := file.read(left)):
            block += data
            left -= len(data)
    if left:
        os._exit(EXIT_NOT_STARTED)
    pairs = (part.partition(b"=") for part in block.split(b"\0") if part)
    return {name: value for name, _, value in pairs}


def main(arguments: list[str]) -> NoReturn:
    """Wait for the server, then become the program; never returns."""
    inlet, parent, account, umask, nice, folder, *words = arguments
    server = socket.socket(fileno=int(inlet))
    server.set_inheritable(False)  # its end tells the server that the program runs
    _die_with(int(parent))
    what = "nice"
    try:
        _settle(umask, nice)
        environment = _receive(server)
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
