"""The server's end of a job's output: read as fast as somebody takes it."""

import os

import anyio

from middlewared_jobs.pipeend import CHUNK, PipeEnd

__all__ = ["Outlet"]


class Outlet:
    """The server's end of an output. Its methods are for the loop.

    Attributes:
        body_end: what the body writes to; whoever hands it on closes it.
        broken: why it was closed before the end, None when it was not.
    """

    def __init__(self) -> None:
        readable, self.body_end = os.pipe()
        self.broken: OSError | None = None
        self._pipe = PipeEnd(readable)

    async def read(self, size: int = CHUNK) -> bytes:
        """Give what is there, at most *size* bytes; wait when there is nothing.

        Safe to cancel: nothing is lost.

        Returns:
            ``b""`` once nobody can write any more, or it was closed here.
        """
        try:
            return await self._pipe.receive(size)
        except anyio.ClosedResourceError:
            return b""

    def break_off(self, why: OSError) -> None:
        """Read no more: whoever still writes gets BrokenPipeError.

        Args:
            why: the first reason is kept.
        """
        self.broken = self.broken or why
        self._pipe.close()

    def close(self) -> None:
        """Close it after everything was read."""
        self._pipe.close()
