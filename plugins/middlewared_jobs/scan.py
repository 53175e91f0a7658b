"""A look at jobs one by one, where SQL cannot decide."""

import errno
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import anyio.to_thread

from middlewared import CallError
from middlewared.database import Database
from middlewared.filters import (
    Budget,
    Filters,
    QueryOptions,
    compile_select,
    filter_keys,
    matches,
    order_keys,
    select_keys,
    sort_items,
)
from middlewared_jobs.condition import (
    NEWEST_FIRST,
    OLDEST_FIRST,
    Condition,
    columns_of,
)
from middlewared_jobs.entry import Entry
from middlewared_jobs.narrowitem import NarrowItems
from middlewared_jobs.views import View

__all__ = ["MAX_SCAN", "Scan"]

#: Rows that a query may read when SQL cannot narrow it.
MAX_SCAN = 100_000
SLICE = 2000
#: The largest integer that SQLite stores.
MAX_ID = 2**63 - 1


class Scan:
    """Reads what SQL narrowed in slices, and evaluates them in a thread.

    Of each job only what is looked at is read.

    Args:
        database: where the jobs are.
        condition: what SQL knows of the matches.
        filters: what makes a match.
        view: what filters and options speak of.
    """

    def __init__(
        self, database: Database, condition: Condition, filters: Filters, view: View
    ) -> None:
        self._database = database
        self._condition = condition
        self._filters = filters
        self._view = view

    async def first(self, count: int, *, newest: bool) -> list[int]:
        """Give the ids of the first matches by id, or of the last.

        Raises:
            CallError: EFBIG, they are not among the first `MAX_SCAN` rows.
        """
        found = await self._collect((), count, newest=newest)
        return [entry.number for entry in found[:count]]

    async def ordered(self, options: QueryOptions, count: int) -> list[int]:
        """Give the ids of the first matches in the order of options.

        Raises:
            CallError: EFBIG, there are `MAX_SCAN` rows or more to look at.
            Incomparable: values do not compare.
            QueryError: what is selected cannot be.
        """
        keys = select_keys(options.select) or order_keys(options.order_by)
        found = await self._collect(keys, None, newest=False)
        return await anyio.to_thread.run_sync(_sorted, found, options, count)

    async def count(self) -> int:
        """Count the matches.

        Raises:
            CallError: EFBIG, there are `MAX_SCAN` rows or more to look at.
        """
        return len(await self._collect((), None, newest=True))

    async def _collect(
        self, keys: Iterable[str], wanted: int | None, *, newest: bool
    ) -> list[Entry]:
        """Give so many matches at least, or all of them."""
        looked_at = filter_keys(self._filters).union(keys)
        items = NarrowItems(looked_at, columns_of(self._view), self._view.fields)
        budget, found, read = Budget(), list[Entry](), 0
        order = NEWEST_FIRST if newest else OLDEST_FIRST
        beyond, after = ("id < ?", MAX_ID) if newest else ("id > ?", 0)
        while wanted is None or len(found) < wanted:
            part, params = self._condition.joined(beyond, after).rows(
                order, f"LIMIT {SLICE}"
            )
            sql = f"SELECT {items.columns} FROM jobs {part}"  # noqa: S608 - compiled, values are bound
            rows = await self._database.read(sql, params)
            pick = partial(_pick, rows, items, self._filters, budget)
            found += await anyio.to_thread.run_sync(pick)
            if len(rows) < SLICE:
                break
            if read == 0 and wanted is None:
                # Not before: a mistake in the query shows in the first slice mostly.
                await self._check_number()
            read += len(rows)
            if read >= MAX_SCAN:
                raise _too_many()
            after = rows[-1][0]
        return found

    async def _check_number(self) -> None:
        """Refuse at once what would be refused after `MAX_SCAN` rows."""
        sql = (
            "SELECT count(*) FROM (SELECT 1 FROM jobs "  # noqa: S608 - compiled, values are bound
            f"WHERE {self._condition.where} LIMIT {MAX_SCAN})"
        )
        ((number,),) = await self._database.read(sql, self._condition.params)
        if number >= MAX_SCAN:
            raise _too_many()


def _too_many() -> CallError:
    return CallError(
        f"The query would read more than {MAX_SCAN} jobs; narrow it by "
        "id, state, method, owner or a time",
        errno.EFBIG,
    )


def _pick(
    rows: Sequence[Any], items: NarrowItems, filters: Filters, budget: Budget
) -> list[Entry]:
    return [
        Entry.of(row[0], item)
        for row in rows
        if matches(filters, item := items.item(row), budget)
    ]


def _sorted(found: Sequence[Entry], options: QueryOptions, count: int) -> list[int]:
    project = compile_select(options.select)
    shown = [Entry.of(entry.number, project(entry)) for entry in found]
    return [entry.number for entry in sort_items(shown, options.order_by)[:count]]
