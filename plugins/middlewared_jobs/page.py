"""The answer to a query as JSON text, read and put together in one trip."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from middlewared.database import Database
from middlewared.filters import (
    Column,
    MatchNotFound,
    QueryOptions,
    order_keys,
    sort_items,
)
from middlewared_jobs.condition import BY_ID, NEWEST_FIRST, Condition
from middlewared_jobs.entry import Entry
from middlewared_jobs.itemtext import ItemText
from middlewared_jobs.liveitem import LiveItem
from middlewared_jobs.part import Part
from middlewared_jobs.views import View

__all__ = ["SqlitePage", "shown_fields"]


def shown_fields(options: QueryOptions, view: View) -> tuple[str, ...] | None:
    """Give the keys that the items of an answer have, None when some are not as such.

    Args:
        options: of which only `select` counts.
        view: the keys that there are.
    """
    if not options.select:
        return view.fields
    if not all(isinstance(path, str) for path in options.select):
        return None
    chosen = tuple(dict.fromkeys(map(str, options.select)))
    return chosen if set(chosen) <= set(view.fields) else None


class SqlitePage:
    """A query that SQL decides all of, so that nothing has to look at a job.

    Args:
        database: where the jobs are.
        condition: what is exact of it.
        order: terms of ``ORDER BY``.
        options: what is asked for.
        part: which of the matches.
        fields: keys of the items.
        item: how they are read.
        columns: of what can be sorted by.

    Attributes:
        newest: the order is that of ids, and the highest come first.
        live_needed: of the jobs in memory it may have so many, those with the highest
            ids or those with the lowest; None when any of them.
    """

    def __init__(
        self,
        database: Database,
        condition: Condition,
        order: str,
        options: QueryOptions,
        part: Part,
        fields: tuple[str, ...],
        item: ItemText,
        columns: Mapping[str, Column],
    ) -> None:
        self._database = database
        self._condition = condition
        self._options = options
        self._fields = fields
        self._item = item
        self._part = part
        self._order = order
        self._columns = columns
        self.newest = order == NEWEST_FIRST
        # By another key a job that ends meanwhile may move, and another one move up.
        self.live_needed = part.needed if order in BY_ID else None

    async def read(self, live: Sequence[LiveItem]) -> msgspec.Raw:
        """Read the answer.

        Args:
            live: what is in memory, matches and may be needed; a job that has ended
                meanwhile counts as it is in the store.

        Raises:
            MatchNotFound: the first match is asked for, and there is none.
            Incomparable: values do not compare, of what is in memory.
        """
        return msgspec.Raw(await (self._merged(live) if live else self._ended()))

    async def _ended(self) -> bytes:
        columns, part = self._item.columns, self._part
        limits = (part.count, part.start)
        return await self._select(
            columns, "LIMIT ? OFFSET ?", limits, self._answer_ended
        )

    async def _merged(self, live: Sequence[LiveItem]) -> bytes:
        keys = self._keys()
        found = [column.sql for column in keys.values()]
        columns = ", ".join([self._item.columns, "id", *found])
        # A job that has ended meanwhile may be there twice.
        limits = (self._part.needed + len(live),)
        # Now: in another thread they might change while they are looked at.
        entries = [
            Entry.of(item.id, ((key, item[key]) for key in keys)) for item in live
        ]
        texts = {item.id: item.text(self._fields) for item in live}
        make = partial(self._answer_merged, keys, entries, texts)
        return await self._select(columns, "LIMIT ?", limits, make)

    async def _select(
        self,
        columns: str,
        end: str,
        limits: Sequence[int],
        make: Callable[[list[Any]], bytes],
    ) -> bytes:
        rows, params = self._condition.rows(self._order, end, *limits)
        sql = f"SELECT {columns} FROM jobs {rows}"  # noqa: S608 - compiled, values are bound
        return await self._database.read_as(make, sql, params)

    def _answer_ended(self, rows: list[Any]) -> bytes:
        texts = self._item.texts(rows)
        if self._part.newest:
            texts.reverse()
        return self._answer(texts)

    def _answer_merged(
        self,
        keys: dict[str, Column],
        live: Sequence[Entry],
        texts: dict[int, bytes],
        rows: list[Any],
    ) -> bytes:
        entries = {entry.number: entry for entry in live}
        for row, text in zip(rows, self._item.texts(rows), strict=True):
            number, *values = row[self._item.width :]
            plain = (
                (key, column.plain(value))
                for (key, column), value in zip(keys.items(), values, strict=True)
            )
            entries[number], texts[number] = Entry.of(number, plain), text
        by_id = [entries[number] for number in sorted(entries)]
        ordered = sort_items(by_id, self._options.order_by)
        return self._answer([texts[entry.number] for entry in self._part.cut(ordered)])

    def _keys(self) -> dict[str, Column]:
        """Give the columns that the items of the answer are sorted by."""
        found = order_keys(self._options.order_by).intersection(self._fields)
        return {key: self._columns[key] for key in found}

    def _answer(self, texts: Sequence[bytes]) -> bytes:
        if not self._options.get:
            return b"[%b]" % b",".join(texts)
        if not texts:
            raise MatchNotFound
        return texts[0]
