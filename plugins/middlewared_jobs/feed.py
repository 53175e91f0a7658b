"""The server's end of an upload: hands a body file after file, as fast as it reads.

A body gets one end of a socket, on which each file is announced, with a pipe to read
it from, and after which it is told whether the file is complete. So the end of a pipe
is never taken for the end of a file.
"""

import contextlib
import os
import socket

import anyio

from middlewared_jobs.pipeend import PipeEnd
from middlewared_jobs.pipes import COMPLETE, FILE, LOST, MAX_MESSAGE

__all__ = ["Feed"]


class Feed:
    """The server's end of an upload. Its methods are for the loop.

    A body that reads no more is no error: what is written then is dropped.

    Attributes:
        body_end: what the body reads from; whoever hands it on closes it.
    """

    def __init__(self) -> None:
        self._socket, self.body_end = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        self._socket.setblocking(False)
        self._pipe: PipeEnd | None = None

    def begin_file(self, filename: str) -> None:
        """Announce the next file.

        Args:
            filename: what the client calls it; a very long name is cut.
        """
        readable, writable = os.pipe()
        pipe = PipeEnd(writable)
        name = filename.encode(errors="replace")[: MAX_MESSAGE - len(FILE)]
        try:
            socket.send_fds(self._socket, [FILE, name], [readable])
        except OSError:  # the body takes no more files
            pipe.close()
        else:
            self._pipe = pipe
        finally:
            os.close(readable)

    async def write(self, data: bytes | memoryview) -> None:
        """Give the body more of the file, and wait until the pipe took it."""
        if self._pipe is None:
            return
        try:
            await self._pipe.send(data)
        except (BrokenPipeError, anyio.ClosedResourceError):
            self._close_pipe()

    def finish_file(self) -> None:
        """Tell the body that it has the whole file."""
        self._tell(COMPLETE)
        self._close_pipe()

    def finish(self) -> None:
        """Tell the body that there are no more files."""
        self._close_pipe()
        self._socket.close()

    def break_off(self, why: str) -> None:
        """Tell the body that the upload ends here, before its end.

        Args:
            why: one clause; the body's error says it.
        """
        self._tell(LOST + why.encode()[: MAX_MESSAGE - len(LOST)])
        self.finish()

    def _tell(self, message: bytes) -> None:
        # A body that is gone, or lets messages lie, has no use for them.
        with contextlib.suppress(OSError):
            self._socket.send(message)

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
