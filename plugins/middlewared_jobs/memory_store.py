"""A store that lasts as long as the process: the contract in its simplest form."""

import asyncio
from collections.abc import Sequence

import msgspec

from middlewared.filters import Budget, Filters, QueryOptions, matches
from middlewared_jobs.notes import ItemError
from middlewared_jobs.record import JobRecord
from middlewared_jobs.store import Saved, Stored, Viewer
from middlewared_jobs.views import View

__all__ = ["MemoryStore"]


def _copy(record: JobRecord) -> JobRecord:
    return msgspec.json.decode(msgspec.json.encode(record), type=JobRecord)


class MemoryStore:
    """Jobs in a dictionary; `saved` is called in the next tick of the loop."""

    def __init__(self) -> None:
        self._rows: dict[int, Stored] = {}
        self._errors: dict[int, list[ItemError]] = {}
        self._first_id = 1

    async def first_id(self) -> int:
        """Give the first id that was never reserved."""
        return self._first_id

    async def unfinished(self) -> Sequence[Stored]:
        """Give the jobs that have not ended, by id."""
        rows = sorted(self._rows.items())
        return [
            Stored(_copy(row.record), row.params)
            for _, row in rows
            if not row.record.final
        ]

    def save(
        self,
        record: JobRecord,
        params: bytes | None,
        saved: Saved | None,
        errors: Sequence[ItemError] = (),
    ) -> None:
        """Write a job as it is now; params are erased once it has ended."""
        before = self._rows.get(record.id)
        if before is None or before.record.attempt <= record.attempt:
            kept = None if record.final else params
            self._rows[record.id] = Stored(_copy(record), kept)
        self._errors.setdefault(record.id, []).extend(errors)
        self._answer(saved)

    def reserve_ids(self, first: int, saved: Saved | None) -> None:
        """Write the first id that was never reserved."""
        self._first_id = first
        self._answer(saved)

    def flush(self, saved: Saved) -> None:
        """Call back once everything handed over before is answered."""
        self._answer(saved)

    def _answer(self, saved: Saved | None) -> None:
        if saved is not None:
            asyncio.get_running_loop().call_soon(saved, None)

    async def get(self, number: int) -> JobRecord | None:
        """Give one job, None when there is none."""
        row = self._rows.get(number)
        return None if row is None else _copy(row.record)

    async def find_key(
        self, owner: int | None, method: str, key: str
    ) -> JobRecord | None:
        """Give the job that a caller chose a key for, None when there is none."""
        for row in self._rows.values():
            found = row.record
            if (found.owner, found.method, found.key) == (owner, method, key):
                return _copy(found)
        return None

    async def item_errors(
        self, number: int, offset: int, limit: int
    ) -> Sequence[ItemError]:
        """Give items that a job could not do, in order."""
        return self._errors.get(number, [])[offset : offset + limit]

    async def delete(self, numbers: Sequence[int]) -> None:
        """Remove ended jobs and all that belongs to them; unknown ids are ignored."""
        for number in numbers:
            row = self._rows.get(number)
            if row is not None and row.record.final:
                del self._rows[number]
                self._errors.pop(number, None)

    async def find(
        self,
        filters: Filters,
        options: QueryOptions,
        view: View,
        viewer: Viewer | None,
        limit: int,
        *,
        newest: bool,
    ) -> Sequence[JobRecord]:
        """Give every ended job that matches, by id."""
        budget = Budget()
        return [
            _copy(row.record)
            for _, row in sorted(self._rows.items())
            if row.record.final
            and (viewer is None or viewer.sees(row.record))
            and matches(filters, view.plain(row.record), budget)
        ]

    async def count(
        self,
        filters: Filters,
        view: View,
        viewer: Viewer | None,
        *,
        without: Sequence[int],
    ) -> int:
        """Count the ended jobs that match, *without* those with these ids."""
        found = await self.find(filters, QueryOptions(), view, viewer, 0, newest=True)
        return sum(1 for record in found if record.id not in without)
