"""What a running job's body may use: the `Job` that is its first parameter."""

import errno
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO

from middlewared import CallError, Context
from middlewared_jobs.joblog import SILENT, JobLog
from middlewared_jobs.progress import next_progress
from middlewared_jobs.record import (
    CoreGetJobsItemCredentials,
    CoreGetJobsItemProgress,
    JobRecord,
)

__all__ = ["Job", "JobAborted"]


async def _refuse(pid: int, grace: float | None) -> None:
    """Stand in for `adopt` in a child process, which has no row to write."""
    raise CallError(f"Process {pid} ends with the job's own process", errno.EOPNOTSUPP)


def _nothing() -> None:
    """Stand in for `release` there."""


class JobAborted(Exception):
    """Raised in the body of a thread job by `Job.check_aborted`; let it through."""


class Job:
    """One run of a job method, as its body sees it.

    Everything here is safe to use from the body's own thread and from threads it
    starts, while the body runs.

    Attributes:
        context: the services, with the rights of who started the job.
        log: for lines in the job's log; drops them when the job has none.
        aborted: somebody asked to abort the job. The body of a thread job looks at it
            or calls `check_aborted`; an ``async`` body is cancelled instead.
    """

    def __init__(
        self, record: JobRecord, context: Context, changed: Callable[[], None]
    ) -> None:
        self.context = context
        self.log: logging.Logger = SILENT
        self.aborted = False
        self._log: JobLog | None = None
        self._adopter: Callable[[int, float | None], Awaitable[None]] = _refuse
        self._releaser: Callable[[], None] = _nothing
        self._record = record
        self._changed = changed
        # The record belongs to the loop; what threads set waits here for it.
        self._latest_lock = threading.Lock()
        self._touched = False
        self._progress = record.progress
        self._description = record.description

    @property
    def id(self) -> int:
        """The job's number."""
        return self._record.id

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._record.attempt

    @property
    def credentials(self) -> CoreGetJobsItemCredentials | None:
        """Who started the job."""
        return self._record.credentials

    @property
    def logs_fd(self) -> BinaryIO:
        """The log file for raw bytes, as a child process writes them; unbuffered.

        Raises:
            CallError: the job is declared without ``logs=True``.
        """
        if self._log is None:
            raise CallError("This job has no logs")
        return self._log.file

    def set_progress(
        self,
        percent: float | None = None,
        description: str | None = None,
        extra: Any = None,
        *,
        indeterminate: bool = False,
    ) -> None:
        """Say how far the job is; cheap enough for every item of a loop.

        Clients see the newest value, at most four times a second. None leaves a value
        as it is.

        Args:
            percent: clamped to 0..100 and cut to an integer.
            description: what the job does now.
            extra: anything more that can be encoded, at most 64 KiB.
            indeterminate: the job cannot say how far it is; percent becomes null.
        """
        with self._latest_lock:
            self._progress = next_progress(
                self._progress,
                percent,
                description,
                extra,
                indeterminate=indeterminate,
            )
            self._touched = True
        self._changed()

    def set_description(self, description: str | None) -> None:
        """Change what the job is, for people."""
        with self._latest_lock:
            if self._description == description:
                return
            self._description = description
            self._touched = True
        self._changed()

    def check_aborted(self) -> None:
        """Raise `JobAborted` when somebody asked to abort the job."""
        if self.aborted:
            raise JobAborted

    async def adopt(self, pid: int, *, grace: float | None = None) -> None:
        """Tie a child process of the body to the job; returns when that is on disk.

        An abort sends SIGTERM to its process group, and SIGKILL after *grace* seconds
        if the job has not ended. If the server dies, what is left of its session is
        killed at the next start, before any lock is free: known by `CHILD_OF` in the
        environment when the child itself is gone. Start it with a session of its own,
        let it do nothing before this returns, and call `release` when it has ended.
        From the thread of a plain ``def`` body: ``anyio.from_thread.run``.

        Args:
            pid: number of the child.
            grace: seconds after an abort; by default ``abort_grace``.

        Raises:
            CallError: EINVAL, it leads no session; EBUSY, there is an adopted child
                already; EIO, the database could not be written; EOPNOTSUPP, the body
                runs in a child process itself, and all it starts ends with that.
        """
        await self._adopter(pid, grace)

    def release(self) -> None:
        """Kill what the adopted child left in its session, and let it go.

        Call it when the child has ended and before it is waited for, since its number
        may be used again from then on. Reads the process table.
        """
        self._releaser()

    def _take_latest(self) -> tuple[CoreGetJobsItemProgress, str | None] | None:
        """Give progress and description as set last, None when nothing was set."""
        with self._latest_lock:
            if not self._touched:
                return None
            self._touched = False
            return self._progress, self._description

    def _latest(self) -> tuple[CoreGetJobsItemProgress, str | None]:
        """Give progress and description as they are."""
        with self._latest_lock:
            return self._progress, self._description

    def _put_latest(
        self, progress: CoreGetJobsItemProgress, description: str | None
    ) -> None:
        """Set both as the body did in a child."""
        with self._latest_lock:
            self._progress, self._description = progress, description
            self._touched = True
        self._changed()

    def _open_log(self, log: JobLog) -> None:
        self._log = log
        self.log = log.logger
