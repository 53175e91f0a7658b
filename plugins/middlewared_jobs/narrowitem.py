"""Items of which only some keys are read: what a query looks at."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from middlewared.filters import Column
from middlewared_jobs.itemtext import decode_details
from middlewared_jobs.record import DETAILS
from middlewared_jobs.rows import RAW

__all__ = ["NarrowItems"]

_decode = msgspec.json.Decoder().decode


class NarrowItems:
    """Reads items with some keys out of rows.

    Args:
        keys: those that somebody looks at, in any order.
        columns: of the keys that are stored as such.
        fields: the keys that items have; an item lacks all others.

    Attributes:
        columns: what to select, in SQL, the id first.
    """

    def __init__(
        self,
        keys: Iterable[str],
        columns: Mapping[str, Column],
        fields: Iterable[str],
    ) -> None:
        names = sorted(set(keys) & set(fields))
        self._details = [name for name in names if name in DETAILS]
        self._stored = [name for name in names if name not in DETAILS]
        found = {name: columns.get(name, _stored_as(name)) for name in self._stored}
        #: Those whose values are not what is stored.
        self._made: list[tuple[str, Callable[[Any], Any]]] = [
            (name, column.plain)
            for name, column in found.items()
            if column.kind not in ("int", "text")
        ]
        last = ["details"] if self._details else []
        self.columns = ", ".join(
            ["id", *(column.sql for column in found.values()), *last]
        )

    def item(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """Give the item of a row of its columns."""
        item = dict(zip(self._stored, row[1:], strict=False))
        for name, plain in self._made:
            item[name] = plain(item[name])
        if self._details:
            details = decode_details(row[-1])
            for name in self._details:
                item[name] = _decode(getattr(details, name))
        return item


def _stored_as(name: str) -> Column:
    """Describe a column that SQL does not filter by."""
    return Column(name, "json" if name in RAW else "text", nullable=True)
