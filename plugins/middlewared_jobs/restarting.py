"""When a job may be restarted: gone on with, where it failed or was aborted."""

import errno

from middlewared import CallError, Context
from middlewared.filters import QueryOptions, parse_filters
from middlewared.registry import Registry
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.record import JobRecord
from middlewared_jobs.spec import JobFunction
from middlewared_jobs.states import State

__all__ = ["check_restart"]


async def check_restart(ctx: Context, record: JobRecord) -> None:
    """Let a job pass that may be restarted.

    Raises:
        CallError: EBUSY, it has not ended; EALREADY, it has succeeded; EOPNOTSUPP, its
            method is not restartable; ESTALE, a later job went on with it; EDQUOT, its
            instance was restarted as often as it may.
    """
    if not record.final:
        raise CallError(
            f"Job {record.id} is {record.state}, expected one that has ended",
            errno.EBUSY,
        )
    method = ctx.get(Registry).methods.get(record.method)
    declared = None if method is None else method.deferred
    if not isinstance(declared, JobFunction) or not declared.spec.restartable:
        raise CallError(
            f"Job {record.id} of {record.method} cannot be restarted", errno.EOPNOTSUPP
        )
    if record.state is State.SUCCESS:
        raise CallError(f"Job {record.id} has succeeded already", errno.EALREADY)
    restarts = await _restarts(ctx, record)
    if restarts and restarts[-1] > record.id:
        raise CallError(
            f"Job {restarts[-1]} went on with job {record.id} already", errno.ESTALE
        )
    limit = declared.spec.restart_limit
    if limit is not None and len(restarts) >= limit:
        raise CallError(
            f"Job {record.id} was restarted {len(restarts)} times, the limit is "
            f"{limit}",
            errno.EDQUOT,
        )


async def _restarts(ctx: Context, record: JobRecord) -> list[int]:
    """Give the ids of the jobs that restarted others of an instance, ascending."""
    filters = parse_filters(
        [["is_restart", "=", True], ["instance", "=", record.instance]]
    )
    options = QueryOptions(limit=10_000)
    found = await ctx.get(Jobs).history.records(filters, options, None)
    return [restart.id for restart in found]
