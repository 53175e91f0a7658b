"""One end of a pipe of the system, used from the event loop."""

import os

import anyio
import anyio.lowlevel

__all__ = ["CHUNK", "PipeEnd"]

#: Bytes that are moved at one time: what a pipe of Linux holds by default (pipe(7)).
CHUNK = 1 << 16


class PipeEnd:
    """One end of a pipe; the other may be anywhere.

    Args:
        descriptor: owned from now on.
        blocking: it is used from elsewhere; then `receive` and `send` are not for it.
    """

    __slots__ = ("_blocking", "_descriptor")

    def __init__(self, descriptor: int, *, blocking: bool = False) -> None:
        os.set_blocking(descriptor, blocking)
        self._blocking = blocking
        self._descriptor: int | None = descriptor

    def fileno(self) -> int:
        """Give the descriptor.

        Raises:
            anyio.ClosedResourceError: it is closed.
        """
        # Asked for again after every wait: the number may belong to another file then.
        if self._descriptor is None:
            raise anyio.ClosedResourceError
        return self._descriptor

    async def receive(self, size: int = CHUNK) -> bytes:
        """Give what is there, at most *size* bytes; wait when there is nothing.

        Safe to cancel: nothing is lost.

        Returns:
            ``b""`` when everything was read and nobody can write any more.

        Raises:
            anyio.ClosedResourceError: this end was closed.
        """
        # A fast peer may have something every time: let others run all the same.
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return os.read(self.fileno(), size)
            except BlockingIOError:
                await anyio.wait_readable(self.fileno())

    async def send(self, data: bytes | memoryview) -> None:
        """Write all of *data*, as fast as it is read at the other end.

        Cancelled, it may have written a part.

        Raises:
            BrokenPipeError: nobody can read it any more.
            anyio.ClosedResourceError: this end was closed.
        """
        rest = memoryview(data).cast("B")
        while rest:
            await anyio.lowlevel.checkpoint()
            try:
                rest = rest[os.write(self.fileno(), rest[:CHUNK]) :]
            except BlockingIOError:
                await anyio.wait_writable(self.fileno())

    def close(self) -> None:
        """Close this end, and wake who waits for it; again changes nothing."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        if not self._blocking:
            anyio.notify_closing(descriptor)
        os.close(descriptor)
