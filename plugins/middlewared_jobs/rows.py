"""Rows of jobs: how a record stands in its table, and what a change writes of it."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import msgspec

from middlewared.database import Statement
from middlewared.inserts import Insert
from middlewared_jobs.change import FIXED, record_at
from middlewared_jobs.exits import COMPLETED
from middlewared_jobs.phase import Phase
from middlewared_jobs.record import (
    AT_FIRST,
    AT_LAST,
    DETAILS,
    DETAILS_AT,
    NULL,
    JobRecord,
)
from middlewared_jobs.states import FINAL, State
from middlewared_jobs.store import NO_CHANGE, Saved

__all__ = [
    "BOOLEANS",
    "CHANGES",
    "COLUMNS",
    "RAW",
    "REWRITE",
    "STORED",
    "TIMES",
    "VARYING",
    "Row",
    "Rows",
    "json_text",
    "record_of",
    "record_of_move",
    "varying_values",
    "whole_row",
]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobRecord).decode

TIMES = ("time_created", "time_started", "time_finished", "run_at", "time_modified")
#: Stored as the JSON text that the record encodes to.
RAW = (
    "message_ids",
    "arguments",
    "progress",
    "result",
    "result_encoding_error",
    "exc_info",
    "credentials",
    "abort",
    "exit",
)
BOOLEANS = ("abortable", "is_restart")
COLUMNS = tuple(
    name
    for name in JobRecord.__struct_fields__
    if name != "transient" and name not in DETAILS
)
STORED = (*COLUMNS, "details")


_START = (
    "state",
    "phase",
    "attempt",
    "node",
    "logs_path",
    "child_pid",
    "child_started",
    "time_started",
    "time_modified",
)
#: How most jobs end but for their times and results, which these follow.
_COMPLETED = {
    "state": State.SUCCESS.value,
    "phase": Phase.FINISHED.value,
    "progress": _encode(AT_LAST).decode(),
    "exit": _encode(COMPLETED).decode(),
    "params": None,
}
_END = ("time_finished", "time_modified", "result", *_COMPLETED)
_RICH_END = (
    *_END,
    "result_encoding_error",
    "error",
    "exception",
    "exc_info",
    "description",
    "logs_excerpt",
    "child_pid",
    "child_started",
    "details",
)
#: NULL for most jobs that begin, as is the time of their end.
_SELDOM = (
    "run_at",
    "description",
    "logs_path",
    "logs_excerpt",
    "error",
    "exception",
    "child_pid",
    "child_started",
)
#: What changes, in an order that lets the usual be cut out: what an end changes stands
#: first, the time of the end before the rest, what few jobs have stands last.
VARYING = (
    *_END,
    *(c for c in STORED if c not in FIXED and c not in _END and c not in _SELDOM),
    *_SELDOM,
)
_WRITTEN = (*FIXED, *VARYING)


def _update(columns: Sequence[str]) -> str:
    """Write the SQL that changes some columns of a row of no later attempt."""
    changes = ", ".join(f"{column} = ?" for column in columns)
    return f"UPDATE jobs SET {changes} WHERE id = ? AND attempt <= ?"  # noqa: S608 - our own names


#: What is not written is NULL, too, and need not be bound: sqlite3 takes longer for
#: None than for a number.
_ALWAYS_FIXED, _ALWAYS = FIXED.index("lock"), len(VARYING) - len(_SELDOM)
_USUAL = (*FIXED[:_ALWAYS_FIXED], *VARYING[1:_ALWAYS])
_NO_FIXED = (None,) * (len(FIXED) - _ALWAYS_FIXED)
_NO_SELDOM = (None,) * len(_SELDOM)
_UPDATE = (
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{c} = excluded.{c}" for c in _WRITTEN if c not in FIXED)
    + " WHERE excluded.attempt >= jobs.attempt"
)
_UPSERT = Insert("jobs", _WRITTEN, _UPDATE)
_UPSERT_USUAL = Insert("jobs", _USUAL, _UPDATE)
#: Writes `VARYING` where there is a row; its values are followed by id and attempt.
REWRITE = _update(VARYING)


#: Texts of what most jobs have, by identity.
_TEXTS = {id(v): _encode(v).decode() for v in (AT_FIRST, AT_LAST, COMPLETED)}
_values = msgspec.structs.astuple


def whole_row(record: JobRecord, varying: tuple[Any, ...]) -> Statement:
    """Give the statement that writes all of a row.

    Args:
        record: the job.
        varying: from `varying_values`.
    """
    fixed = fixed_values(record)
    if (
        varying[0] is None
        and varying[_ALWAYS:] == _NO_SELDOM
        and fixed[_ALWAYS_FIXED:] == _NO_FIXED
    ):
        return _UPSERT_USUAL, fixed[:_ALWAYS_FIXED] + varying[1:_ALWAYS]
    return _UPSERT, fixed + varying


def fixed_values(record: JobRecord) -> tuple[Any, ...]:
    """Give the values of the columns `FIXED`."""
    return (
        record.id,
        record.uid,
        record.method,
        str(record.arguments, "utf-8"),
        record.time_created.ms,
        json_text(record.credentials),
        record.owner,
        # sqlite3 asks what is no plain number for another form of itself.
        1 if record.abortable else 0,
        record.instance,
        1 if record.is_restart else 0,
        record.lock,
        record.restart_of,
        record.parent,
        record.schedule,
        record.key,
        record.tracking_id,
        record.app_id,
    )


def varying_values(record: JobRecord, params: bytes | None) -> tuple[Any, ...]:
    """Give the values of the columns `VARYING`."""
    # Written out: a loop over the names takes twice as long.
    started, finished, due = record.time_started, record.time_finished, record.run_at
    modified, progress, result = record.time_modified, record.progress, record.result
    failure, info = record.result_encoding_error, record.exc_info
    abort, exit_ = record.abort, record.exit
    return (
        None if finished is None else finished.ms,
        None if modified is None else modified.ms,
        "null" if result is NULL else str(result, "utf-8"),
        record.state._value_,
        record.phase._value_,
        _TEXTS.get(id(progress)) or json_text(progress),
        "null" if exit_ is None else _TEXTS.get(id(exit_)) or json_text(exit_),
        None if record.state in FINAL else params,
        json_text(record.message_ids),
        "null" if failure is None else json_text(failure),
        "null" if info is None else json_text(info),
        None if started is None else started.ms,
        record.attempt,
        "null" if abort is None else json_text(abort),
        record.priority,
        record.node,
        _details(record),
        None if due is None else due.ms,
        record.description,
        record.logs_path,
        record.logs_excerpt,
        record.error,
        record.exception,
        record.child_pid,
        record.child_started,
    )


def _details(record: JobRecord) -> str | None:
    """Encode the fields that are stored together, None when all are as by default."""
    if not record.has_details():
        return None
    values = _values(record)[DETAILS_AT:]
    found = {
        name: value
        for name, value in zip(DETAILS, values, strict=True)
        if value or value == ""
    }
    if found["checkpoint"] == NULL:
        del found["checkpoint"]
    return json_text(found) if found else None


def json_text(value: Any) -> str:
    """Encode what SQLite is to read as JSON."""
    return _encode(value).decode()


def record_of(row: Sequence[Any]) -> JobRecord:
    """Turn a row of `STORED` into a record, through the JSON it already is."""
    members = _members(COLUMNS, row)
    details = row[len(COLUMNS)]
    if details is not None:
        members.append(details[1:-1])
    return _decode("{" + ",".join(members) + "}")


def _members(names: Sequence[str], values: Sequence[Any]) -> list[str]:
    """Turn columns into the members of a JSON object."""
    members = []
    for name, value in zip(names, values, strict=False):
        if name in RAW:
            text = value
        elif name in TIMES:
            text = "null" if value is None else f'{{"$date":{value}}}'
        elif name in BOOLEANS:
            text = "true" if value else "false"
        else:
            text = json_text(value)
        members.append(f'"{name}":{text}')
    return members


def record_of_move(change: bytes, columns: Sequence[Any]) -> JobRecord:
    """Give a job as it was at an event.

    Args:
        change: what the event changed, `NO_CHANGE` when the row says it.
        columns: the row, as `STORED` has it.
    """
    if change == NO_CHANGE:
        return record_of(columns)
    found = [(c, v) for c, v in zip(STORED, columns, strict=True) if c in FIXED]
    names, values = zip(*found, strict=True)
    return record_at("{" + ",".join(_members(names, values)) + "}", change)


class _Change:
    """A move that changes some columns of a row only; so it takes a third of the time.

    Args:
        columns: those that it changes.

    Attributes:
        sql: its SQL.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.sql = _update(columns)
        self._attempt = VARYING.index("attempt")
        self._chosen: itemgetter[Any]
        self._rest: itemgetter[Any]
        if tuple(columns) == VARYING[: len(columns)]:  # a cut is the quicker way
            self._chosen = itemgetter(slice(len(columns)))
            self._rest = itemgetter(slice(len(columns), None))
            return
        self._chosen = itemgetter(*map(VARYING.index, columns))
        rest = (n for n, column in enumerate(VARYING) if column not in columns)
        self._rest = itemgetter(*rest)

    def makes(self, before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
        """Tell whether it is all that makes *after* of *before*."""
        return bool(self._rest(before) == self._rest(after))

    def values(self, number: int, after: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give the values of its SQL."""
        return (*self._chosen(after), number, after[self._attempt])


class _Completion:
    """The change of most jobs that end: what they have in common stands in its SQL.

    Attributes:
        sql: its SQL.
    """

    def __init__(self) -> None:
        same = (
            f"{column} = {'NULL' if value is None else repr(value)}"
            for column, value in _COMPLETED.items()
        )
        self.sql = (
            "UPDATE jobs SET time_finished = ?1, time_modified = ?1, result = ?2, "  # noqa: S608 - our own texts
            f"{', '.join(same)} WHERE id = ?3 AND attempt <= ?4"
        )
        self._same = tuple(_COMPLETED.values())
        self._first = len(_END) - len(_COMPLETED)
        self._attempt = VARYING.index("attempt")

    def makes(self, before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
        """Tell whether it is all that makes *after* of *before*."""
        return (
            after[self._first : len(_END)] == self._same
            and after[0] == after[1]
            and before[len(_END) :] == after[len(_END) :]
        )

    def values(self, number: int, after: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give the values of its SQL."""
        return after[0], after[2], number, after[self._attempt]


_ENDS = (_Change(_END), _Change(_RICH_END))
CHANGES: dict[State, Sequence[_Change | _Completion]] = {
    State.RUNNING: (_Change(_START),),
    **dict.fromkeys(FINAL, _ENDS),
    State.SUCCESS: (_Completion(), *_ENDS),
}


class Row(msgspec.Struct, eq=False):
    """The row of an unfinished job as it was last handed over.

    Attributes:
        among: where the newest rows of unfinished jobs are, by number.
        number: of the job.
        values: of the columns `VARYING`.
        saved: is told the outcome.
        before: the one before it, whose outcome was not known then: this one writes
            nothing when that was the first and is refused.
        written: it is on disk.
    """

    among: "Rows"
    number: int
    values: tuple[Any, ...]
    saved: Saved | None
    before: "Row | None" = None
    written: bool = False

    def done(self, exc: Exception | None) -> None:
        """Hear whether it is written, and hand it on."""
        saved, self.saved = self.saved, None
        before = self.before
        if before is not None:
            self.before = None
        if exc is None and (before is None or before.written):
            self.written = True
        elif self.among.get(self.number) is self:
            del self.among[self.number]  # of a new job nothing more may come
        if saved is not None:
            saved(exc)


Rows: TypeAlias = dict[int, Row]
