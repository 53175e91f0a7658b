"""How the values of items are stored in a table."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from middlewared.filters.tree import split_path

__all__ = [
    "Column",
    "Columns",
    "FoundColumn",
    "Kind",
    "Table",
    "column_table",
    "find_column",
]

Kind: TypeAlias = Literal["int", "text", "bool", "json", "time_ms"]
"""How a value is stored.

- ``int``: an integer of 64 bits.
- ``text``: UTF-8 text, compared by the collation BINARY.
- ``bool``: 0 or 1.
- ``json``: the JSON text of the value, without whitespace around it; nulls may be SQL
  NULL or the text ``null``.
- ``time_ms``: milliseconds since 1970; the item has ``{"$date": ms}``.
"""


_decode = msgspec.json.Decoder().decode


class Column(msgspec.Struct, frozen=True):
    """Where a value of every item is stored: exactly what the item has at its path.

    Every item must have the path; null is stored as SQL NULL.

    Attributes:
        sql: the expression, such as ``jobs.state``; without placeholders.
        kind: how the value is stored.
        nullable: whether it can be null.
    """

    sql: str
    kind: Kind
    nullable: bool = False

    def plain(self, stored: Any) -> Any:
        """Give the value that items have for what is stored."""
        if stored is None or self.kind in ("int", "text"):
            return stored
        if self.kind == "bool":
            return bool(stored)
        return {"$date": stored} if self.kind == "time_ms" else _decode(stored)


Table: TypeAlias = Mapping[tuple[str, ...], Column]
"""Columns by the keys that lead to their value."""


class FoundColumn(NamedTuple):
    """The column of a path.

    Attributes:
        column: where the value is stored.
        depth: how many keys of the path lead to the column's value.
        is_ms: whether the path goes on to the milliseconds of a time.
    """

    column: Column
    depth: int
    is_ms: bool


class Columns(dict[str, Column]):
    """Columns by the path that filters use, which many queries are compiled with."""

    @cached_property
    def table(self) -> Table:
        """Them, prepared; once."""
        return _prepared(self)


def column_table(columns: Mapping[str, Column]) -> Table:
    """Prepare columns, which are named by paths as in filters, for `find_column`."""
    return columns.table if isinstance(columns, Columns) else _prepared(columns)


def _prepared(columns: Mapping[str, Column]) -> Table:
    return {split_path(path): column for path, column in columns.items()}


def find_column(path: tuple[str, ...], table: Table) -> FoundColumn | None:
    """Find the column that stores what a path leads to."""
    column = table.get(path)
    if column is not None:
        return FoundColumn(column, len(path), is_ms=False)
    if path[-1:] == ("$date",):
        column = table.get(path[:-1])
        if column is not None and column.kind == "time_ms":
            return FoundColumn(column, len(path) - 1, is_ms=True)
    return None
