"""Items as the JSON text that SQLite makes of the rows of jobs.

Making it there costs as much as reading the columns. What stands in a column as JSON
is taken as it stands, so whoever adds a field to a struct in such a column has to write
a migration, too: nothing decodes the older rows.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from middlewared_jobs.record import DETAILS, JobRecord
from middlewared_jobs.rows import BOOLEANS, COLUMNS, RAW, TIMES

__all__ = ["ItemText", "decode_details", "item_text"]

_encode = msgspec.json.Encoder().encode
_NUMBERS = frozenset({"id", "attempt", "priority"})
#: Words of ours, of which none needs to be escaped.
_WORDS = frozenset({"state", "phase"})
_NULLABLE_NUMBERS = frozenset(
    {"owner", "child_pid", "instance", "restart_of", "parent", "schedule"}
)


def _default(field: msgspec.structs.FieldInfo) -> msgspec.Raw:
    made = field.default
    if made is msgspec.NODEFAULT:
        assert field.default_factory is not msgspec.NODEFAULT  # noqa: S101 - details have one
        made = field.default_factory()
    return msgspec.Raw(_encode(made))


_Details = msgspec.defstruct(
    "_Details",
    [
        (field.name, msgspec.Raw, _default(field))
        for field in msgspec.structs.fields(JobRecord)
        if field.name in DETAILS
    ],
)
_decode = msgspec.json.Decoder(_Details).decode
_NONE = _Details()
_NO_DETAILS = _encode(_NONE)[1:]


def decode_details(stored: str | None) -> Any:
    """Give the details of a job, each as its JSON text, by name."""
    return _NONE if stored is None else _decode(stored)


class ItemText(msgspec.Struct, frozen=True):
    """How items with some keys are read as text.

    Attributes:
        columns: what to select, in SQL; `width` columns.
        whole: details follow, which SQLite does not put in.
    """

    columns: str
    whole: bool

    @property
    def width(self) -> int:
        """How many columns it takes."""
        return 2 if self.whole else 1

    def texts(self, rows: Sequence[Sequence[Any]]) -> list[bytes]:
        """Give the items of rows that begin with its columns."""
        if not self.whole:
            return [row[0] for row in rows]
        return [
            row[0] + (_NO_DETAILS if row[1] is None else _encode(_decode(row[1]))[1:])
            for row in rows
        ]


@lru_cache(maxsize=64)
def item_text(fields: tuple[str, ...]) -> ItemText | None:
    """Say how items with these keys are read, None when they cannot be.

    Args:
        fields: of a job's record, in order; details all or not at all.
    """
    whole = fields[-len(DETAILS) :] == DETAILS
    own = fields[: -len(DETAILS)] if whole else fields
    if not own or not all(name == "transient" or name in COLUMNS for name in own):
        return None
    places, values = [], []
    for name in own:
        place, value = _member(name)
        places.append(f'"{name}":{place}')
        values += [value] if value else []
    end = "," if whole else "}"
    sql = ", ".join([f"'{{{','.join(places)}{end}'", *values])
    columns = f"CAST(printf({sql}) AS BLOB)"
    return ItemText(f"{columns}, details" if whole else columns, whole)


def _member(name: str) -> tuple[str, str]:  # noqa: PLR0911 - a table of kinds
    """Give the place of a member's value in the text, and SQL for what stands there.

    What is null mostly is asked whether it is: a function is called for the rest only.
    """
    if name == "transient":
        return "false", ""
    if name in RAW or name in _NUMBERS:
        return "%s", name
    if name in _WORDS:
        return '"%s"', name
    if name in BOOLEANS:
        return "%s", f"iif({name}, 'true', 'false')"
    if name in TIMES:
        return "%s", f"""ifnull('{{"$date":' || {name} || '}}', 'null')"""
    if name in _NULLABLE_NUMBERS:
        return "%s", f"ifnull({name}, 'null')"
    return "%s", f"iif({name} IS NULL, 'null', json_quote({name}))"
