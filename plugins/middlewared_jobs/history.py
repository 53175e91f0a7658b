"""Queries over jobs: unfinished ones from memory, ended ones from the store.

What SQL can decide alone is answered with text that the store makes (`Page`); all else
is put together from records. A property test holds both to the same answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import anyio.to_thread
import msgspec

from middlewared.filters import (
    Filters,
    QueryOptions,
    check_options,
    run_query,
)
from middlewared_jobs.liveitem import LiveItem, choose
from middlewared_jobs.part import DEFAULT_LIMIT, part_of
from middlewared_jobs.record import JobRecord
from middlewared_jobs.store import JobStore, Viewer
from middlewared_jobs.views import RECORD, View

__all__ = ["History"]

#: Queries that have jobs in memory at one time; clients may send thousands at once.
MAX_QUERIES = 8


class History:
    """All jobs that the server knows, as one list.

    Args:
        store: the ended ones.
        live: gives the unfinished and the transient ones.
        settle: waits until no end is only in memory.
    """

    def __init__(
        self,
        store: JobStore,
        live: Callable[[], Iterable[JobRecord]],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._live = live
        self._settle = settle
        # Not anyio's limiter, which gives the loop a turn before each query.
        self._turns = asyncio.Semaphore(MAX_QUERIES)

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

        Returns:
            Plain values, or JSON text of the same.

        Raises:
            CallError: as the filter language says; EFBIG when too much had to be read.
        """
        check_options(options)
        async with self._turns:
            if options.count:
                return await self._count(filters, view, viewer)
            text = await self._read(filters, options, view, viewer)
            if text is not None:
                return text
            records = await self._candidates(filters, options, view, viewer)
            run = partial(_answer, records, filters, options, view)
            return await anyio.to_thread.run_sync(run)

    async def records(
        self, filters: Filters, options: QueryOptions, viewer: Viewer | None
    ) -> list[JobRecord]:
        """Give the records that match; of the options, order, offset and limit count.

        Raises:
            CallError: as the filter language says; EFBIG when too much had to be read.
        """
        check_options(options)
        async with self._turns:
            found = await self._candidates(filters, options, RECORD, viewer)
            ids = msgspec.structs.replace(options, select=["id"])
            run = partial(_answer, found, filters, ids, RECORD)
            return [found[item["id"]] for item in await anyio.to_thread.run_sync(run)]

    async def count(self, filters: Filters, viewer: Viewer | None) -> int:
        """Count the records that match.

        Raises:
            CallError: as the filter language says; EFBIG when too much had to be read.
        """
        async with self._turns:
            return await self._count(filters, RECORD, viewer)

    def _live_for(self, viewer: Viewer | None) -> list[JobRecord]:
        return [r for r in self._live() if viewer is None or viewer.sees(r)]

    async def _read(
        self,
        filters: Filters,
        options: QueryOptions,
        view: View,
        viewer: Viewer | None,
    ) -> msgspec.Raw | None:
        """Give the answer as text, None when jobs have to be looked at for it."""
        page = self._store.page(filters, options, view, viewer)
        if page is None:
            return None
        await self._settle()
        live = self._live_for(viewer)
        chosen = choose(live, filters, view, page.live_needed, newest=page.newest)
        return None if chosen is None else await page.read(chosen)

    async def _candidates(
        self,
        filters: Filters,
        options: QueryOptions,
        view: View,
        viewer: Viewer | None,
    ) -> dict[int, JobRecord]:
        """Give what is in memory, and enough of the store to answer from."""
        # First what is in memory, then the store: a job that ends in between is in
        # both, and counted once; the other way round it could be in neither.
        await self._settle()
        live = self._live_for(viewer)
        part = part_of(options)
        needed = part.needed + len(live)
        ended = await self._store.find(
            filters, options, view, viewer, needed, newest=part.newest
        )
        records = {record.id: record for record in live}
        return records | {record.id: record for record in ended}

    async def newest(
        self, filters: Filters, view: View, viewer: Viewer | None
    ) -> Sequence[JobRecord]:
        """Give the newest `DEFAULT_LIMIT` ended jobs that match, ascending by id.

        Raises:
            CallError: as the filter language says; EFBIG when too much had to be read.
        """
        async with self._turns:
            found = await self._store.find(
                filters, QueryOptions(), view, viewer, DEFAULT_LIMIT, newest=True
            )
        return sorted(found, key=attrgetter("id"))[-DEFAULT_LIMIT:]

    async def _count(self, filters: Filters, view: View, viewer: Viewer | None) -> int:
        await self._settle()
        live = self._live_for(viewer)
        items = [LiveItem(record, view) for record in live]
        count = run_query(items, filters, QueryOptions(count=True))
        assert isinstance(count, int)  # noqa: S101 - that is what count answers
        ids = [record.id for record in live]
        return count + await self._store.count(filters, view, viewer, without=ids)


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
        # The offset is done with by then.
        newest = part_of(options).newest
        return answer[-DEFAULT_LIMIT:] if newest else answer[:DEFAULT_LIMIT]
    return answer
