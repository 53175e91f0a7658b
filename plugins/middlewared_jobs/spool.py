"""A job's output in a file, until its client has fetched it."""

import errno
import os
from collections.abc import Callable
from typing import BinaryIO

import anyio
import anyio.to_thread

from middlewared_jobs.freespace import check_free
from middlewared_jobs.outlet import Outlet

__all__ = ["Spool"]

#: Bytes between two looks at the free space of the disk.
LOOK_BYTES = 8 * 2**20


class Spool:
    """Writes the output of a job to a file, and lets it be read while it grows.

    Args:
        outlet: what comes out of the job.
        file: owned from now on; best one without a name, which goes with the server.
        limit: bytes that the file may have.
        reserve: bytes of the disk that stay free.

    Attributes:
        size: bytes that can be read.
    """

    def __init__(
        self, outlet: Outlet, file: BinaryIO, *, limit: int, reserve: int
    ) -> None:
        self.size = 0
        self._outlet = outlet
        self._file = file
        self._limit = limit
        self._reserve = reserve
        self._looked_at = -LOOK_BYTES
        self._ended = anyio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._grown = anyio.Event()

    @property
    def broken(self) -> OSError | None:
        """Why the output could not be kept, None when it could, so far."""
        return self._outlet.broken

    async def keep(self) -> None:
        """Write to the file what comes out, to the end.

        What cannot be kept breaks the outlet, so that the job learns of it.
        """
        try:
            while data := await self._outlet.read():
                await anyio.to_thread.run_sync(self._write, data)
                self.size += len(data)
                self._tell()
        except OSError as exc:
            self._outlet.break_off(exc)
        finally:
            self._outlet.close()
            self._ended.set()
            self._tell()
            for listener in self._listeners:
                listener()

    def on_ended(self, listener: Callable[[], None]) -> None:
        """Call *listener* once nothing more is written, at once if that is so now."""
        if self.ended:
            listener()
        else:
            self._listeners.append(listener)

    def _write(self, data: bytes) -> None:
        size = self.size + len(data)
        if size > self._limit:
            raise OSError(
                errno.EFBIG, f"the download has more than {self._limit} bytes"
            )
        if size - self._looked_at >= LOOK_BYTES:
            self._looked_at = size
            check_free(self._file.fileno(), self._reserve, "downloads")
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file.fileno(), rest) :]

    def _tell(self) -> None:
        self._grown.set()
        self._grown = anyio.Event()

    @property
    def ended(self) -> bool:
        """Whether nothing more is written."""
        return self._ended.is_set()

    async def wait_kept(self) -> None:
        """Wait until nothing more is written."""
        await self._ended.wait()

    async def wait_beyond(self, offset: int) -> bool:
        """Wait for bytes behind an offset; False when there will be none."""
        while self.size <= offset and not self.ended:
            await self._grown.wait()
        return self.size > offset

    def open(self) -> int:
        """Give a descriptor to read the file with; whoever takes it closes it."""
        # The file has no name: proc(5).
        path = f"/proc/self/fd/{self._file.fileno()}"
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Give the disk back, once nobody reads the file any more."""
        self._outlet.close()
        self._file.close()
