"""The InfoLink dialect described: schemas, and its OpenAPI document."""

from typing import Any

from middlewared_dialects.infolink.documents import (
    Activity,
    Failure,
    JobStatus,
    NamedResult,
    Started,
)
from middlewared_dialects.infolink.requests import MAX_LOOKED, ExecuteJob
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

__all__ = ["DOCUMENT", "SCHEMAS"]

SCHEMAS: dict[str, Schema] = struct_schemas(
    Activity, ExecuteJob, Failure, JobStatus, NamedResult, Started
)
SCHEMAS["JobStatus"]["properties"]["status"] = {
    "enum": ["running", "stopping", "stopped", "completed", "completedWithError"]
}
SCHEMAS["Operation"]["properties"]["opParams"]["properties"] = {
    "scenario": {"type": "string"},
    "parameters": {"type": "object"},
}
_APP = parameter("appId", required=True)
_JOB = parameter("jobId", required=True)
_KEY = parameter("apiKey")


def _success(result: Schema) -> dict[str, Schema]:
    """Describe the envelope; errors have status 200, too."""
    success = {
        "type": "object",
        "required": ["status", "result"],
        "properties": {"status": {"const": "success"}, "result": result},
    }
    return {"200": answer("The envelope.", {"anyOf": [success, ref("Failure")]})}


def _get(
    name: str, summary: str, result: Schema, *parameters: Schema
) -> dict[str, Any]:
    answers = _success(result)
    return {"get": operation(name, summary, answers, parameters=[_KEY, *parameters])}


_LIST: Schema = {"type": "array", "items": {"type": "object"}}
DOCUMENT = document(
    "Jobs in the shape of InfoLink",
    "A view of the jobs of this server. Every answer of a call has HTTP status 200.",
    {
        "/api/v1/executeJob": {
            "post": operation(
                "executeJob",
                "Execute an operation",
                _success({"type": "object"}),
                body=json_body(ref("ExecuteJob")),
            )
        },
        "/api/v1/getJobStatus": _get(
            "getJobStatus", "How far a job is", ref("JobStatus"), _APP, _JOB
        ),
        "/api/v1/stopJob": _get(
            "stopJob", "Stop a job", {"type": "object"}, _APP, _JOB
        ),
        "/api/v1/getActivityLog": _get(
            "getActivityLog",
            "Jobs, those that run first",
            {"type": "array", "items": ref("Activity")},
            *(
                parameter(name)
                for name in ("appId", "title", "status", "initType", "timeZone")
            ),
            *(parameter(name) for name in ("before", "after")),
            parameter("userId", schema={"type": "integer"}),
            parameter(
                "limit",
                schema={"type": "integer", "minimum": 1, "maximum": MAX_LOOKED},
            ),
        ),
        "/api/v1/getScenarios": _get("getScenarios", "What may be run", _LIST),
    },
    SCHEMAS,
    {
        "apiKey": {"type": "apiKey", "in": "query", "name": "apiKey"},
        "token": {"type": "http", "scheme": "bearer"},
    },
)
