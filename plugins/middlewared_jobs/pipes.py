"""What a body reads an upload from, and writes a download to: ``job.pipes``.

Each is a real pipe of the system, so whoever is faster waits for the other, and each
can be handed to another program. A thread or a child process uses it like a file, a
body in the loop awaits.
"""

import errno
import io
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import anyio

from middlewared import CallError
from middlewared_jobs.pipeend import CHUNK, PipeEnd

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "COMPLETE",
    "FILE",
    "LOST",
    "MAX_MESSAGE",
    "NO_PIPES",
    "PIPES",
    "Body",
    "Input",
    "Inputs",
    "JobPipes",
    "Output",
    "not_open",
    "open_pipes",
]

#: The pipes that a job may have.
PIPES = frozenset({"input", "output"})

#: First byte of a message about an upload, from `middlewared_jobs.feed`: the next file,
#: its name and with it the descriptor to read from; it is complete; it broke off, why.
FILE, COMPLETE, LOST = b"F", b"C", b"L"
#: Bytes of such a message.
MAX_MESSAGE = 4096


class Body(NamedTuple):
    """How the body of a job waits for its pipes.

    Attributes:
        loop: it runs in the loop and awaits; else it blocks.
        check: raises `JobAborted` when somebody asked to abort the job.
    """

    loop: bool
    check: Callable[[], None]

    def may_block(self, instead: str) -> None:
        """Let pass who does not run in the loop.

        Raises:
            io.UnsupportedOperation: it would stop everything else.
        """
        if self.loop:
            raise io.UnsupportedOperation(
                f"this would stop the server: a body in the loop uses {instead}"
            )

    def may_await(self, instead: str) -> None:
        """Let pass who runs in the loop.

        Raises:
            io.UnsupportedOperation: its pipes block.
        """
        if not self.loop:
            raise io.UnsupportedOperation(
                f"this is for bodies in the loop: this one uses {instead}"
            )


def not_open(name: str) -> CallError:
    """Build the error for a pipe that the job does not have."""
    return CallError(f"Pipe {name!r} is not open", errno.EINVAL)


class _Pipe(io.RawIOBase):
    """One end of a pipe, as a body has it."""

    def __init__(self, descriptor: int, body: Body) -> None:
        super().__init__()
        self._pipe = PipeEnd(descriptor, blocking=not body.loop)
        self._body = body

    def fileno(self) -> int:
        """Give the descriptor, to hand to another program.

        Raises:
            anyio.ClosedResourceError: the pipe is closed.
        """
        return self._pipe.fileno()

    def close(self) -> None:
        """Close this end; a second time changes nothing."""
        if not self.closed:
            super().close()
            self._pipe.close()


