"""A store that lasts as long as the process: the contract in its simplest form."""

import asyncio
from collections.abc import Sequence
from functools import partial
from operator import itemgetter

import msgspec

from middlewared.filters import Budget, Filters, QueryOptions, matches
from middlewared_jobs.change import fixed_of, record_at
from middlewared_jobs.notes import ItemError
from middlewared_jobs.record import JobRecord
from middlewared_jobs.removal import Removal
from middlewared_jobs.states import State
from middlewared_jobs.store import (
    NO_CHANGE,
    Departure,
    KeptMove,
    Move,
    Saved,
    Stored,
    Viewer,
)
from middlewared_jobs.views import View

__all__ = ["MemoryStore"]


def _copy(record: JobRecord) -> JobRecord:
    return msgspec.json.decode(msgspec.json.encode(record), type=JobRecord)


def _record_of(record: JobRecord, change: bytes) -> JobRecord:
    if change == NO_CHANGE:
        return _copy(record)
    return record_at(fixed_of(record), change)


class MemoryStore:
    """Jobs in a dictionary; `saved` is called in the next tick of the loop."""

    def __init__(self) -> None:
        self._rows: dict[int, Stored] = {}
        self._errors: dict[int, list[ItemError]] = {}
        self._moves: list[Move] = []
        self._departures: list[Departure] = []
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
        moves: Sequence[Move] = (),
    ) -> None:
        """Write a job as it is now; params are erased once it has ended."""
        before = self._rows.get(record.id)
        if before is None or before.record.attempt <= record.attempt:
            kept = None if record.final else params
            self._rows[record.id] = Stored(_copy(record), kept)
        self._errors.setdefault(record.id, []).extend(errors)
        self._moves += moves
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

    def delete(
        self,
        numbers: Sequence[int],
        saved: Saved | None,
        departures: Sequence[Departure] = (),
    ) -> None:
        """Remove ended jobs and all that belongs to them; unknown ids are ignored."""
        for number in numbers:
            row = self._rows.get(number)
            if row is not None and row.record.final:
                del self._rows[number]
                self._errors.pop(number, None)
        self._moves += [
            (d.seq, d.at, d.job, "removed", 0, NO_CHANGE) for d in departures
        ]
        self._departures += departures
        self._answer(saved)

    async def count_ended(self, state: State) -> int:
        """Count the jobs that ended in a state."""
        return sum(1 for row in self._rows.values() if row.record.state is state)

    async def oldest(
        self, state: State, before: int | None, limit: int
    ) -> Sequence[Removal]:
        """Give jobs that ended in a state, those that did so first first."""
        found = [
            (row.record.time_finished.ms, number, row.record)
            for number, row in self._rows.items()
            if row.record.state is state and row.record.time_finished is not None
        ]
        return [
            Removal(number, record.owner, record.method)
            for finished, number, record in sorted(found, key=itemgetter(0, 1))
            if before is None or finished < before
        ][:limit]

    async def known(self, numbers: Sequence[int]) -> set[int]:
        """Give those of some numbers that jobs have."""
        return self._rows.keys() & set(numbers)

    async def kept_range(self) -> tuple[int, int]:
        """Give the number before the oldest kept event, and that of the newest."""
        if not self._moves:
            return 0, 0
        return self._moves[0][0] - 1, self._moves[-1][0]

    async def moves(self, after: int, upto: int, size: int) -> Sequence[KeptMove]:
        """Give kept events by number, at least one when there is any."""
        found = list[KeptMove]()
        for move in self._moves:
            if not after < move[0] <= upto:
                continue
            size -= move[4]
            if found and size < 0:
                break
            found.append(self._kept(move))
        return found

    def _kept(self, move: Move) -> KeptMove:
        seq, _, job, msg, _, change = move
        row = self._rows.get(job)
        if row is not None:
            record = row.record
            load = partial(_record_of, record, change)
            return KeptMove(seq, job, msg, record.owner, record.method, load)
        gone = [d for d in self._departures if d.job == job]
        owner, method = (gone[0].owner, gone[0].method) if gone else (None, "")
        return KeptMove(seq, job, msg, owner, method, None)

    async def first_move(self, at: int) -> int | None:
        """Give the number of the oldest kept event that is not older than *at*."""
        return next((move[0] for move in self._moves if move[1] >= at), None)

    async def drop_moves(self, upto: int) -> None:
        """Keep the events up to a number no longer."""
        self._moves = [move for move in self._moves if move[0] > upto]
        self._departures = [d for d in self._departures if d.seq > upto]

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

    def page(
        self,
        filters: Filters,
        options: QueryOptions,
        view: View,
        viewer: Viewer | None,
    ) -> None:
        """Give nothing: there is no text here, only records."""

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
