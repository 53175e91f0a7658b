"""A job in memory as an item, of which only what is asked for is made."""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from middlewared.filters import Filters, matches
from middlewared_jobs.record import JobRecord
from middlewared_jobs.views import View

__all__ = ["MAX_LIVE", "LiveItem", "choose"]

#: Jobs in memory that are looked at between two turns of others.
MAX_LIVE = 200
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class LiveItem(Mapping[str, Any]):
    """What a view shows of a job that has not ended, in plain values.

    Args:
        record: the job.
        view: its keys.
    """

    __slots__ = ("_record", "_view")

    def __init__(self, record: JobRecord, view: View) -> None:
        self._record = record
        self._view = view

    def __getitem__(self, key: str) -> Any:
        if key not in self._view.fields:
            raise KeyError(key)
        return _decode(_encode(getattr(self._record, key)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._view.fields)

    def __len__(self) -> int:
        return len(self._view.fields)

    @property
    def id(self) -> int:
        """The job's id."""
        return self._record.id

    def text(self, fields: tuple[str, ...]) -> bytes:
        """Give it as JSON text.

        Args:
            fields: the keys to show, in order.
        """
        if fields == self._view.fields:
            return self._view.encode(self._record)
        return _encode({name: getattr(self._record, name) for name in fields})


def choose(
    live: Sequence[JobRecord],
    filters: Filters,
    view: View,
    count: int | None,
    *,
    newest: bool,
) -> list[LiveItem] | None:
    """Give the jobs in memory that match, by id.

    Args:
        live: the jobs.
        filters: on what *view* shows.
        view: their shape.
        count: how many are needed; None for all of them.
        newest: those with the highest ids are needed, and come first.

    Returns:
        None when more than `MAX_LIVE` would have to be looked at.

    Raises:
        Incomparable: one of them does not compare.
    """
    if count is None and len(live) > MAX_LIVE:
        return None
    found = list[LiveItem]()
    by_id = sorted(live, key=attrgetter("id"), reverse=newest)
    for looked, record in enumerate(by_id):
        if len(found) == count:
            break
        if looked == MAX_LIVE:
            return None
        item = LiveItem(record, view)
        if matches(filters, item):
            found.append(item)
    return found
