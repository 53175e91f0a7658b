"""What tells a job at one moment of its life from the job that was just made.

Kept events hold no more than that: the rest is in the job's row, once.
"""

from operator import attrgetter
from typing import Any

import msgspec

from middlewared_jobs.record import JobRecord

__all__ = ["FIXED", "change_of", "fixed_of", "record_at"]

#: Fields that never change: written with the first row only.
FIXED = (
    "id",
    "uid",
    "method",
    "arguments",
    "time_created",
    "credentials",
    "owner",
    "lock",
    "abortable",
    "instance",
    "is_restart",
    "restart_of",
    "parent",
    "schedule",
    "key",
    "tracking_id",
    "app_id",
)
_CHANGING = tuple(
    field
    for field in msgspec.structs.fields(JobRecord)
    if field.name not in FIXED and field.name != "transient"
)
_NAMES = tuple(field.name for field in _CHANGING)


def _default(field: Any) -> Any:
    if field.default_factory in (list, dict):
        return msgspec.field(default_factory=field.default_factory)
    made = field.default
    return field.default_factory() if made is msgspec.NODEFAULT else made


_Change = msgspec.defstruct(
    "_Change",
    [(field.name, Any, _default(field)) for field in _CHANGING],
    omit_defaults=True,
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobRecord).decode
_changing = attrgetter(*_NAMES)


def change_of(record: JobRecord) -> bytes:
    """Encode what is not as it was when the job was made, as a JSON object."""
    return _encode(_Change(*_changing(record)))


def fixed_of(record: JobRecord) -> str:
    """Encode what never changes of a job, as a JSON object."""
    return _encode({name: getattr(record, name) for name in FIXED}).decode()


def record_at(fixed: str, change: bytes | str) -> JobRecord:
    """Give a job as it was at a change.

    Args:
        fixed: the `FIXED` fields as a JSON object.
        change: from `change_of`.
    """
    text = change if isinstance(change, str) else change.decode()
    return _decode(f"{fixed[:-1]},{text[1:]}" if text != "{}" else fixed)
