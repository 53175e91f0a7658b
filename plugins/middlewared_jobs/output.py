"""The output of a job as a download: as it comes, or from a file."""

import errno
import os
import uuid
from collections.abc import Callable
from typing import NamedTuple

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from middlewared_jobs.delivery import Delivery, attachment, refuse
from middlewared_jobs.download import GuardedFile
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.outlet import Outlet
from middlewared_jobs.pipeend import CHUNK
from middlewared_jobs.spool import Spool
from middlewared_jobs.states import State

__all__ = ["FileDownload", "StreamDownload", "Terms"]


class Terms(NamedTuple):
    """What holds for one download of a job's output.

    Attributes:
        jobs: the job manager.
        job: the job.
        filename: what the client shall call it.
        stall: seconds that the client may take nothing.
        release: to be called once, when it can be fetched no more.
    """

    jobs: Jobs
    job: int
    filename: str
    stall: float
    release: Callable[[], None]

    async def why_incomplete(self, broken: OSError | None) -> str | None:
        """Wait for the end of the job; None when its output is complete.

        Args:
            broken: why the output was not taken to its end, None when it was.
        """
        record = await self.jobs.wait(self.job)
        if record is None:
            return f"Job {self.job} does not exist any more"
        if record.state is State.ABORTED:
            return f"Job {self.job} was aborted"
        if record.state is State.FAILED:
            return f"Job {self.job} failed: {record.error}"
        return None if broken is None else f"The output of job {self.job} broke off"


class StreamDownload:
    """The output of a job as it comes, for one request; the job waits for its client.

    Args:
        terms: what holds for it.
        outlet: where it comes out.
    """

    again = False

    def __init__(self, terms: Terms, outlet: Outlet) -> None:
        self.job = terms.job
        self._terms = terms
        self._outlet = outlet

    async def answer(self, request: Request) -> Response:
        """Send it; the job learns when the client goes before the end."""
        return Delivery(
            self._outlet.read,
            self._verdict,
            self._leave,
            headers=attachment(self._terms.filename),
            stall=self._terms.stall,
        )

    async def _verdict(self) -> str | None:
        return await self._terms.why_incomplete(self._outlet.broken)

    def _leave(self) -> None:
        self._break_off("the client of the download took no more")

    def close(self) -> None:
        """Give it up: nobody came for it."""
        self._break_off("nobody came for the download")

    def _break_off(self, why: str) -> None:
        self._outlet.break_off(BrokenPipeError(errno.EPIPE, why))
        self._terms.release()


class _Part(GuardedFile):
    """A file that may be given up while it is sent, so it has a descriptor of its own.

    Args:
        descriptor: of the file; closed afterwards.
    """

    def __init__(self, descriptor: int, headers: dict[str, str], stall: float) -> None:
        super().__init__(f"/proc/self/fd/{descriptor}", headers, stall)
        self._descriptor = descriptor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or parts of it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


class FileDownload:
    """The output of a job from a file: again, from the middle, whenever wanted.

    Args:
        terms: what holds for it.
        spool: the file.
    """

    again = True

    def __init__(self, terms: Terms, spool: Spool) -> None:
        self.job = terms.job
        self._terms = terms
        self._spool = spool
        # What comes now and what is read later are the same bytes: one strong tag.
        self._headers = attachment(terms.filename) | {"ETag": f'"{uuid.uuid4().hex}"'}

    async def answer(self, request: Request) -> Response:
        """Send the file, or the parts that are asked for.

        While the job runs, what is there is sent and then what comes; parts have to
        wait, since they count from the end, too.
        """
        record = await self._terms.jobs.get(self.job)
        if record is not None and not record.final and "range" not in request.headers:
            return self._follow()
        why = await self._verdict()
        if why is not None:
            return refuse(500, why)
        return _Part(self._spool.open(), self._headers, self._terms.stall)

    def _follow(self) -> Response:
        descriptor, offset = self._spool.open(), 0

        async def read() -> bytes:
            nonlocal offset
            if not await self._spool.wait_beyond(offset):
                return b""
            data = await anyio.to_thread.run_sync(os.pread, descriptor, CHUNK, offset)
            offset += len(data)
            return data

        return Delivery(
            read,
            self._verdict,
            lambda: os.close(descriptor),
            headers=self._headers,
            stall=self._terms.stall,
        )

    async def _verdict(self) -> str | None:
        return await self._terms.why_incomplete(self._spool.broken)

    def close(self) -> None:
        """Give the disk back."""
        self._spool.close()
        self._terms.release()
