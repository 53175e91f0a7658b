"""What one request of a dialect may do with jobs, with the rights of its sender.

Whatever changes something goes through the native methods, so that rights, limits,
audit and abort are theirs.
"""

import errno
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from middlewared import CallError, Context
from middlewared.filters import QueryOptions, parse_filters
from middlewared_dialects.problems import DialectError, Problem
from middlewared_dialects.publications import Publications, Published
from middlewared_dialects.spelling import job_uid
from middlewared_jobs import ItemError, JobOptions, JobRecord, Jobs, read_jobs

__all__ = ["Gateway", "Page"]

P = TypeVar("P", bound=msgspec.Struct)


class Page(msgspec.Struct, frozen=True):
    """Some of the jobs that match.

    Attributes:
        records: newest first, unless another order was asked for.
        total: how many match in all.
    """

    records: Sequence[JobRecord]
    total: int


class Gateway(Generic[P]):
    """The jobs of one dialect, as one sender may see and change them.

    Args:
        context: the rights of the sender.
        publications: what the dialect shows.
    """

    def __init__(self, context: Context, publications: Publications[P]) -> None:
        self.context = context
        self._publications = publications
        self._jobs = context.get(Jobs)

    async def submit(
        self,
        published: Published[P],
        params: Sequence[Any] | Mapping[str, Any],
        options: JobOptions | None = None,
    ) -> JobRecord:
        """Start a job; its record is committed.

        Raises:
            CallError: as calling the method does.
        """
        chosen = {} if options is None else msgspec.to_builtins(options)
        number = await self.context.call("job.submit", published.name, params, chosen)
        record = await self._jobs.get(number)
        if record is None:  # transient, and gone already
            raise CallError(f"Job {number} left no record", errno.ENOENT)
        return record

    async def restart(self, record: JobRecord) -> JobRecord:
        """Go on with a job that failed or was aborted.

        Raises:
            CallError: as ``job.restart`` does.
        """
        number = await self.context.call("job.restart", record.id)
        again = await self._jobs.get(number)
        if again is None:
            raise CallError(f"Job {number} left no record", errno.ENOENT)
        return again

    async def wait(self, record: JobRecord) -> JobRecord:
        """Wait until a job has ended. Safe to cancel: the job goes on."""
        return await self._jobs.wait(record.id) or record

    async def abort(self, record: JobRecord) -> None:
        """Ask a job to end; nothing happens to one that has.

        Raises:
            CallError: EPERM, it is somebody else's, or cannot be aborted now.
        """
        await self.context.call("job.abort", record.id)

    async def pause(self, record: JobRecord) -> None:
        """Let a job wait before its next step.

        Raises:
            CallError: as ``job.pause`` does.
        """
        await self.context.call("job.pause", record.id)

    async def resume(self, record: JobRecord) -> None:
        """Let a paused job go on.

        Raises:
            CallError: as ``job.resume`` does.
        """
        await self.context.call("job.resume", record.id)

    async def delete(self, record: JobRecord) -> None:
        """Remove an ended job from history.

        Raises:
            CallError: EPERM, it is somebody else's; EBUSY, it has not ended.
        """
        await self.context.call("job.delete", record.id)

    async def item_errors(
        self, record: JobRecord, offset: int, limit: int
    ) -> Sequence[ItemError]:
        """Give items that a job could not do, in order."""
        return await self._jobs.item_errors(record.id, offset, limit)

    async def find(
        self, text: str, methods: Iterable[str] | None = None
    ) -> tuple[JobRecord, Published[P]]:
        """Find a job by its number, its uuid in any spelling, or its caller's key.

        What the sender may not see is not found, as is what the dialect does not show.

        Args:
            text: the id as it was sent.
            methods: only of these, by default of all that the dialect shows.

        Raises:
            DialectError: NOT_FOUND.
        """
        allowed = self._publications.methods if methods is None else list(methods)
        return await self._first(text, allowed, [*_conditions(text), _by_key(text)])

    async def _first(
        self, text: str, allowed: Sequence[str], conditions: Iterable[Sequence[Any]]
    ) -> tuple[JobRecord, Published[P]]:
        for condition in conditions:
            page = await self.list(allowed, [condition], limit=1)
            for record in page.records:
                published = self._publications.get(record.method)
                if published is not None:
                    return record, published
        raise DialectError(Problem.NOT_FOUND, f"There is no job {text!r}")

    async def find_chosen(self, text: str) -> tuple[JobRecord, Published[P]]:
        """Find a job by its caller's key, or else as `find` does.

        Raises:
            DialectError: NOT_FOUND.
        """
        return await self._first(
            text, self._publications.methods, [_by_key(text), *_conditions(text)]
        )

    async def list(
        self,
        methods: Iterable[str],
        filters: Sequence[Any] = (),
        *,
        offset: int = 0,
        limit: int = 20,
        order_by: Sequence[str] = ("-id",),
    ) -> Page:
        """Give jobs that the sender may see.

        Args:
            methods: of which methods.
            filters: of the filter language, on the whole record.
            offset: how many to leave out at the start.
            limit: how many to give, at most 10,000.
            order_by: keys of the record.
        """
        conditions = [["method", "in", list(methods)], *filters]
        parsed = parse_filters(conditions)
        options = QueryOptions(order_by=order_by, offset=offset, limit=limit)
        records, total = await read_jobs(self.context, parsed, options)
        return Page(records, total)


def _conditions(text: str) -> list[list[Any]]:
    """Say what a job has whose own id was sent in some spelling."""
    conditions: list[list[Any]] = []
    if text.isascii() and text.isdecimal() and len(text) < 19:  # noqa: PLR2004 - 2**63
        conditions.append(["id", "=", int(text)])
    uid = job_uid(text)
    if uid is not None:
        conditions.append(["uid", "=", uid])
    return conditions


def _by_key(text: str) -> Sequence[Any]:
    return ["key", "=", text]
