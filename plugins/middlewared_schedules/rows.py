"""Schedules in the database."""

from collections.abc import Sequence
from typing import Any

import msgspec

from middlewared.database import Database, Statement
from middlewared_schedules.schedule import Schedule

__all__ = ["delete_row", "insert_row", "read_rows", "update_row"]

_COLUMNS = Schedule.__struct_fields__
_QUOTED = ", ".join(f'"{name}"' for name in _COLUMNS)
_INSERT = (
    f"INSERT INTO schedules ({_QUOTED}) "  # noqa: S608 - our own names
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_UPDATE = (
    "UPDATE schedules SET "  # noqa: S608 - our own names
    + ", ".join(f'"{name}" = ?' for name in _COLUMNS)
    + " WHERE id = ?"
)
_SELECT = f"SELECT {_QUOTED} FROM schedules ORDER BY id"  # noqa: S608 - our own names
_LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'schedules'"
#: Stored as the JSON text that they encode to.
_ENCODED = ("roles", "options")
_BOOLEANS = ("sealed", "overlap", "enabled")


def insert_row(schedule: Schedule) -> Statement:
    """Write a new schedule."""
    return _INSERT, _row(schedule)


def update_row(schedule: Schedule) -> Statement:
    """Write a schedule that there is."""
    return _UPDATE, [*_row(schedule), schedule.id]


def delete_row(schedule: Schedule) -> Statement:
    """Remove a schedule."""
    return "DELETE FROM schedules WHERE id = ?", [schedule.id]


async def read_rows(database: Database) -> tuple[list[Schedule], int]:
    """Read all schedules, by id, and the last id that was ever used."""
    rows = await database.read(_SELECT)
    last = await database.read(_LAST)
    return [_schedule(row) for row in rows], last[0][0] if last else 0


def _row(schedule: Schedule) -> list[Any]:
    plain = msgspec.to_builtins(schedule, builtin_types=(bytes,))
    for name in _ENCODED:
        plain[name] = msgspec.json.encode(plain[name]).decode()
    return [plain[name] for name in _COLUMNS]


def _schedule(row: Sequence[Any]) -> Schedule:
    plain = dict(zip(_COLUMNS, row, strict=True))
    for name in _ENCODED:
        plain[name] = msgspec.json.decode(plain[name])
    for name in _BOOLEANS:
        plain[name] = bool(plain[name])
    return msgspec.convert(plain, Schedule, builtin_types=(bytes,))
