"""How a running body is asked to end, and what is said when it does not listen."""

import logging

import anyio
import msgspec

from middlewared import Date
from middlewared.tasks import Tasks
from middlewared_jobs.phase import Phase
from middlewared_jobs.record import Abort
from middlewared_jobs.run import Run
from middlewared_jobs.states import State

__all__ = ["Aborting"]

logger = logging.getLogger(__name__)


class Aborting:
    """Asks bodies to end: a flag for threads, a cancel scope in the loop, a signal.

    A child process that does not end in time is killed.

    Args:
        tasks: owner of the watches.
        grace: seconds after which an abort that is not honoured is reported.
    """

    def __init__(self, tasks: Tasks, grace: float) -> None:
        self._tasks = tasks
        self._grace = grace

    def note(self, run: Run, by: str, now: int, reason: str | None = None) -> None:
        """Record who asked first, when, and why."""
        if run.record.abort is None:
            run.record.abort = Abort(by, Date(now), reason=reason)

    def begin(self, run: Run) -> None:
        """Ask the body to end and report when it does not."""
        if not run.job.aborted:
            watch = self._watch(run, run.record.attempt)
            self._tasks.start(watch, name=f"abort of job {run.id}")
        self.cancel(run)

    def cancel(self, run: Run) -> None:
        """Ask the body to end."""
        run.job.aborted = True
        if run.record.abort is not None:
            run.record.phase = Phase.ABORTING
        if run.scope is not None:
            run.scope.cancel()
        for scope in run.waits:
            scope.cancel()
        for child in run.offspring:
            child.ask()
        # Last: a body that waits for a pipe looks then whether it is asked to end.
        if run.plumbing is not None:
            run.plumbing.abort()

    def kill(self, run: Run) -> None:
        """Kill the child processes; a body in one of them ends with it."""
        for child in run.offspring:
            child.kill()

    async def _watch(self, run: Run, attempt: int) -> None:
        """Report an abort that the body ignores; its lock stays taken."""
        grace = self._grace
        if run.adopted is not None and run.adopted.grace is not None:
            grace = run.adopted.grace
        await anyio.sleep(grace)
        record = run.record
        if record.state is not State.RUNNING or record.attempt != attempt:
            return
        asked = "abort requested"
        if record.abort is not None:
            record.abort = msgspec.structs.replace(record.abort, overdue=True)
        elif run.expired is not None:
            asked = run.expired.text
        text = f"{asked}, not honoured for {grace:g} s"
        if run.offspring:
            text += ", its process is killed"
        run.job.log.warning(text)
        logger.warning("job %d %s: %s", run.id, record.method, text)
        self.kill(run)
