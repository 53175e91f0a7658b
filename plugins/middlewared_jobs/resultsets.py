"""Results that are tables: named, with a schema of typed columns."""

from typing import Any

import msgspec

__all__ = ["Column", "ColumnType", "ResultSet", "StandardType"]


class ColumnType(msgspec.Struct, frozen=True):
    """The type of a column where it comes from.

    Attributes:
        name: of the type, ``nvarchar``.
        text: with its size, ``nvarchar(max)``.
        precision: digits, or characters; -1 for any number.
        scale: digits after the point.
    """

    name: str
    text: str
    precision: int = -1
    scale: int = 0


class StandardType(msgspec.Struct, frozen=True):
    """The type of a column in the words of every source: text, integer, decimal."""

    name: str
    text: str


class Column(msgspec.Struct, frozen=True):
    """One column of a result set.

    Attributes:
        name: key of its values in the records.
        type: its type where it comes from.
        standard: its type in common words.
        updateable: whether it could be written.
    """

    name: str
    type: ColumnType
    standard: StandardType
    updateable: bool = False


class ResultSet(msgspec.Struct, frozen=True):
    """A named table that a job returns, alone or in a list.

    Attributes:
        name: what it is.
        columns: its schema.
        records: its rows, values by the name of their column.
    """

    name: str
    columns: list[Column]
    records: list[dict[str, Any]]
