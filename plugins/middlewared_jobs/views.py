"""The two shapes that queries look at: the wire's item, and the whole record."""

from typing import Any

import msgspec

from middlewared_jobs.record import CoreGetJobsItem, JobRecord, encode_item, item_of

__all__ = ["ITEM", "RECORD", "VIEWS", "View"]

_encode = msgspec.json.Encoder().encode


class View(msgspec.Struct, frozen=True):
    """A shape of jobs.

    Attributes:
        collection: the collection whose events show jobs so.
        fields: top-level keys, in order.
        whole: the record itself, not the item cut from it.
    """

    collection: str
    fields: tuple[str, ...]
    whole: bool

    def plain(self, record: JobRecord) -> dict[str, Any]:
        """Give a job as plain values with these keys."""
        shown: Any = record if self.whole else item_of(record)
        decoded: dict[str, Any] = msgspec.json.decode(_encode(shown))
        return decoded

    def encode(self, record: JobRecord, result: bytes | None = None) -> bytes:
        """Encode a job with these keys.

        Args:
            record: the job.
            result: shown instead of the record's redacted result.
        """
        if not self.whole:
            return encode_item(record, result=result)
        if result is not None:
            record = msgspec.structs.replace(record, result=msgspec.Raw(result))
        return _encode(record)


ITEM = View("core.get_jobs", CoreGetJobsItem.__struct_fields__, whole=False)
RECORD = View("job.query", JobRecord.__struct_fields__, whole=True)
VIEWS = (ITEM, RECORD)
