"""The documents of the InfoLink dialect, and what they say of a job."""

import datetime as dt
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from middlewared import Date
from middlewared_dialects.infolink.publication import InfolinkPublication
from middlewared_dialects.vocabulary import words_of
from middlewared_jobs import Column, JobRecord, ResultSet, State

__all__ = [
    "Activity",
    "ActivityLog",
    "Failure",
    "JobStatus",
    "Message",
    "NamedResult",
    "Started",
    "Success",
    "activity_of",
    "job_id_of",
    "local_time",
    "results_of",
    "status_of",
    "zone_of",
]


class TypeName(msgspec.Struct, rename="camel", omit_defaults=True):
    """A type of a column; of a standard type only the names are known."""

    type_str: str
    name: str
    precision: int | None = None
    scale: int | None = None


class SchemaColumn(msgspec.Struct, rename="camel"):
    """One column of a result."""

    updateable: bool
    type_standard: TypeName
    name: str
    type: TypeName


class Table(msgspec.Struct, omit_defaults=True):
    """Rows, and what their columns are; the schema is left out when asked."""

    records: list[dict[str, Any]]
    schema: list[SchemaColumn] | msgspec.UnsetType = msgspec.UNSET


class NamedResult(msgspec.Struct):
    """One result set."""

    name: str
    result: Table


class Started(msgspec.Struct, rename="camel"):
    """The answer to an asynchronous start."""

    job_id: str


class JobStatus(msgspec.Struct, omit_defaults=True):
    """How far a job is.

    Attributes:
        status: running, stopping, stopped, completed or completedWithError.
        results: once it has completed.
        message: why it failed.
    """

    status: str
    results: list[NamedResult] | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET


class Activity(msgspec.Struct, rename="camel", omit_defaults=True):
    """One job in the activity log."""

    app_id: int | str
    app_name: str
    init_type: Literal["system", "scheduled", "api", "child", "manual"]
    actually_running: bool
    title: str
    user_name: str
    user_id: int
    result: None
    job_id: str
    op_name: str
    op_type: str
    start_time: str
    status: str
    end_time: str | msgspec.UnsetType = msgspec.UNSET


ActivityLog = list[Activity]


class Success(msgspec.Struct, tag_field="status", tag="success"):
    """What every answer looks like that is no error."""

    result: Any


class Message(msgspec.Struct):
    """What an error says."""

    message: str


class Failure(msgspec.Struct, tag_field="status", tag="error"):
    """What an error looks like; the HTTP status is 200 all the same."""

    result: Message


def job_id_of(record: JobRecord) -> str:
    """Give the id of a job: the one that its caller chose, or its own."""
    return record.key or record.uid


def _schema(column: Column) -> SchemaColumn:
    kind, standard = column.type, column.standard
    return SchemaColumn(
        column.updateable,
        TypeName(standard.text, standard.name),
        column.name,
        TypeName(kind.text, kind.name, kind.precision, kind.scale),
    )


def _named(found: ResultSet, *, schema: bool) -> NamedResult:
    table = Table(found.records)
    if schema:
        table.schema = [_schema(column) for column in found.columns]
    return NamedResult(found.name, table)


def results_of(record: JobRecord, *, schema: bool = True) -> list[NamedResult]:
    """Give the result sets of a job; any other result is one of a single value.

    Args:
        record: a job that succeeded.
        schema: with the schema of each.
    """
    raw = bytes(record.result)
    if raw == b"null":
        return []
    try:
        sets = msgspec.json.decode(raw, type=list[ResultSet] | ResultSet)
    except msgspec.ValidationError:
        value = msgspec.json.decode(raw)
        rows = [value] if isinstance(value, dict) else [{"value": value}]
        sets = ResultSet("result", [], rows)
    found = sets if isinstance(sets, list) else [sets]
    return [_named(one, schema=schema) for one in found]


def status_of(record: JobRecord) -> JobStatus:
    """Say how far a job is."""
    status = JobStatus(words_of(record).infolink.status)
    if record.state is State.SUCCESS:
        status.results = results_of(record)
    elif record.error is not None:
        status.message = record.error
    return status


def local_time(date: Date, zone: dt.tzinfo) -> str:
    """Spell a time as ``2026-11-26 06:34:15.123``, in a time zone."""
    moment = dt.datetime.fromtimestamp(date.ms // 1000, dt.UTC).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{date.ms % 1000:03d}"


def _init_type(
    record: JobRecord,
) -> Literal["system", "scheduled", "api", "child", "manual"]:
    if record.schedule is not None:
        return "scheduled"
    if record.parent is not None:
        return "child"
    if record.owner is None:
        return "system"
    by_hand = record.credentials is not None and record.credentials.type in (
        "LOGIN_PASSWORD",
        "TOKEN",
    )
    return "manual" if by_hand else "api"


def activity_of(
    record: JobRecord, options: InfolinkPublication, zone: dt.tzinfo
) -> Activity:
    """Give the line of a job in the activity log."""
    shown = record.credentials
    activity = Activity(
        app_id=int(options.app) if options.app.isdecimal() else options.app,
        app_name=options.app_name,
        init_type=_init_type(record),
        actually_running=record.state is State.RUNNING,
        title=record.description or options.shown_title,
        user_name="system" if shown is None else shown.data.username,
        user_id=record.owner or 0,
        result=None,
        job_id=job_id_of(record),
        op_name=options.op,
        op_type=options.type,
        start_time=local_time(record.time_started or record.time_created, zone),
        status=words_of(record).infolink.status,
    )
    if record.time_finished is not None:
        activity.end_time = local_time(record.time_finished, zone)
    return activity


def zone_of(name: str | None) -> dt.tzinfo:
    """Give a time zone by its name, UTC by default.

    Raises:
        ValueError: there is none of this name.
    """
    if not name:
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        text = f"timeZone is {name!r}, expected a name as Europe/Berlin"
        raise ValueError(text) from None
