"""The fork server: a small process that imports the program once and forks children.

A fork of it takes milliseconds, a start of the interpreter hundreds. It is no fork of
the server itself: it has one thread, no loop, no open files, and runs no job. Both ends
of it are here.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import anyio
import anyio.to_thread
import msgspec

from middlewared_jobs import child
from middlewared_jobs.dying import (
    adopt_orphans,
    die_first,
    die_with_parent,
    set_name,
)
from middlewared_jobs.survivors import CHILD_OF, birth_of

__all__ = ["ForkError", "ForkServer", "Forked", "main"]

logger = logging.getLogger(__name__)

#: What the new interpreter runs: the import path comes first through the pipe.
BOOT = (
    "import json, os, sys; fd = int(sys.argv[1]); "
    "sys.path[:] = json.loads(os.read(fd, 1 << 20)); "
    "from middlewared_jobs.forkserver import main; main(fd, int(sys.argv[2]))"
)
#: Bytes of a message; the longest is an error text.
MAX_MESSAGE = 1 << 16
#: Seconds that the fork server has to end by itself.
CLOSE_SECONDS = 2.0
STDERR = 2


class ForkError(Exception):
    """No child could be made; the message says why."""


class Fork(msgspec.Struct, tag="fork"):
    """Fork a child; its ends of the pipe and of the passage come with the message."""

    number: int


class Reap(msgspec.Struct, tag="reap"):
    """Let go of a child that has ended: its number may be used again."""

    pid: int


class Made(msgspec.Struct, tag="made"):
    """Answer to `Fork`, from the child itself, once it is a session of its own."""

    number: int
    pid: int
    birth: str


class Failed(msgspec.Struct, tag="failed"):
    """Answer to `Fork`: there is no child."""

    number: int
    reason: str


class Ended(msgspec.Struct, tag="ended"):
    """A child has ended; it stays a zombie, so that its number is not used again.

    Attributes:
        number: of the `Fork` that made it.
        status: exit code, negative for a signal.
    """

    number: int
    pid: int
    status: int


_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(Fork | Reap).decode
_decode_answer = msgspec.json.Decoder(Made | Failed | Ended).decode


#: How a child ended: exit code or negative signal; None when nobody knows.
End = asyncio.Future[int | None]


class Forked(msgspec.Struct, frozen=True, eq=False):
    """A new child.

    Attributes:
        pid: its number, also that of its session and process group.
        birth: tells it from later processes with this number.
        sock: the server's end of the pipe.
        passage: the server's end of a socket that descriptors are passed through.
        end: resolved when it has ended.
    """

    pid: int
    birth: str
    sock: socket.socket
    passage: socket.socket
    end: End

    def close(self) -> None:
        """Close the server's ends; a child without them ends."""
        self.sock.close()
        self.passage.close()


