"""Third promise: a body has an owner, a name, a `Job`, and can be asked to end."""

from pathlib import Path
from typing import Any

import anyio
from benchmarks.commits import Job
from benchmarks.promised.audited import WHO
from benchmarks.promised.typed import SETTINGS, Typed
from benchmarks.sketch import now

from middlewared import Date
from middlewared.context import Services
from middlewared_jobs import Job as SeenJob
from middlewared_jobs.current_job import JobAborted, JobContext
from middlewared_jobs.desk import ClosedDesk
from middlewared_jobs.notebook import Notebook
from middlewared_jobs.outcome import record_aborted, record_failure
from middlewared_jobs.record import Abort, CoreGetJobsItemProgress

__all__ = ["Owned"]


class Seen(SeenJob):
    """What a body sees; all of it is made when the body first uses some of it."""

    def __init__(self, owner: "Owned", job: Job) -> None:
        self._owner = owner
        self._of = job
        self.aborted = False

    def __getattr__(self, name: str) -> Any:
        if "_opened" in self.__dict__:
            raise AttributeError(name)
        aborted, record = self.aborted, self._owner.record(self._of)
        notebook = Notebook(record, SETTINGS, now, self._note)
        context = JobContext(self._owner.services, WHO, record.id)
        super().__init__(record, ClosedDesk(context, notebook))
        self.aborted = aborted
        return getattr(self, name)

    def _note(self, urgent: bool) -> None:
        self._owner.noted(self._of)

    @property
    def opened(self) -> bool:
        """Whether the body used anything of it."""
        return "_opened" in self.__dict__

    def latest(self) -> CoreGetJobsItemProgress | None:
        """Give the progress that the body noted since the last look."""
        latest = self._take_notes() if self.opened else None
        return None if latest is None else latest.progress


class Owned(Typed):
    """A body is a task with a name and an owner, in a scope that cancels it.

    Attributes:
        services: what bodies may reach.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.services = Services()
        self._scope = type(anyio.CancelScope())

    def launch(self, job: Job) -> None:
        """Run the body in a task."""
        name = f"job {job.id} {job.item.method}"
        self.tasks[job.id] = self.loop.create_task(self.run(job), name=name)

    async def run(self, job: Job) -> None:
        """Run the body, and write down how it ends."""
        method, value = job.method, None
        failure: BaseException | None = None
        with self._scope() as scope:
            job.scope = scope
            job.seen = seen = Seen(self, job)
            try:
                if job.aborted is None:
                    value = await method.params.call(method.handler, seen, job.values)
            except anyio.get_cancelled_exc_class():
                if scope.cancel_called:
                    raise  # the scope swallows it: the body was aborted
                failure = RuntimeError("the body of the job cancelled itself")
            except BaseException as exc:  # noqa: BLE001 - a border: it is recorded
                failure = exc
        self._ended(job, value, failure)
        del self.tasks[job.id]

    def _ended(self, job: Job, value: Any, failure: BaseException | None) -> None:
        self.take_notes(job)
        aborted = job.aborted is not None and (
            failure is None or isinstance(failure, JobAborted)
        )
        # They know each other: nothing is left for the collector.
        job.scope = job.seen = None
        if aborted:
            self.end_aborted(job)
        elif failure is not None:
            self.end_failed(job, failure)
        else:
            self.returned(job, value)

    def end_aborted(self, job: Job) -> None:
        """Write the end of a job that was aborted."""
        record = self.record(job)
        record.abort = Abort(job.aborted or "", Date(now()))
        record_aborted(record, now())
        self.settle(job, record)

    def end_failed(self, job: Job, failure: BaseException) -> None:
        """Write the end of a job whose body failed."""
        record = self.record(job)
        record_failure(record, failure, SETTINGS, now())
        self.settle(job, record)

    def noted(self, job: Job) -> None:
        """Hear, from any thread, that a body noted something."""
        self.loop.call_soon_threadsafe(self._tell_notes, job)

    def _tell_notes(self, job: Job) -> None:
        if job.seen is not None and self.take_notes(job):
            self.tell_notes(job)
            self.flush()

    def take_notes(self, job: Job) -> bool:
        """Move what a body noted into the item; tell whether that is anything."""
        progress = job.seen.latest()
        if progress is not None:
            job.item.progress = progress
        return progress is not None

    def tell_notes(self, job: Job) -> None:
        """Tell what a body noted."""
        self.publish(self.event(job, "changed"))
