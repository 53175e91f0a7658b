"""The two shapes that queries look at: the wire's item, and the whole record."""

from typing import Any

import msgspec

from middlewared_jobs.record import CoreGetJobsItem, JobRecord, item_of

__all__ = ["ITEM", "RECORD", "View"]

_encode = msgspec.json.Encoder().encode


class View(msgspec.Struct, frozen=True):
    """A shape of jobs.

    Attributes:
        fields: top-level keys, in order.
        whole: the record itself, not the item cut from it.
    """

    fields: tuple[str, ...]
    whole: bool

    def plain(self, record: JobRecord) -> dict[str, Any]:
        """Give a job as plain values with these keys."""
        shown: Any = record if self.whole else item_of(record)
        decoded: dict[str, Any] = msgspec.json.decode(_encode(shown))
        return decoded


ITEM = View(CoreGetJobsItem.__struct_fields__, whole=False)
RECORD = View(JobRecord.__struct_fields__, whole=True)
