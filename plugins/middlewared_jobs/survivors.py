"""Processes of jobs by their session: told apart, ended, found after a crash."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

__all__ = ["CHILD_OF", "birth_of", "end_session", "end_survivors"]

#: Variable in the environment of every child, and of what it starts: the data
#: directory of its server.
CHILD_OF = "MIDDLEWARED_CHILD_OF"
#: Seconds that killed processes have to be gone.
GONE_SECONDS = 2.0
#: Looks at the process table; what forks meanwhile is found by the next one.
PASSES = 5

_PROC = Path("/proc")
_DEAD = frozenset("ZX")


class _Stat(msgspec.Struct, frozen=True):
    """What ``/proc/PID/stat`` says of a process (proc(5))."""

    pid: int
    state: str
    session: int
    ticks: str


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name comes second, in parentheses, and may hold parentheses itself.
    fields = text.rpartition(")")[2].split()
    return _Stat(pid, fields[0], int(fields[3]), fields[19])


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def birth_of(pid: int) -> str | None:
    """Give the boot and the tick in which a process began; None when it is gone.

    Numbers of processes are used again, a number with its birth is not.
    """
    found = _stat(pid)
    return None if found is None else f"{_boot()} {found.ticks}"


def _members(session: int) -> Iterator[_Stat]:
    """Give the living processes of a session."""
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal():
            found = _stat(int(entry.name))
            if found and found.session == session and found.state not in _DEAD:
                yield found


def end_session(leader: int) -> None:
    """Kill a child with everything it started, in process groups of their own, too.

    What has left the session (``setsid``) stays. Does not wait.

    Args:
        leader: number of the child. The caller knows that it is not used again: the
            child is not reaped, or `end_survivors` looked.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for _ in range(PASSES):
        found = list(_members(leader))
        for member in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, signal.SIGKILL)
        if not found:
            return


def end_survivors(children: Iterable[tuple[int, str]], data_dir: Path) -> list[int]:
    """Kill what is left of the children of a server that died, and wait for it.

    Args:
        children: number and birth of each.
        data_dir: of that server.

    Returns:
        The children of which something was left.
    """
    ended = []
    for pid, birth in children:
        members = list(_members(pid))
        if members and _is_ours(pid, birth, members, data_dir):
            with _watched(members) as watch:
                end_session(pid)
                _wait_gone(watch)
            ended.append(pid)
    return ended


def _is_ours(pid: int, birth: str, members: list[_Stat], data_dir: Path) -> bool:
    """Tell whether a session is that of a child, not of somebody with its number.

    A number is not used again while a session has it. So a leader that was born at
    another time says no; without a leader, one member with our mark proves it.
    """
    if birth.partition(" ")[0] != _boot():
        return False
    if _stat(pid) is not None:
        return birth_of(pid) == birth
    mark = os.fsencode(f"{CHILD_OF}={data_dir}")
    return any(mark in _environment(member.pid) for member in members)


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


@contextlib.contextmanager
def _watched(members: list[_Stat]) -> Iterator[list[int]]:
    """Open descriptors that become readable when these processes have ended."""
    with contextlib.ExitStack() as stack:
        watch = []
        for member in members:
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(member.pid)
                stack.callback(os.close, descriptor)
                watch.append(descriptor)
        yield watch


def _wait_gone(watch: list[int]) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    for descriptor in watch:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
