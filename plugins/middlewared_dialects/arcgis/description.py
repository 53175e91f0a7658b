"""The ArcGIS dialect described: schemas of its documents, and its OpenAPI document."""

from typing import Any

from middlewared_dialects.arcgis.documents import Failed, JobDocument, RootDocument
from middlewared_dialects.openapi import (
    Schema,
    answer,
    document,
    operation,
    parameter,
    ref,
    struct_schemas,
)

__all__ = ["DOCUMENT", "SCHEMAS"]

SCHEMAS: dict[str, Schema] = struct_schemas(JobDocument, RootDocument, Failed)
SCHEMAS["JobDocument"]["properties"]["status"] = {
    "enum": ["SUBMITTED", "PROCESSING", "COMPLETED", "FAILED"]
}
SCHEMAS["JobDocument"]["properties"]["jobId"]["pattern"] = "^j[0-9a-f-]{36}$"

_FORMAT = parameter("f", schema={"enum": ["html", "json", "pjson"], "default": "html"})
_ID = parameter("id", "path")


def _get(name: str, summary: str, schema: Schema, *more: Schema) -> dict[str, Any]:
    """Describe a resource; its errors have status 200, too."""
    content: Schema = {
        "application/json": {"schema": {"anyOf": [schema, ref("Failed")]}},
        "text/html": {},
        "text/plain": {},
    }
    answers = {"200": answer(summary) | {"content": content}}
    return {"get": operation(name, summary, answers, parameters=[_FORMAT, *more])}


_ANY: Schema = {"type": "object"}
DOCUMENT = document(
    "Jobs in the shape of ArcGIS Mission Server",
    "A view of the jobs of this server. Errors have HTTP status 200.",
    {
        "/arcgis/rest": _get("root", "The root of the server.", ref("RootDocument")),
        "/arcgis/rest/jobs": _get(
            "jobs",
            "The jobs of the sender.",
            _ANY,
            parameter("num", schema={"type": "integer", "minimum": 1}),
            parameter("detail", schema={"type": "boolean"}),
            parameter("sortByDate", schema={"type": "boolean"}),
        ),
        "/arcgis/rest/jobs/{id}": _get("job", "A job.", ref("JobDocument"), _ID),
        "/arcgis/rest/jobs/{id}/cancel": _get("cancel", "Cancel a job.", _ANY, _ID),
        "/arcgis/rest/services/{operation}": _get(
            "operation",
            "Run an operation, at once or as a job.",
            _ANY,
            parameter("operation", "path"),
            parameter("async", schema={"type": "boolean"}),
        ),
    },
    SCHEMAS,
    {
        "token": {"type": "apiKey", "in": "query", "name": "token"},
        "key": {"type": "http", "scheme": "bearer"},
    },
)
