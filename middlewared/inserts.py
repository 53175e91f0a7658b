"""SQL that inserts rows, many at a time."""

import sqlite3
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, compress, count
from typing import Any, Self

__all__ = ["Bulk", "Insert"]

#: How many rows go into SQLite in one call; of more, as many as fit, again and again.
WIDTHS = (64, 16, 4)
WIDEST, *NARROWER = WIDTHS
#: Statements for the widest, by what all rows have in common, that are remembered.
MAX_SHARING = 8


class Bulk(str):
    """SQL that knows a quicker way for many rows than one after the other."""

    __slots__ = ()

    def run(
        self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]
    ) -> None:
        """Write rows, in order; each finds those before it.

        Raises:
            sqlite3.Error: one of them breaks a rule; those before may be written.
        """
        raise NotImplementedError  # pragma: no cover - each kind has its own way


class Insert(Bulk):
    """The SQL that inserts one row, with a parameter for each column.

    sqlite3 lets go of the interpreter for each row and waits for it again, up to 5 ms
    when the loop is busy; so rows go in together, in statements of several widths.
    Binding values was a quarter of the instructions of the writer's thread. So what
    all rows of the widest statement have in common is bound once.

    Args:
        table: where to.
        columns: their names.
        tail: what follows the values, ``ON CONFLICT`` for example.
        verb: ``INSERT OR REPLACE``, for example.
    """

    _head: str
    _values: str
    _tail: str
    _sharing: dict[tuple[bool, ...], str]

    def __new__(
        cls, table: str, columns: Sequence[str], tail: str = "", verb: str = "INSERT"
    ) -> Self:
        """Make the SQL."""
        head = f"{verb} INTO {table} ({', '.join(columns)}) VALUES "
        values = f"({', '.join('?' * len(columns))})"
        made = super().__new__(cls, f"{head}{values} {tail}".strip())
        made._head, made._values, made._tail = head, values, tail
        made._sharing = {}
        return made

    @cached_property
    def _wide(self) -> dict[int, str]:
        return {
            width: f"{self._head}{', '.join([self._values] * width)} {self._tail}"
            for width in NARROWER
        }

    def run(
        self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows, in order; each finds those before it.

        Raises:
            sqlite3.Error: one of them breaks a rule; those before may be inserted.
        """
        begin, whole = 0, len(rows)
        for width in WIDTHS:
            while whole - begin >= width:
                end = begin + width
                if width == WIDEST:
                    self._insert_widest(connection, rows[begin:end])
                else:
                    values = list(chain.from_iterable(rows[begin:end]))
                    connection.execute(self._wide[width], values)
                begin = end
        if begin < whole:
            connection.executemany(self, rows[begin:])

    def _insert_widest(
        self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]
    ) -> None:
        columns = list(zip(*rows, strict=True))
        equal = tuple([column.count(column[0]) == len(rows) for column in columns])
        sql = self._sharing.get(equal)
        if sql is None:
            if len(self._sharing) >= MAX_SHARING:
                self._sharing.clear()
            sql = self._sharing[equal] = self._share(equal)
        values = [column[0] for column in compress(columns, equal)]
        others = compress(columns, [not same for same in equal])
        values.extend(chain.from_iterable(zip(*others, strict=True)))
        connection.execute(sql, values)

    def _share(self, equal: Sequence[bool]) -> str:
        """Write the widest statement, in which some columns are equal for all rows."""
        numbers = count(1)
        once = [next(numbers) if same else None for same in equal]
        rows = (
            ", ".join([f"?{number or next(numbers)}" for number in once])
            for _ in range(WIDEST)
        )
        return f"{self._head}({'), ('.join(rows)}) {self._tail}"
