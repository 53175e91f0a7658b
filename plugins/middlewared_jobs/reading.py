"""Reading jobs as records, with the rights of a caller."""

from collections.abc import Sequence

from middlewared import Context
from middlewared.filters import Filters, QueryOptions
from middlewared_jobs.access import viewer_of
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.record import JobRecord

__all__ = ["read_jobs"]


async def read_jobs(
    ctx: Context, filters: Filters, options: QueryOptions
) -> tuple[Sequence[JobRecord], int]:
    """Give the jobs that match and that the caller may see, and how many there are.

    Args:
        ctx: the caller.
        filters: on the whole record.
        options: of which order, offset and limit count; the limit has to be given.

    Raises:
        CallError: as the filter language says; EFBIG when too much had to be read.
    """
    history, viewer = ctx.get(Jobs).history, viewer_of(ctx)
    records = await history.records(filters, options, viewer)
    return records, await history.count(filters, viewer)