class ForkServer:
    """The server's end: starts the process when it is first needed, asks it for forks.

    When the process dies, its children die with it, and the next fork starts another.

    Args:
        data_dir: of the server; a mark in the environment of everything it starts.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: dict[int, asyncio.Future[tuple[Made, End]]] = {}
        self._ends: dict[int, End] = {}
        self._count = 0

    async def fork(self) -> Forked:
        """Make a child.

        Raises:
            ForkError: the system or the fork server refused.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        passage, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            made, end = await self._ask(theirs, far_end)
        except BaseException:
            ours.close()
            passage.close()
            raise
        finally:
            theirs.close()
            far_end.close()
        return Forked(made.pid, made.birth, ours, passage, end)

    async def _ask(self, *theirs: socket.socket) -> tuple[Made, End]:
        try:
            if self._socket is None:
                self._start()
            assert self._socket is not None  # noqa: S101 - just started
            self._count += 1
            answer: asyncio.Future[tuple[Made, End]] = self._loop.create_future()
            self._asked[self._count] = answer
            request = _encode(Fork(self._count))
            passed = [sock.fileno() for sock in theirs]
            socket.send_fds(self._socket, [request], passed)
        except OSError as exc:
            raise ForkError(f"no child process could be started: {exc}") from exc
        return await answer

    def reap(self, pid: int) -> None:
        """Let go of a child that has ended."""
        self._ends.pop(pid, None)
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it dies, and init reaps
                self._socket.send(_encode(Reap(pid)))

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-c", BOOT]
        with theirs:
            ours.send(json.dumps([str(Path(p).absolute()) for p in sys.path]).encode())
            try:
                # In this thread, which lives as long as the server: children get
                # their death signal when the thread that started them ends.
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    [*command, str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=STDERR,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env=os.environ | {CHILD_OF: str(self._data_dir)},
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._socket = ours
        self._loop.add_reader(ours.fileno(), self._receive)

    def _receive(self) -> None:
        assert self._socket is not None  # noqa: S101 - removed together
        try:
            data = self._socket.recv(MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        match _decode_answer(data):
            case Made() as made:
                end: End = self._loop.create_future()
                self._ends[made.pid] = end
                answer = self._asked.pop(made.number)
                if answer.cancelled():
                    # Nobody waits for it any more: its pipe is closed, it ends.
                    end.add_done_callback(lambda _: self.reap(made.pid))
                else:
                    answer.set_result((made, end))
            case Failed() as failed:
                self._refuse(failed.number, failed.reason)
            case Ended() as ended:
                known = self._ends.get(ended.pid)
                if known is None:
                    self._refuse(ended.number, f"it ended with code {ended.status}")
                    self.reap(ended.pid)
                elif not known.done():
                    known.set_result(ended.status)

    def _refuse(self, number: int, reason: str) -> None:
        answer = self._asked.pop(number, None)
        if answer is not None and not answer.done():
            text = f"no child process could be started: {reason}"
            answer.set_exception(ForkError(text))

    def _lost(self) -> None:
        """Note that the process has died, or was closed."""
        self._disconnect()
        process, self._process = self._process, None
        code = None
        if process is not None:
            process.kill()
            code = process.wait()  # at once: it is dead
            logger.warning("the fork server ended with code %d", code)
        for number in list(self._asked):
            self._refuse(number, f"the fork server ended with code {code}")
        for known in self._ends.values():
            if not known.done():
                known.set_result(None)
        self._ends.clear()

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    async def close(self) -> None:
        """End the process, and with it what is left of its children."""
        self._disconnect()
        process, self._process = self._process, None
        if process is not None:
            wait: Callable[[float], int] = process.wait
            try:
                await anyio.to_thread.run_sync(wait, CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._lost()


# The process itself.


class _Forks:
    """Forks when told to and reports who has ended."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        #: Number of the request that made each child that runs.
        self._children: dict[int, int] = {}
        #: Those and the zombies of which the server may still know.
        self._kept: set[int] = set()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    def serve(self) -> tuple[socket.socket, socket.socket]:
        """Serve the server; returns in the children only, with pipe and passage."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        while True:
            inlet = self._socket.fileno()
            ready, _, _ = select.select([inlet, self._wake], [], [])
            if self._wake in ready:
                os.read(self._wake, MAX_MESSAGE)
                self._report()
            if inlet in ready:
                data, received = self._receive()
                match _decode_request(data):
                    case Fork(number):
                        pipe, passage = (socket.socket(fileno=n) for n in received)
                        if self._fork(number, pipe):
                            return pipe, passage
                        pipe.close()
                        passage.close()
                    case Reap(pid):
                        self._reap(pid)

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            data, received, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE, 2)
        except OSError:
            data, received = b"", []
        if not data:
            os._exit(0)  # the server is gone, or has closed its end
        return data, received

    def _fork(self, number: int, pipe: socket.socket) -> bool:
        """Fork; True in the child."""
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as exc:
            self._send(Failed(number, str(exc)))
            return False
        if pid:
            self._children[pid] = number
            self._kept.add(pid)
            return False
        os.setsid()
        die_with_parent(parent)
        die_first()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        pipe.set_inheritable(False)
        self._send(Made(number, os.getpid(), birth_of(os.getpid()) or ""))
        for descriptor in (self._wake, self._waker, self._socket.detach()):
            os.close(descriptor)
        return True

    def _report(self) -> None:
        """Report who has ended, without reaping."""
        for pid in list(self._children):
            look = os.WEXITED | os.WNOHANG | os.WNOWAIT
            found: Any = os.waitid(os.P_PID, pid, look)
            if found is not None:
                number = self._children.pop(pid)
                exited = found.si_code == os.CLD_EXITED
                status = found.si_status if exited else -found.si_status
                self._send(Ended(number, pid, status))
        self._reap_orphans()

    def _reap_orphans(self) -> None:
        """Reap what children left behind: not every machine has an init that does."""
        with contextlib.suppress(OSError):  # not on Linux
            text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
            for pid in {int(word) for word in text.split()} - self._kept:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def _reap(self, pid: int) -> None:
        self._kept.discard(pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def _send(self, message: msgspec.Struct) -> None:
        try:
            self._socket.send(_encode(message))
        except OSError:
            os._exit(1)  # the server is gone


def main(descriptor: int, parent: int) -> NoReturn:
    """Serve the server at the other end of a socket; never returns.

    Args:
        descriptor: of the socket.
        parent: number of the server.
    """
    die_with_parent(parent)
    # Whoever stops the server may tell all its processes: the server says when.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    set_name("mw-forkserver")
    adopt_orphans()
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    gc.collect()
    gc.freeze()  # what all children have in common is not written to by the collector
    pipe, passage = _Forks(sock).serve()
    gc.unfreeze()
    child.main(pipe, passage)
