"""The OCAPI dialect described: schemas of its documents, and its OpenAPI document."""

from typing import Any

from middlewared_dialects.ocapi.searching import SearchRequest
from middlewared_dialects.openapi import (
    Schema,
    answer,
    document,
    json_body,
    operation,
    parameter,
    ref,
    struct_schemas,
)
from middlewared_jobs import Phase

__all__ = ["DOCUMENT", "SCHEMAS"]

_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
_MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
_PHASES = {"enum": [phase.value for phase in Phase]}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


_STEP = _object(
    ["_type", "duration", "execution_status", "id", "status", "step_id"],
    _type={"const": "job_step_execution"},
    duration=_NUMBER,
    end_time=_MOMENT,
    execution_scope=_TEXT,
    execution_status=_PHASES,
    exit_status=ref("status"),
    id=_TEXT,
    include_steps_from_job_id=_TEXT,
    modification_time=_MOMENT,
    start_time=_MOMENT,
    status=_TEXT,
    step_description=_TEXT,
    step_id=_TEXT,
    step_type_id=_TEXT,
    step_type_info=_TEXT,
)
_EXECUTION = _object(
    ["_v", "_type", "duration", "execution_status", "id", "job_id", "status"],
    _v=_TEXT,
    _type={"const": "job_execution"},
    _resource_state={"type": "string", "pattern": "^[0-9a-f]{64}$"},
    client_id=_TEXT,
    user_login=_TEXT,
    duration=_NUMBER,
    end_time=_MOMENT,
    execution_scopes={"type": "array", "items": _TEXT},
    execution_status=_PHASES,
    exit_status=ref("status"),
    id={"type": "string", "pattern": r"^\d+$"},
    is_log_file_existing={"type": "boolean"},
    is_restart={"type": "boolean"},
    job_id=_TEXT,
    log_file_name=_TEXT,
    modification_time=_MOMENT,
    parameters={"type": "array", "items": {"type": "object"}},
    start_time=_MOMENT,
    status=_TEXT,
    step_executions={"type": "array", "items": ref("job_step_execution")},
)
SCHEMAS: dict[str, Schema] = {
    "status": _object(
        ["_type", "code", "status"],
        _type={"const": "status"},
        code=_TEXT,
        message=_TEXT,
        status={"enum": ["ok", "error"]},
    ),
    "job_execution_request": {
        "type": "object",
        "description": "Parameters, or those of a system job as its own members.",
        "properties": {
            "parameters": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "minLength": 1, "maxLength": 256},
                        "value": {"type": "string", "maxLength": 1000},
                    },
                },
            }
        },
    },
    "job_step_execution": _STEP,
    "job_execution": _EXECUTION,
    "job_execution_result": {
        "type": "object",
        "required": ["_v", "_type", "count", "data", "total"],
        "properties": {"data": {"type": "array"}, "total": _NUMBER},
    },
    "fault": _object(
        ["_v", "fault"],
        _v=_TEXT,
        fault=_object(
            ["arguments", "type", "message"],
            arguments={"type": "object", "additionalProperties": _TEXT},
            type=_TEXT,
            message=_TEXT,
        ),
    ),
    **struct_schemas(SearchRequest),
}

_FAULTS = {
    status: answer("A fault.", ref("fault"))
    for status in ("400", "401", "403", "404", "405", "409", "415", "429")
}
_BASE = "/dw/data/v17_2"
_JOB, _ID = parameter("job_id", "path"), parameter("id", "path")
_COMMON = [
    parameter("select"),
    parameter("format", schema={"enum": ["json", "xml"]}),
]
_PAGE = [
    parameter("start", schema={"type": "integer", "minimum": 0}),
    parameter("count", schema={"type": "integer", "minimum": 1, "maximum": 200}),
]


def _answers(status: str, text: str, schema: Schema | None = None) -> dict[str, Any]:
    return {status: answer(text, schema)} | _FAULTS


DOCUMENT = document(
    "Jobs in the shape of the OCAPI Data API",
    "A view of the jobs of this server, in the shape of version 17.2.",
    {
        f"{_BASE}/jobs/{{job_id}}/executions": {
            "get": operation(
                "list",
                "List executions, the newest first",
                _answers("200", "The executions.", ref("job_execution_result")),
                parameters=[_JOB, *_PAGE, *_COMMON],
            ),
            "post": operation(
                "execute",
                "Execute the job",
                _answers("200", "The execution.", {"type": "object"}),
                parameters=[_JOB, *_COMMON],
                body=json_body(ref("job_execution_request"), required=False),
            ),
        },
        f"{_BASE}/jobs/{{job_id}}/executions/{{id}}": {
            "get": operation(
                "show",
                "Show an execution",
                _answers("200", "The execution.", {"type": "object"}),
                parameters=[_JOB, _ID, *_COMMON],
            ),
            "delete": operation(
                "delete",
                "Delete an execution that has ended",
                _answers("204", "It is deleted."),
                parameters=[_JOB, _ID],
            ),
        },
        f"{_BASE}/job_execution_search": {
            "post": operation(
                "search",
                "Search executions",
                _answers("200", "What was found.", {"type": "object"}),
                parameters=_COMMON,
                body=json_body(ref("SearchRequest")),
            )
        },
    },
    SCHEMAS,
    {"token": {"type": "http", "scheme": "bearer"}},
)
