"""The ArcGIS dialect described: schemas of its documents, and its OpenAPI document."""

from typing import Any

from middlewared_dialects.arcgis.documents import Failed, JobDocument, RootDocument
from middlewared_dialects.openapi import (
    Schema,
    answer,
    document,
    form_body,
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

SCHEMAS["TokenDocument"] = {
    "type": "object",
    "required": ["token", "expires", "ssl"],
    "properties": {
        "token": {"type": "string"},
        "expires": {"type": "integer"},
        "ssl": {"type": "boolean"},
    },
}
SCHEMAS["JobsDocument"] = {
    "type": "object",
    "required": ["asyncJobs"],
    "properties": {
        "asyncJobs": {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, ref("JobDocument")]},
        },
        "total": {"type": "integer"},
    },
}

_FORMAT = parameter("f", schema={"enum": ["html", "json", "pjson"], "default": "html"})
_ID = parameter("id", "path")


_FIELDS = {"f": _FORMAT["schema"], "token": {"type": "string"}}


def _resource(name: str, summary: str, schema: Schema, *more: Schema) -> dict[str, Any]:
    """Describe a resource, which answers GET and POST; errors have status 200, too."""
    content: Schema = {
        "application/json": {"schema": {"anyOf": [schema, ref("Failed")]}},
        "application/javascript": {},
        "text/html": {},
        "text/plain": {},
    }
    answers = {"200": answer(summary) | {"content": content}}
    in_path = [one for one in more if one["in"] == "path"]
    fields = _FIELDS | {
        one["name"]: one["schema"] for one in more if one not in in_path
    }
    got = operation(name, summary, answers, parameters=[_FORMAT, *more])
    posted = operation(
        f"{name}.post", summary, answers, parameters=in_path, body=form_body(fields)
    )
    return {"get": got, "post": posted}


def _token() -> dict[str, Any]:
    """Describe how to get a token; a page sends its reader on to the jobs."""
    fields = {
        "f": _FORMAT["schema"],
        "username": {"type": "string"},
        "password": {"type": "string"},
        "expiration": {"type": "integer", "minimum": 1, "description": "Minutes."},
    }
    schema: Schema = {"anyOf": [ref("TokenDocument"), ref("Failed")]}
    content: Schema = {
        "application/json": {"schema": schema},
        "text/html": {},
        "text/plain": {},
    }
    answers = {
        "200": answer("The token.") | {"content": content},
        "303": answer("To the jobs."),
    }
    body = form_body(fields, ["username", "password"])
    return {"post": operation("token", "Get a token.", answers, body=body)}


_ANY: Schema = {"type": "object"}
DOCUMENT = document(
    "Jobs in the shape of ArcGIS Mission Server",
    "A view of the jobs of this server. Errors have HTTP status 200.",
    {
        "/arcgis/rest": _resource(
            "root", "The root of the server.", ref("RootDocument")
        ),
        "/arcgis/rest/generateToken": _token(),
        "/arcgis/rest/jobs": _resource(
            "jobs",
            "The jobs of the sender.",
            ref("JobsDocument"),
            parameter("num", schema={"type": "integer", "minimum": 1}),
            parameter("detail", schema={"type": "boolean"}),
            parameter("sortByDate", schema={"type": "boolean"}),
        ),
        "/arcgis/rest/jobs/{id}": _resource("job", "A job.", ref("JobDocument"), _ID),
        "/arcgis/rest/jobs/{id}/cancel": _resource(
            "cancel", "Cancel a job.", _ANY, _ID
        ),
        "/arcgis/rest/services/{operation}": _resource(
            "operation",
            "Run an operation, at once or as a job; its params are more fields.",
            _ANY,
            parameter("operation", "path"),
            parameter("async", schema={"type": "boolean"}),
            parameter("title"),
        ),
    },
    SCHEMAS,
    {
        "token": {"type": "apiKey", "in": "query", "name": "token"},
        "key": {"type": "http", "scheme": "bearer"},
    },
)
