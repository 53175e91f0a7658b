"""Queries over jobs: unfinished ones from memory, ended ones from the store."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import anyio.to_thread

from middlewared.filters import (
    Filters,
    QueryOptions,
    check_options,
    run_query,
)
from middlewared_jobs.record import JobRecord
from middlewared_jobs.store import JobStore, Viewer
from middlewared_jobs.views import View

__all__ = ["DEFAULT_LIMIT", "History"]

#: Matches returned when a query has no limit: the newest ones, ascending by id.
DEFAULT_LIMIT = 1000


class History:
    """All jobs that the server knows, as one list.

    Args:
        store: the ended ones.
        live: gives the unfinished and the transient ones.
    """

    def __init__(
        self, store: JobStore, live: Callable[[], Iterable[JobRecord]]
    ) -> None:
        self._store = store
        self._live = live

    async def query(
        self,
        filters: Filters,
        options: QueryOptions,
        view: View,
        viewer: Viewer | None,
    ) -> Any:
        """Run a query (protocol page, section 6) over everything *viewer* sees.

        The answer shows one moment: a job that ends meanwhile is in it once.

        Args:
            filters: on what *view* shows.
            options: as on the wire; without a limit the newest matches are given.
            view: the shape of the answer.
            viewer: whose jobs, None for all.

        Raises:
            CallError: as the filter language says; EFBIG when too much had to be read.
        """
        check_options(options)
        # First what is in memory, then the store: a job that ends in between is in
        # both, and counted once; the other way round it could be in neither.
        live = [r for r in self._live() if viewer is None or viewer.sees(r)]
        if options.count:
            return await self._count(filters, view, viewer, live)
        limit = 1 if options.get else options.limit or DEFAULT_LIMIT
        needed = options.offset + limit + len(live)
        ended = await self._store.find(
            filters, options, view, viewer, needed, newest=_wants_newest(options)
        )
        records = {record.id: record for record in live}
        records |= {record.id: record for record in ended}
        run = partial(_answer, records, filters, options, view)
        return await anyio.to_thread.run_sync(run)

    async def _count(
        self,
        filters: Filters,
        view: View,
        viewer: Viewer | None,
        live: list[JobRecord],
    ) -> int:
        plain = [view.plain(record) for record in live]
        count = run_query(plain, filters, QueryOptions(count=True))
        assert isinstance(count, int)  # noqa: S101 - that is what count answers
        ids = [record.id for record in live]
        return count + await self._store.count(filters, view, viewer, without=ids)


def _wants_newest(options: QueryOptions) -> bool:
    """Tell whether the default limit applies: then the newest matches count."""
    return not (options.limit or options.order_by or options.offset or options.get)


def _answer(
    records: dict[int, JobRecord],
    filters: Filters,
    options: QueryOptions,
    view: View,
) -> Any:
    """Filter, sort and cut what memory and store gave together."""
    items = [view.plain(records[number]) for number in sorted(records)]
    answer = run_query(items, filters, options)
    if isinstance(answer, list) and not options.limit:
        newest = _wants_newest(options)
        return answer[-DEFAULT_LIMIT:] if newest else answer[:DEFAULT_LIMIT]
    return answer
