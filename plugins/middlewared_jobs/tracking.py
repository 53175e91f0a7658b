"""Makes runs: a record, the method that performs it, and what its body sees."""

import errno
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from middlewared import CallError, Context, Credentials
from middlewared.clock import Clock
from middlewared.plugin import Method
from middlewared_jobs.adopted import Save, adopt, release
from middlewared_jobs.current_job import Job, JobContext
from middlewared_jobs.declared import description_of, limits_of, spec_of
from middlewared_jobs.notebook import Notebook, step_id
from middlewared_jobs.notes import StepRecord
from middlewared_jobs.record import JobRecord
from middlewared_jobs.run import Run
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.spec import JobSpec
from middlewared_jobs.states import State

__all__ = ["Tracker", "apply_spec", "carried_steps", "declared_steps"]


class Tracker:
    """Makes runs of records.

    Args:
        context: the services that bodies may reach.
        clock: for the times of notes.
        settings: limits on notes.

    Attributes:
        noted: called after every note, from any thread.
        write: writes the row of a run, and calls back.
        wrap: waits for another job, see `Job.wrap`.
    """

    def __init__(
        self,
        context: Context,
        clock: Clock,
        settings: JobSettings,
        noted: Callable[[Run, bool], None],
        write: Save,
        wrap: Callable[[Run, int], Awaitable[Any]],
    ) -> None:
        self._services = context.services
        self._now = clock.time_ms
        self._settings = settings
        self.noted = noted
        self.write = write
        self.wrap = wrap
        self._make_job = self._job  # bound once

    def track(
        self,
        record: JobRecord,
        method: Method,
        values: list[Any],
        who: Credentials | None,
    ) -> Run:
        """Make the run of a record.

        Raises:
            CallError: EINVAL, its limits cannot be made of these params.
        """
        spec = spec_of(method)
        return Run(
            record=record,
            method=method,
            spec=spec,
            values=values,
            limits=limits_of(method, spec, values),
            id=record.id,
            lock=record.lock,
            priority=record.priority,
            kind=spec.kind,
            audience=record.audience(spec.read_roles),
            who=who,
            make_job=self._make_job,
        )

    def show(self, spec: JobSpec, values: list[Any]) -> list[Any]:
        """Give params with the secrets in them redacted that their types do not tell.

        `Secret` values redact themselves.
        """
        return values if spec.show is None else spec.show(self._services, values)

    def renew(self, run: Run) -> None:
        """Prepare the next attempt: what an earlier body still says is not heard."""
        record = run.record
        if not run.spec.restartable:
            record.steps = declared_steps(run.spec, record.id)
        run.drop_job()
        run.error = run.exit = run.expired = run.scope = None
        run.paused, run.paused_at = 0.0, None
        run.progress_due = run.urgent_due = False

    def _job(self, run: Run) -> Job:
        return Job(run.record, _RunDesk(run, self), run.spec.messages)

    def make_context(self, run: Run) -> Context:
        """Give the rights that the body of a run has."""
        return JobContext(self._services, run.who, run.id)

    def open_notebook(self, run: Run, noted: Callable[[bool], None]) -> Notebook:
        """Make what the body of a run notes in."""
        return Notebook(run.record, self._settings, self._now, noted)


class _RunDesk(msgspec.Struct, eq=False):
    """The desk of one run; the run lets go of it once its end is committed."""

    run: Run
    tracker: Tracker

    def make_context(self) -> Context:
        """Give the rights that the body has."""
        return self.tracker.make_context(self.run)

    def open_notebook(self) -> Notebook:
        """Give what it notes in."""
        return self.tracker.open_notebook(self.run, self._noted)

    def _noted(self, urgent: bool) -> None:
        if not self.run.over:
            self.tracker.noted(self.run, urgent)

    def check_open(self) -> None:
        """Let the body pass."""

    async def adopt(self, pid: int, grace: float | None) -> None:
        """Tie a child process of the body to the job."""
        await adopt(self._unfinished(), self.tracker.write, pid, grace)

    def release(self) -> None:
        """Let it go."""
        release(self.run)

    async def wrap(self, number: int) -> Any:
        """Wait for another job."""
        return await self.tracker.wrap(self._unfinished(), number)

    def _unfinished(self) -> Run:
        if self.run.over:
            raise CallError("The job has ended", errno.EINVAL)
        return self.run


def apply_spec(record: JobRecord, spec: JobSpec, values: Sequence[Any]) -> None:
    """Put into a new record what its method says of each of its jobs.

    Args:
        record: as it was made.
        spec: of its method.
        values: bound params, for the description.
    """
    if spec.description is not None:
        record.description = description_of(spec, values)
    for name, value in spec.chosen:
        setattr(record, name, value)
    if spec.scopes:
        record.scopes = list(spec.scopes)
    if spec.counts:
        record.counts = dict.fromkeys(spec.counts, 0)
    if spec.steps:
        record.steps = declared_steps(spec, record.id)


def declared_steps(spec: JobSpec, job: int) -> list[StepRecord]:
    """Give the steps that a method declares, as they are before a job begins."""
    return [step.record(step_id(job, n)) for n, step in enumerate(spec.steps)]


def carried_steps(spec: JobSpec, earlier: JobRecord, job: int) -> list[StepRecord]:
    """Give the steps of a job that restarts an earlier one: what succeeded, stays."""
    declared = {(step.name, step.scope): step for step in spec.steps}
    steps = []
    for old in earlier.steps:
        if old.state is State.SUCCESS:
            ran_in = old.ran_in or earlier.id
            steps.append(msgspec.structs.replace(old, ran_in=ran_in))
        elif found := declared.get((old.name, old.scope)):
            steps.append(found.record(0))
    known = {(step.name, step.scope) for step in steps}
    steps += [step.record(0) for key, step in declared.items() if key not in known]
    for place, kept in enumerate(steps):
        kept.id = step_id(job, place)
    return steps