class Input(_Pipe):
    """One uploaded file, while it comes.

    In a thread or a child process it is a binary file to read from, unbuffered. A body
    in the loop awaits `receive` or iterates with ``async for``. When the upload breaks
    off before the end of the file, reading raises ConnectionResetError.

    A program that reads from `fileno` cannot tell that from the end: call `read` or
    `receive` when it has ended, which can.

    Attributes:
        filename: what the client says that the file is called. It may be anything.
    """

    def __init__(
        self, descriptor: int, filename: str, source: "_Source", body: Body
    ) -> None:
        super().__init__(descriptor, body)
        self.filename = filename
        self._source = source
        self._ended = False

    def __repr__(self) -> str:
        return f"<Input {self.filename!r}>"

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read what is there into a buffer; wait when there is nothing.

        Returns:
            How many bytes, 0 at the end of the file.

        Raises:
            ConnectionResetError: the upload broke off.
            JobAborted: somebody asked to abort the job.
        """
        self._body.may_block("await receive()")
        count = os.readv(self.fileno(), [buffer])
        if not count:
            self._finish()
        return count

    async def receive(self, size: int = CHUNK) -> bytes:
        """Give the next bytes, at most *size*; ``b""`` at the end of the file.

        Safe to cancel: nothing is lost.

        Raises:
            ConnectionResetError: the upload broke off.
        """
        self._body.may_await("read()")
        data = await self._pipe.receive(size)
        if not data:
            self._finish()
        return data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.receive():
            yield data

    def _finish(self) -> None:
        if not self._ended:
            self._source.check_complete()
            self._ended = True


class _Source:
    """What the server says of an upload, file by file."""

    def __init__(self, sock: socket.socket, body: Body) -> None:
        sock.setblocking(not body.loop)
        self._socket = sock
        self._body = body

    def check_complete(self) -> None:
        """Let pass when the server says that the file is complete; does not wait.

        Raises:
            ConnectionResetError: it is not.
        """
        # It said so before it closed its end of the pipe, if it did.
        try:
            message = self._socket.recv(MAX_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            message = b""
        if message != COMPLETE:
            raise self._broken(message)

    def take(self) -> Input | None:
        """Wait for the next file; None when there is no more.

        Raises:
            BlockingIOError: in the loop, it is not there yet.
            ConnectionResetError: the upload broke off.
        """
        while True:
            message, found, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE, 1)
            if message[:1] == FILE:
                name = message[1:].decode(errors="replace")
                return Input(found[0], name, self, self._body)
            if not message:
                return None
            if message != COMPLETE:  # of a file that was not read to its end
                raise self._broken(message)

    async def receive(self) -> Input | None:
        """Wait for the next file, in the loop.

        Raises:
            ConnectionResetError: the upload broke off.
        """
        while True:
            try:
                return self.take()
            except BlockingIOError:
                await anyio.wait_readable(self._socket)

    def _broken(self, message: bytes) -> OSError:
        self._body.check()
        text = message[1:].decode() or "the upload broke off"
        return ConnectionResetError(errno.ECONNRESET, text)

    def close(self) -> None:
        """Take no more files."""
        if self._body.loop and self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
        self._socket.close()


class Inputs:
    """The uploaded files in their order, to iterate over once; in the loop async.

    The next file comes when the one before it was read. Asking for it drops what is
    left of the one before it.

    Attributes:
        first: the first file, the one that `JobPipes.input` is.
    """

    def __init__(self, sock: socket.socket, body: Body) -> None:
        self._source = _Source(sock, body)
        self._body = body
        first = self._source.take()  # no job is made before it is there
        if first is None:
            raise not_open("input")
        self.first: Input = first
        self._last: Input | None = None
        self._ended = False

    def __iter__(self) -> Iterator[Input]:
        return self

    def __next__(self) -> Input:
        self._body.may_block("async for")
        if self._last is None:
            self._last = self.first
            return self.first
        self._last.close()
        following = None if self._ended else self._source.take()
        if following is None:
            self._ended = True
            raise StopIteration
        self._last = following
        return following

    def __aiter__(self) -> AsyncIterator[Input]:
        return self

    async def __anext__(self) -> Input:
        self._body.may_await("for")
        if self._last is None:
            self._last = self.first
            return self.first
        self._last.close()
        following = None if self._ended else await self._source.receive()
        if following is None:
            self._ended = True
            raise StopAsyncIteration
        self._last = following
        return following

    def close(self) -> None:
        """Drop everything that still comes."""
        self.first.close()
        if self._last is not None:
            self._last.close()
        self._source.close()


class Output(_Pipe):
    """Where a body writes what its client downloads.

    In a thread or a child process it is a binary file to write to, unbuffered. A body
    in the loop awaits `send`. The download is complete when the job has succeeded.
    """

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: "ReadableBuffer") -> int:
        """Write all of *data*, as fast as the client takes it.

        Returns:
            The number of bytes of *data*.

        Raises:
            BrokenPipeError: nobody reads any more: the client is gone or never came.
            JobAborted: somebody asked to abort the job.
        """
        self._body.may_block("await send()")
        rest = memoryview(data).cast("B")
        total = rest.nbytes
        try:
            while rest:
                rest = rest[os.write(self.fileno(), rest) :]
        except BrokenPipeError:
            raise self._broken() from None
        return total

    async def send(self, data: bytes | memoryview) -> None:
        """Write all of *data*, as fast as the client takes it.

        Cancelled, it may have written a part.

        Raises:
            BrokenPipeError: nobody reads any more: the client is gone or never came.
        """
        self._body.may_await("write()")
        try:
            await self._pipe.send(data)
        except BrokenPipeError:
            raise self._broken() from None

    def _broken(self) -> OSError:
        self._body.check()
        return BrokenPipeError(errno.EPIPE, "nobody reads the download any more")


class JobPipes:
    """The pipes of a job: what `Job.pipes` is.

    ``"output" in job.pipes`` tells whether there is one; for jobs that can do without.

    Args:
        inputs: what was uploaded, None when nothing was.
        output: for what is downloaded, None when nothing is.
    """

    __slots__ = ("_inputs", "_output")

    def __init__(
        self, inputs: Inputs | None = None, output: Output | None = None
    ) -> None:
        self._inputs = inputs
        self._output = output

    def __contains__(self, name: object) -> bool:
        found = {"input": self._inputs, "output": self._output}
        return isinstance(name, str) and found.get(name) is not None

    @property
    def input(self) -> Input:
        """The uploaded file, the first of them when there are several.

        Raises:
            CallError: EINVAL, nothing was uploaded.
        """
        return self.inputs.first

    @property
    def inputs(self) -> Inputs:
        """The uploaded files.

        Raises:
            CallError: EINVAL, nothing was uploaded.
        """
        if self._inputs is None:
            raise not_open("input")
        return self._inputs

    @property
    def output(self) -> Output:
        """Where what is downloaded is written.

        Raises:
            CallError: EINVAL, nobody asked for a download.
        """
        if self._output is None:
            raise not_open("output")
        return self._output

    def close(self) -> None:
        """Close the body's ends."""
        if self._inputs is not None:
            self._inputs.close()
        if self._output is not None:
            self._output.close()


#: Those of a job that has none.
NO_PIPES = JobPipes()


def open_pipes(ends: Mapping[str, int], body: Body) -> JobPipes:
    """Make the pipes of a body from the descriptors of its ends, which they own."""
    inputs, output = ends.get("input"), ends.get("output")
    return JobPipes(
        None if inputs is None else Inputs(socket.socket(fileno=inputs), body),
        None if output is None else Output(output, body),
    )
