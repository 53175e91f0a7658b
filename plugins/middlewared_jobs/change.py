"""What tells a job at one moment of its life from the job that was just made.

Kept events hold no more than that: the rest is in the job's row, once.
"""

from operator import itemgetter
from typing import Any

import msgspec

from middlewared_jobs.record import DETAILS, JobRecord

__all__ = ["FIXED", "change_of", "fixed_of", "record_at"]

#: Fields that never change: written with the first row only. From the lock on they
#: are null for most jobs.
FIXED = (
    "id",
    "uid",
    "method",
    "arguments",
    "time_created",
    "credentials",
    "owner",
    "abortable",
    "instance",
    "is_restart",
    "lock",
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


def _struct(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Make a struct of some fields, in their order."""
    fields = [
        (field.name, Any, _default(field)) for field in _CHANGING if field.name in names
    ]
    return msgspec.defstruct("_Change", fields, omit_defaults=True)


_Change = _struct(_NAMES)
_changing = itemgetter(*map(JobRecord.__struct_fields__.index, _NAMES))
#: Of a job without details: half as many.
_Brief = _struct(tuple(name for name in _NAMES if name not in DETAILS))
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobRecord).decode
_values = msgspec.structs.astuple


def change_of(record: JobRecord) -> bytes:
    """Encode what is not as it was when the job was made, as a JSON object."""
    if record.has_details():
        return _encode(_Change(*_changing(_values(record))))
    # Written out: taking the values out of a tuple takes twice as long.
    return _encode(
        _Brief(
            record.message_ids,
            record.description,
            record.logs_path,
            record.logs_excerpt,
            record.progress,
            record.result,
            record.result_encoding_error,
            record.error,
            record.exception,
            record.exc_info,
            record.state,
            record.time_started,
            record.time_finished,
            record.attempt,
            record.abort,
            record.child_pid,
            record.child_started,
            record.phase,
            record.exit,
            record.priority,
            record.run_at,
            record.time_modified,
            record.node,
        )
    )


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
