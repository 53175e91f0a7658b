"""The method of ``audit``: who did what."""

import errno
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio.to_thread
import msgspec

from middlewared import CallError, Context
from middlewared.database import Database
from middlewared.filters import (
    Budget,
    Filters,
    QueryOptions,
    apply_options,
    check_options,
    compile_order,
    compile_sql,
    matches,
    parse_filters,
)
from middlewared_audit.declaration import plugin
from middlewared_audit.item import COLUMNS, SELECT, item_of

__all__ = ["DEFAULT_LIMIT"]

#: Matches returned when a query has no limit: the newest ones, ascending by id.
DEFAULT_LIMIT = 1000
#: Rows that a query may read when SQL cannot narrow it.
MAX_SCAN = 100_000
SLICE = 2000
MAX_ID = 2**63 - 1


@plugin.method(read_only=True)
async def query(
    ctx: Context,
    filters: list[Any] = [],  # noqa: B006 - never changed
    options: QueryOptions = QueryOptions(),  # noqa: B008 - frozen
) -> Any:
    """Query the audit log by the filters and options of ``core.get_jobs``.

    Without a limit the newest 1000 matches are returned, ascending by id. What has
    just happened may take a moment to be there.
    """
    check_options(options)
    search = _Search(ctx.database, parse_filters(filters), options)
    if options.count:
        return await search.count()
    items = await search.find()
    limit = options.limit or DEFAULT_LIMIT
    cut = msgspec.structs.replace(options, limit=0 if options.get else limit)
    return await anyio.to_thread.run_sync(apply_options, items, cut)


class _Search:
    """One query: SQL does what it can, the rest is evaluated on what that leaves."""

    def __init__(
        self, database: Database, filters: Filters, options: QueryOptions
    ) -> None:
        self._database = database
        self._filters = filters
        self._compiled = compile_sql(filters, COLUMNS)
        self._order = compile_order(options.order_by, COLUMNS, options.select)
        #: Then the newest matches are given, not the first ones.
        self._newest = not (
            options.limit or options.order_by or options.offset or options.get
        )
        self._wanted = options.offset + (
            1 if options.get else options.limit or DEFAULT_LIMIT
        )

    async def count(self) -> int:
        """Count the matches.

        Raises:
            CallError: EFBIG, SQL could not narrow it to `MAX_SCAN` rows.
        """
        compiled = self._compiled
        if not compiled.exact:
            return len(await self._scan(MAX_SCAN))
        sql = f"SELECT count(*) FROM audit WHERE {compiled.where}"  # noqa: S608 - compiled, values are bound
        rows = await self._database.read(sql, compiled.params)
        return int(rows[0][0])

    async def find(self) -> list[dict[str, Any]]:
        """Give matches: those that the options leave are among them.

        Raises:
            CallError: EFBIG, SQL could not narrow it to `MAX_SCAN` rows.
        """
        compiled, order = self._compiled, self._order
        if not compiled.exact or order is None:
            found = await self._scan(self._wanted if order == "" else MAX_SCAN)
            return self._in_order(found)
        terms = f"{order}, id" if order else self._by_id()
        sql = f"{SELECT} WHERE {compiled.where} ORDER BY {terms} LIMIT ?"
        rows = await self._database.read(sql, (*compiled.params, self._wanted))
        return self._in_order([item_of(row) for row in rows])

    async def _scan(self, wanted: int) -> list[dict[str, Any]]:
        """Read what SQL narrowed in slices and evaluate it in a thread."""
        budget, found, read = Budget(), list[dict[str, Any]](), 0
        beyond, after = ("<", MAX_ID) if self._newest else (">", 0)
        sql = (
            f"{SELECT} WHERE ({self._compiled.where}) AND id {beyond} ? "
            f"ORDER BY {self._by_id()} LIMIT {SLICE}"
        )
        while len(found) < wanted:
            rows = await self._database.read(sql, (*self._compiled.params, after))
            pick = partial(_pick, rows, self._filters, budget)
            found += await anyio.to_thread.run_sync(pick)
            read += len(rows)
            if len(rows) < SLICE:
                break
            if read >= MAX_SCAN:
                raise CallError(
                    f"The query would read more than {MAX_SCAN} entries; narrow it by "
                    "id, time, event, username or method",
                    errno.EFBIG,
                )
            after = rows[-1][0]
        return found

    def _by_id(self) -> str:
        return "id DESC" if self._newest else "id"

    def _in_order(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give the newest matches, ascending, when these are asked for."""
        return items[:DEFAULT_LIMIT][::-1] if self._newest else items


def _pick(
    rows: Sequence[Any], filters: Filters, budget: Budget
) -> list[dict[str, Any]]:
    return [item for item in map(item_of, rows) if matches(filters, item, budget)]
