"""The two shapes that queries look at: the wire's item, and the whole record."""

from collections.abc import Callable
from typing import Any

import msgspec

from middlewared_jobs.record import CoreGetJobsItem, JobRecord, encode_item

__all__ = ["ITEM", "RECORD", "VIEWS", "View"]


class View(msgspec.Struct, frozen=True):
    """A shape of jobs.

    Attributes:
        collection: the collection whose events show jobs so.
        fields: top-level keys, in order.
        encode: encodes a job with these keys.
    """

    collection: str
    fields: tuple[str, ...]
    encode: Callable[[JobRecord], bytes]

    def plain(self, record: JobRecord) -> dict[str, Any]:
        """Give a job as plain values with these keys."""
        decoded: dict[str, Any] = msgspec.json.decode(self.encode(record))
        return decoded

    def encode_clear(self, record: JobRecord, result: bytes) -> bytes:
        """Encode a job for who may see the secrets in its result.

        Args:
            record: the job.
            result: shown instead of the record's redacted result.
        """
        clear = msgspec.structs.replace(record, result=msgspec.Raw(result))
        return self.encode(clear)


ITEM = View("core.get_jobs", CoreGetJobsItem.__struct_fields__, encode_item)
RECORD = View("job.query", JobRecord.__struct_fields__, msgspec.json.Encoder().encode)
VIEWS = (ITEM, RECORD)
