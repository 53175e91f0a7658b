"""History in SQLite: one upsert per change, filters narrowed by indexes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from middlewared import Date
from middlewared.database import Database, Statement
from middlewared.filters import (
    Filters,
    QueryOptions,
)
from middlewared.inserts import Insert
from middlewared_jobs.condition import (
    BY_ID,
    ENDED,
    NEWEST_FIRST,
    columns_of,
    condition_of,
    order_of,
)
from middlewared_jobs.itemtext import item_text
from middlewared_jobs.keptmoves import KEPT_RANGE, first_since, kept_moves
from middlewared_jobs.notes import ItemError
from middlewared_jobs.packs import CUT, DELETE_PACKS, PACK
from middlewared_jobs.page import SqlitePage, shown_fields
from middlewared_jobs.part import part_of
from middlewared_jobs.record import JobRecord
from middlewared_jobs.removal import Removal
from middlewared_jobs.rows import (
    CHANGES,
    REWRITE,
    STORED,
    Row,
    Rows,
    json_text,
    record_of,
    varying_values,
    whole_row,
)
from middlewared_jobs.scan import Scan
from middlewared_jobs.states import FINAL, State
from middlewared_jobs.store import (
    Departure,
    KeptMove,
    Move,
    Saved,
    Stored,
    Viewer,
)
from middlewared_jobs.views import View

__all__ = ["SqliteStore"]

#: Numbers whose events are deleted at a time.
DROPPED = 2000

#: The largest integer that SQLite stores.
MAX_ID = 2**63 - 1

_SELECT = f"SELECT {', '.join(STORED)} FROM jobs"  # noqa: S608 - our own names
_ERROR_FIELDS = ItemError.__struct_fields__
_INSERT_ERROR = Insert(
    "job_item_errors", ("job", *_ERROR_FIELDS), verb="INSERT OR REPLACE"
)
_SELECT_ERRORS = (
    f"SELECT {', '.join(_ERROR_FIELDS)} FROM job_item_errors "  # noqa: S608 - our own names
    "WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?"
)
_CHOSEN = "(SELECT value FROM json_each(?))"
_SELECT_CHOSEN = f"{_SELECT} WHERE id IN {_CHOSEN}"
_DELETE = f"DELETE FROM jobs WHERE id IN {_CHOSEN} AND time_finished IS NOT NULL"  # noqa: S608 - our own names
_DELETE_ERRORS = (
    f"DELETE FROM job_item_errors WHERE job IN {_CHOSEN} AND EXISTS "  # noqa: S608 - our own names
    "(SELECT 1 FROM jobs WHERE id = job AND time_finished IS NOT NULL)"
)
_SELECT_OLDEST = (
    "SELECT id, owner, method FROM jobs "  # noqa: S608 - our own names
    f"WHERE state = ? AND {ENDED} AND time_finished < ? "
    "ORDER BY time_finished, id LIMIT ?"
)
_DEPARTURE = (*Departure.__struct_fields__, "msg", "size")
_INSERT_DEPARTURE = Insert("job_events", _DEPARTURE)
_DELETE_SINGLE = "DELETE FROM job_events WHERE seq <= ?"


def _item_error(row: Sequence[Any]) -> ItemError:
    values = dict(zip(_ERROR_FIELDS, row, strict=True))
    if values["time"] is not None:
        values["time"] = Date(values["time"])
    return ItemError(**values)


def _statement(
    record: JobRecord, values: tuple[Any, ...], before: Row | None
) -> Statement:
    """Choose how the row of a job is written.

    Args:
        record: the job.
        values: of the columns `VARYING`.
        before: its row as it was handed over last, if that may be there.
    """
    if before is not None and not before.written:
        # Who asked for a job whose first row is refused is told that there is none.
        return REWRITE, (*values, record.id, record.attempt)
    if before is not None:
        for change in CHANGES.get(record.state, ()):
            if change.makes(before.values, values):
                return change.sql, change.values(record.id, values)
    return whole_row(record, values)


class SqliteStore:
    """Jobs in the server's database; see `JobStore` for the contract."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: The newest rows of unfinished jobs.
        self._rows: Rows = {}

    async def first_id(self) -> int:
        """Give the first id that was never reserved."""
        rows = await self._database.read("SELECT next FROM job_ids")
        return int(rows[0][0])

    async def unfinished(self) -> Sequence[Stored]:
        """Give the jobs that have not ended, by id."""
        sql = _SELECT.replace(" FROM", ", params FROM") + (
            " WHERE state IN ('WAITING', 'RUNNING') ORDER BY id"
        )
        rows = await self._database.read(sql)
        return [Stored(record_of(row), row[-1]) for row in rows]

    def save(
        self,
        record: JobRecord,
        params: bytes | None,
        saved: Saved | None,
        errors: Sequence[ItemError] = (),
        moves: Sequence[Move] = (),
    ) -> None:
        """Write a job as it is now; params are erased once it has ended."""
        values = varying_values(record, params)
        done: Saved | None = saved
        before = self._rows.pop(record.id, None)
        statements = [_statement(record, values, before)]
        if record.state not in FINAL:
            pending = None if before is None or before.written else before
            row = Row(self._rows, record.id, values, saved, pending)
            self._rows[record.id], done = row, row.done
        for error in errors:
            when = None if error.time is None else error.time.ms
            item = (record.id, *msgspec.structs.astuple(error)[:-1], when)
            statements.append((_INSERT_ERROR, item))
        appends = ((PACK, moves),) if moves else ()
        self._database.write(statements, done, appends)

    def reserve_ids(self, first: int, saved: Saved | None) -> None:
        """Write the first id that was never reserved."""
        self._database.write([("UPDATE job_ids SET next = ?", (first,))], saved)

    def flush(self, saved: Saved) -> None:
        """Call back once everything handed over before is answered."""
        self._database.write([], saved)

    async def get(self, number: int) -> JobRecord | None:
        """Give one job, None when there is none."""
        if not 0 < number <= MAX_ID:
            return None
        rows = await self._database.read(f"{_SELECT} WHERE id = ?", (number,))
        return record_of(rows[0]) if rows else None

    async def find_key(
        self, owner: int | None, method: str, key: str
    ) -> JobRecord | None:
        """Give the job that a caller chose a key for, None when there is none."""
        where = "ifnull(owner, -1) = ? AND method = ? AND key = ?"
        asked = (-1 if owner is None else owner, method, key)
        rows = await self._database.read(f"{_SELECT} WHERE {where}", asked)
        return record_of(rows[0]) if rows else None

    async def item_errors(
        self, number: int, offset: int, limit: int
    ) -> Sequence[ItemError]:
        """Give items that a job could not do, in order."""
        rows = await self._database.read(_SELECT_ERRORS, (number, offset, limit))
        return [_item_error(row) for row in rows]

    def delete(
        self,
        numbers: Sequence[int],
        saved: Saved | None,
        departures: Sequence[Departure] = (),
    ) -> None:
        """Remove ended jobs and all that belongs to them; unknown ids are ignored."""
        chosen = (json_text(numbers),)
        statements = [(_DELETE_ERRORS, chosen), (_DELETE, chosen)]
        rows = [(*msgspec.structs.astuple(gone), "removed", 0) for gone in departures]
        self._database.write(statements, saved, ((_INSERT_DEPARTURE, rows),))

    async def count_ended(self, state: State) -> int:
        """Count the jobs that ended in a state."""
        sql = f"SELECT count(*) FROM jobs WHERE state = ? AND {ENDED}"  # noqa: S608 - our own names
        rows = await self._database.read(sql, (state.value,))
        return int(rows[0][0])

    async def oldest(
        self, state: State, before: int | None, limit: int
    ) -> Sequence[Removal]:
        """Give jobs that ended in a state, those that did so first first."""
        end = MAX_ID if before is None else before
        rows = await self._database.read(_SELECT_OLDEST, (state.value, end, limit))
        return [Removal(*row) for row in rows]

    async def known(self, numbers: Sequence[int]) -> set[int]:
        """Give those of some numbers that jobs have."""
        sql = f"SELECT id FROM jobs WHERE id IN {_CHOSEN}"  # noqa: S608 - our own names
        rows = await self._database.read(sql, (json_text(numbers),))
        return {row[0] for row in rows}

    async def kept_range(self) -> tuple[int, int]:
        """Give the number before the oldest kept event, and that of the newest."""
        (found,) = await self._database.read(KEPT_RANGE)
        ends = [number for number in found if number is not None]
        return (min(ends) - 1, max(ends)) if ends else (0, 0)

    async def moves(self, after: int, upto: int, size: int) -> Sequence[KeptMove]:
        """Give kept events by number, at least one when there is any."""
        read = partial(kept_moves, after=after, upto=upto, size=size)
        return await self._database.read_together(read)

    async def first_move(self, at: int) -> int | None:
        """Give the number of the oldest kept event that is not older than *at*."""
        return await self._database.read_together(partial(first_since, at=at))

    async def drop_moves(self, upto: int) -> None:
        """Keep the events up to a number no longer."""
        oldest, _ = await self.kept_range()
        while oldest < upto:
            # A part at a time: moves of jobs wait behind it.
            oldest = min(oldest + DROPPED, upto)
            number = (oldest,)
            await self._database.execute(
                (_DELETE_SINGLE, number), (DELETE_PACKS, number)
            )
        await self._database.execute((CUT, (upto,)))

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
        """Give ended jobs that match, at least the first *limit* of the order.

        Raises:
            CallError: EFBIG, SQL could not narrow it to `MAX_SCAN` rows.
        """
        condition = condition_of(filters, view, viewer)
        order = order_of(options, view, newest=newest)
        if condition.exact and order is not None:
            part, params = condition.rows(order, "LIMIT ?", limit)
            rows = await self._database.read(f"{_SELECT} {part}", params)
            return [record_of(row) for row in rows]
        scan = Scan(self._database, condition, filters, view)
        if order in BY_ID:
            found = await scan.first(limit, newest=order == NEWEST_FIRST)
        else:
            found = await scan.ordered(options, limit)
        rows = await self._database.read(_SELECT_CHOSEN, (json_text(found),))
        return [record_of(row) for row in rows]

    def page(
        self,
        filters: Filters,
        options: QueryOptions,
        view: View,
        viewer: Viewer | None,
    ) -> SqlitePage | None:
        """Give what reads the answer to a query as text, when SQL decides all of it."""
        fields = shown_fields(options, view)
        item = None if fields is None else item_text(fields)
        if fields is None or item is None:
            return None
        condition = condition_of(filters, view, viewer)
        part = part_of(options)
        order = order_of(options, view, newest=part.newest)
        if not condition.exact or order is None:
            return None
        columns = columns_of(view)
        return SqlitePage(
            self._database, condition, order, options, part, fields, item, columns
        )

    async def count(
        self,
        filters: Filters,
        view: View,
        viewer: Viewer | None,
        *,
        without: Sequence[int],
    ) -> int:
        """Count the ended jobs that match, *without* those with these ids.

        Raises:
            CallError: EFBIG, SQL could not narrow it to `MAX_SCAN` rows.
        """
        condition = condition_of(filters, view, viewer)
        ids = json_text(without)
        if not condition.exact:
            others = condition.joined(f"id NOT IN {_CHOSEN}", ids)
            return await Scan(self._database, others, filters, view).count()
        # Apart: a look at the id of each job takes longer than counting them.
        known = condition.joined(f"id IN {_CHOSEN}", ids)
        sql = (
            f"SELECT {condition.count_sql} - "  # noqa: S608 - compiled, values are bound
            f"(SELECT count(*) FROM jobs NOT INDEXED WHERE {known.where})"
        )
        values = (*condition.params, *condition.params, *known.params)
        ((number,),) = await self._database.read(sql, values)
        return int(number)
