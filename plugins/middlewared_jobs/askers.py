"""Who asks for jobs: calls, and whoever awaits the record of a new job."""

import asyncio
from collections.abc import Callable

import msgspec

from middlewared.audit import Trail
from middlewared.call import Call
from middlewared_jobs.auditing import note_job
from middlewared_jobs.record import JobRecord
from middlewared_jobs.run import Run
from middlewared_jobs.submission import Submission

__all__ = ["Caller", "Waiter"]


class Caller(msgspec.Struct, eq=False):
    """A call of a job method.

    Attributes:
        call: the call.
        trail: the audit log.
        answer: what is to be done with a call that has its job.
    """

    call: Call
    trail: Trail
    answer: Callable[[Call, Submission, Run], None]

    def accepted(self, wish: Submission, run: Run) -> None:
        """Write the job down, and answer or let the answer wait for its end."""
        self.call.hand_over()
        note_job(self.trail, wish, run)
        self.answer(self.call, wish, run)

    def refused(self, exc: Exception) -> None:
        """Answer with the error."""
        self.call.fail(exc)


class Waiter(msgspec.Struct, eq=False):
    """Somebody inside the server.

    Attributes:
        outcome: resolved with the record of the job; it may be cancelled.
        trail: the audit log.
    """

    outcome: asyncio.Future[JobRecord]
    trail: Trail

    def accepted(self, wish: Submission, run: Run) -> None:
        """Write the job down, and give its record."""
        note_job(self.trail, wish, run)
        if not self.outcome.done():
            self.outcome.set_result(run.record)

    def refused(self, exc: Exception) -> None:
        """Raise it where the job is awaited."""
        if not self.outcome.done():
            self.outcome.set_exception(exc)
