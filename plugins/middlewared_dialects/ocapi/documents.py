"""The documents of the OCAPI dialect, and what they say of a job."""

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from middlewared import Date
from middlewared_dialects.ocapi.publication import OcapiPublication
from middlewared_dialects.spelling import duration_ms, iso
from middlewared_dialects.vocabulary import Words, words_of, words_of_step
from middlewared_jobs import Exit, JobRecord, State, StepRecord

__all__ = ["VERSION", "Document", "execution_of", "read_version", "with_state"]

#: The version that this follows; later ones are served in its shape.
VERSION = "17.2"
_SERVED = re.compile(r"v(17_[2-9]|1[89]_\d{1,2}|2\d_\d{1,2})")
Document = dict[str, Any]


def read_version(text: str) -> str | None:
    """Read the version in a path, as ``v17_2``; None when it is not served."""
    return text[1:].replace("_", ".") if _SERVED.fullmatch(text) else None


def _ordered(head: Document, members: Document) -> Document:
    """Put the members after the head, in the order of their names, without nulls."""
    given = {name: value for name, value in members.items() if value is not None}
    return head | dict(sorted(given.items()))


def _status(words: Words, exit_: Exit | None) -> str:
    """Give ``status``: the execution status before the end, the exit code after."""
    if words.ocapi.exit is None or exit_ is None:
        return words.ocapi.execution_status.upper()
    return exit_.code


def _exit_status(words: Words, exit_: Exit | None, empty: str | None) -> Any:
    if words.ocapi.exit is None or exit_ is None:
        return None
    message = exit_.message or empty
    members = {"code": exit_.code, "message": message, "status": words.ocapi.exit}
    return _ordered({"_type": "status"}, members)


def _step(step: StepRecord, now: int) -> Document:
    words = words_of_step(step)
    modified = step.time_modified or step.time_started
    members = {
        "duration": duration_ms(step.time_started, step.time_finished, now),
        "end_time": _time(step.time_finished),
        "execution_scope": step.scope,
        "execution_status": words.ocapi.execution_status,
        "exit_status": _exit_status(words, step.exit, ""),
        "id": str(step.id),
        "include_steps_from_job_id": step.included_from,
        "modification_time": _time(modified),
        "start_time": _time(step.time_started),
        "status": _status(words, step.exit),
        "step_description": step.description,
        "step_id": step.name,
        "step_type_id": step.type_id or None,
        "step_type_info": step.type_info or None,
    }
    return _ordered({"_type": "job_step_execution"}, members)


def _whole(record: JobRecord, options: OcapiPublication, now: int) -> list[Document]:
    """Give the one step of a job that has none, once it has begun."""
    if record.time_started is None:
        return []
    step = StepRecord(
        id=record.id,
        name=options.job_id,
        state=record.state,
        exit=record.exit,
        time_started=record.time_started,
        time_finished=record.time_finished,
        time_modified=record.time_modified,
    )
    if record.state is State.WAITING:  # between two attempts
        step.state, step.exit = State.RUNNING, None
    return [_step(step, now)]


def _time(date: Date | None) -> str | None:
    return None if date is None else iso(date)


def _log_name(record: JobRecord, options: OcapiPublication) -> str:
    moment = dt.datetime.fromtimestamp(record.time_created.ms // 1000, dt.UTC)
    stamp = f"{moment:%Y%m%d%H%M%S}{record.time_created.ms % 1000:03d}"
    return f"Job-{options.job_id}-{stamp}.log"


def _scopes(record: JobRecord, begun: Sequence[StepRecord]) -> list[str] | None:
    """Give the declared scopes once a step has begun, or those of the steps."""
    if record.time_started is None:
        return None
    found = record.scopes or list(dict.fromkeys(s.scope for s in begun if s.scope))
    return found or None


def _parameters(record: JobRecord, names: Sequence[str]) -> list[Document] | None:
    values = msgspec.json.decode(record.arguments)
    return [
        {"_type": "job_execution_parameter", "name": name, "value": _text(value)}
        for name, value in zip(names, values, strict=False)
    ] or None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def execution_of(
    record: JobRecord, options: OcapiPublication, names: Sequence[str], now: int
) -> Document:
    """Give the document of a job, without its resource state.

    Args:
        record: the job.
        options: how its method appears.
        names: of the params of its method.
        now: milliseconds since 1970-01-01 UTC.
    """
    words, shown = words_of(record), record.credentials
    begun = [step for step in record.steps if step.time_started is not None]
    steps = [_step(step, now) for step in begun]
    if not record.steps:
        steps = _whole(record, options, now)
    name = "system" if shown is None else shown.data.username
    by_user = shown is not None and shown.type == "LOGIN_PASSWORD"
    members = {
        "user_login" if by_user else "client_id": name,
        "duration": duration_ms(record.time_started, record.time_finished, now),
        "end_time": _time(record.time_finished),
        "execution_scopes": _scopes(record, begun),
        "execution_status": words.ocapi.execution_status,
        "exit_status": _exit_status(words, record.exit, None),
        "id": str(record.id),
        "is_log_file_existing": record.logs_path is not None,
        "is_restart": record.is_restart,
        "job_id": options.job_id,
        "log_file_name": _log_name(record, options),
        "modification_time": iso(record.time_modified or record.time_created),
        "parameters": _parameters(record, names),
        "start_time": iso(record.time_started or record.time_created),
        "status": _status(words, record.exit),
        "step_executions": steps or None,
    }
    return _ordered({"_v": VERSION, "_type": "job_execution"}, members)


def _lasting(value: Any) -> Any:
    """Leave out how long something took so far."""
    if isinstance(value, list):
        return [_lasting(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {n: _lasting(inner) for n, inner in value.items() if n != "duration"}


def with_state(document: Document) -> Document:
    """Add the resource state: a hash of all that does not change by itself."""
    encoded = msgspec.json.encode(_lasting(document), order="sorted")
    state = hashlib.sha256(encoded).hexdigest()
    head = {name: document[name] for name in ("_v", "_type")}
    return head | {"_resource_state": state} | document
