"""Starts one job of a schedule, exactly one for each time."""

import errno

import msgspec

from middlewared import CallError, Context, Credentials, ValidationErrors, ejson
from middlewared.filters import QueryOptions, parse_filters
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared_auth import Accounts
from middlewared_jobs import (
    JobFunction,
    JobOptions,
    JobRecord,
    Jobs,
    Seal,
    Submission,
    read_jobs,
)
from middlewared_schedules.moment import moment
from middlewared_schedules.rights import check_rights, rights_of
from middlewared_schedules.schedule import Schedule

__all__ = ["Starter", "job_key"]


def job_key(schedule: int, time: int) -> str:
    """Give the key of the job for a time: it names one job, whatever happens."""
    return f"schedule:{schedule}:{moment(time)}"


class Starter:
    """Starts jobs with the rights of the owner of their schedule."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.get(Jobs)
        self._accounts = context.get(Accounts)
        self._methods = context.get(Registry).methods
        self._seal = context.get(Seal)

    async def start(self, schedule: Schedule, time: int | None) -> JobRecord:
        """Start a job; its record is committed.

        The job of a time is made once, however often this is called.

        Args:
            schedule: whose job.
            time: for which time; None for a further job, by hand.

        Raises:
            RightsLost: the owner may not any more.
            CallError: EACCES, its account is locked or has expired; ENOENT, the
                method is gone; EINVAL, it does not take the params; else as
                `Jobs.submit` says.
        """
        who = self._rights(schedule)
        method = self._method(schedule)
        check_rights(method, who)
        chosen = msgspec.structs.asdict(schedule.options)
        key = None if time is None else job_key(schedule.id, time)
        wish = Submission(
            method,
            self._values(schedule, method),
            who,
            options=JobOptions(**chosen, key=key),
            schedule=schedule.id,
        )
        try:
            return await self._jobs.submit(wish)
        except CallError as exc:
            if exc.errno != errno.EEXIST or time is None:
                raise
            # Its params are others by now: a default of the method has changed.
            found = await self.find(schedule, time)
            if found is None:
                raise
            return found

    async def find(self, schedule: Schedule, time: int) -> JobRecord | None:
        """Give the job that was made for a time, None when none was."""
        filters = parse_filters(
            [["schedule", "=", schedule.id], ["key", "=", job_key(schedule.id, time)]]
        )
        found, _ = await read_jobs(self._context, filters, QueryOptions(limit=1))
        return found[0] if found else None

    def leaves_record(self, schedule: Schedule) -> bool:
        """Tell whether its jobs are on disk, so that each time is known by its job."""
        method = self._methods.get(schedule.method)
        deferred = None if method is None else method.deferred
        return not (isinstance(deferred, JobFunction) and deferred.spec.transient)

    def _rights(self, schedule: Schedule) -> Credentials:
        account = self._accounts.get(schedule.owner)
        return rights_of(schedule, account, self._context.clock.time_ms())

    def _method(self, schedule: Schedule) -> Method:
        method = self._methods.get(schedule.method)
        if method is None or not isinstance(method.deferred, JobFunction):
            raise CallError(f"There is no job method {schedule.method}", errno.ENOENT)
        return method

    def _values(self, schedule: Schedule, method: Method) -> list[object]:
        params: bytes | None = schedule.params
        if schedule.sealed:
            params = self._seal.open(schedule.params)
        if params is None:
            raise CallError(
                f"The params of {schedule.method} cannot be read: they were sealed "
                "with another key",
                errno.EINVAL,
            )
        try:
            return method.params.bind(ejson.decode(params), {})
        except ValidationErrors as exc:
            raise CallError(
                f"{schedule.method} does not take the params any more: "
                f"{str(exc).strip()}",
                errno.EINVAL,
            ) from None
