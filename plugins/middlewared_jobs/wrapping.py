"""A body that waits for another job, and shows that one's progress as its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import anyio
import msgspec

from middlewared_jobs.access import check_readable, no_such_job
from middlewared_jobs.record import JobRecord
from middlewared_jobs.run import Run
from middlewared_jobs.step import JobAborted
from middlewared_jobs.succeeding import check_succeeded

__all__ = ["Waiting", "wrap"]


class Waiting(Protocol):
    """What this needs of the job manager."""

    live: dict[int, Run]

    async def wait_for(self, parent: Run, number: int) -> JobRecord | None:
        """Wait for the end of a job in the body of another one."""
        ...

    async def get(self, number: int) -> JobRecord | None:
        """Give a job as it is now."""
        ...


async def wrap(jobs: Waiting, outer: Run, number: int) -> Any:
    """Wait for a job with the progress of another; see `Job.wrap`."""
    record = await jobs.get(number)
    if record is None:
        raise no_such_job(number)
    check_readable(outer.context, record)
    inner = jobs.live.get(number)
    if inner is not None and not outer.job.aborted:
        with _forwarded(inner, outer), _until_abort(outer):
            record = await jobs.wait_for(outer, number) or record
    if outer.job.aborted:
        raise JobAborted  # that is why the other one ended, if it is our child
    check_succeeded(record, inner)
    clear = None if inner is None else inner.clear
    return msgspec.json.decode(record.result if clear is None else clear)


@contextmanager
def _until_abort(outer: Run) -> Iterator[None]:
    """Stop waiting when the job whose body waits is aborted, also in a thread."""
    with anyio.CancelScope() as scope:
        outer.waits += (scope,)
        try:
            yield
        finally:
            outer.waits = tuple(other for other in outer.waits if other is not scope)


@contextmanager
def _forwarded(inner: Run, outer: Run) -> Iterator[None]:
    """Show the progress of one job as that of another, now and whenever it changes."""

    def forward() -> None:
        progress = inner.record.progress
        outer.job.set_progress(
            progress.percent,
            progress.description or None,
            progress.extra,
            indeterminate=progress.percent is None,
        )

    forward()
    inner.watchers += (forward,)
    try:
        yield
    finally:
        inner.watchers = tuple(w for w in inner.watchers if w is not forward)
