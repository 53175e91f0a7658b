"""The Webex dialect described: schemas of its documents, and its OpenAPI document."""

from typing import Any

from middlewared_dialects.openapi import (
    Schema,
    answer,
    document,
    json_body,
    operation,
    parameter,
    ref,
)
from middlewared_dialects.webex.families import FAMILIES, INVITES, Family

__all__ = ["DOCUMENT", "SCHEMAS"]

STATUSES = ["STARTING", "STARTED", "COMPLETED", "FAILED", "UNKNOWN", "ABANDONED"]
EXITS = [
    "UNKNOWN",
    "COMPLETED",
    "FAILED",
    "STOPPED",
    "COMPLETED_WITH_ERRORS",
    "COMPLETED_WITH_PENDING_ORDERS",
]
_TEXT, _NUMBER = {"type": "string"}, {"type": "number"}
_MOMENT = {"type": "string", "format": "date-time"}
_ELAPSED = {"type": "string", "pattern": r"^PT\d+(\.\d{1,3})?S$"}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


_STEP = _object(
    ["id", "lastUpdated", "statusMessage", "name", "timeElapsed"],
    id=_NUMBER,
    startTime=_MOMENT,
    endTime=_MOMENT,
    lastUpdated=_MOMENT,
    statusMessage={"enum": STATUSES},
    exitCode={"enum": EXITS},
    name=_TEXT,
    timeElapsed=_ELAPSED,
)
_EXECUTION = _object(
    ["id", "startTime", "lastUpdated", "statusMessage", "createdTime", "timeElapsed"],
    id=_NUMBER,
    startTime=_MOMENT,
    endTime=_MOMENT,
    lastUpdated=_MOMENT,
    statusMessage={"enum": STATUSES},
    exitCode={"enum": EXITS},
    createdTime=_MOMENT,
    timeElapsed=_ELAPSED,
    stepExecutionStatuses={"type": "array", "items": ref("Step")},
)
_REQUIRED = [
    "id",
    "trackingId",
    "sourceUserId",
    "sourceCustomerId",
    "targetCustomerId",
    "instanceId",
    "latestExecutionStatus",
    "counts",
]
_PROPERTIES: dict[str, Schema] = {
    "name": _TEXT,
    "id": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    "jobType": _TEXT,
    "trackingId": _TEXT,
    "sourceUserId": _TEXT,
    "sourceCustomerId": _TEXT,
    "targetCustomerId": _TEXT,
    "instanceId": _NUMBER,
    "jobExecutionStatus": {"type": "array", "items": ref("Execution")},
    "latestExecutionStatus": {"enum": STATUSES},
    "latestExecutionExitCode": {"enum": EXITS},
    "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    "percentageComplete": {"type": "integer", "minimum": 0, "maximum": 100},
}
_SAID = _object(
    ["description", "code"],
    description={"type": ["string", "null"]},
    code={"type": ["string", "null"]},
    locationId={"type": ["string", "null"]},
    location={"type": ["string", "null"]},
)
SCHEMAS: dict[str, Schema] = {
    "Step": _STEP,
    "Execution": _EXECUTION,
    "ListedJob": _object(_REQUIRED, **_PROPERTIES),
    "Job": _object(["name", *_REQUIRED], **_PROPERTIES),
    "Jobs": _object(["items"], items={"type": "array", "items": ref("ListedJob")}),
    "ErrorItem": _object(
        ["itemNumber", "trackingId", "error"],
        itemNumber=_NUMBER,
        item=_TEXT,
        errorType=_TEXT,
        trackingId=_TEXT,
        error=_object(
            ["key", "message"], key=_TEXT, message={"type": "array", "items": _SAID}
        ),
    ),
    "Errors": _object(
        ["items"],
        items={"type": "array", "items": ref("ErrorItem")},
        paging={"type": "object"},
    ),
    "Refusal": {
        "type": "object",
        "description": "One of the three shapes in which the service says no.",
    },
}

_ID = parameter("jobId", "path")
_ORG = parameter("orgId")
_PAGE = [
    parameter("start", schema={"type": "integer", "minimum": 0}),
    parameter("max", schema={"type": "integer", "minimum": 0}),
]
_REFUSED = {
    status: answer(text, ref("Refusal"))
    for status, text in {
        "400": "The body or the query is wrong.",
        "401": "Credentials are missing or wrong.",
        "403": "The sender may not.",
        "404": "There is no such job.",
        "405": "Not with this method.",
        "409": "Not now.",
        "415": "The body is no JSON.",
        "423": "The server stops.",
        "429": "Too many attempts.",
    }.items()
}


def _list_of(schema: Schema, most: int | None = None) -> Schema:
    found: Schema = {"type": "array", "items": schema, "minItems": 1}
    return found if most is None else found | {"maxItems": most}


_FLAG = {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_MOVED = _object(["userId"], userId=_TEXT, extension=_TEXT, phoneNumber=_TEXT)
_TAG = _object(
    ["familyOrModelDisplayName", "tag", "action"],
    familyOrModelDisplayName={"type": "string", "minLength": 1, "maxLength": 40},
    tag={"type": "string", "minLength": 1, "maxLength": 64},
    action={"type": "string", "enum": ["SET", "CLEAR"]},
    value={"type": "string", "minLength": 1, "maxLength": 256},
)
#: Bodies that start jobs, by path of the family; a method may take others.
_BODIES: dict[str, Schema] = {
    "person/moveLocation": _object(
        ["usersList"],
        usersList=_list_of(
            _object(
                ["locationId", "validate", "users"],
                locationId=_TEXT,
                validate=_FLAG,
                users=_list_of(_MOVED, 100),
            )
        ),
    ),
    "numbers/manageNumbers": _object(
        ["operation", "numberList"],
        operation={"enum": ["MOVE", "NUMBER_USAGE_CHANGE"]},
        targetLocationId=_TEXT,
        numberUsageType={"enum": ["NONE", "SERVICE"]},
        numberList=_list_of(
            _object(["locationId", "numbers"], locationId=_TEXT, numbers=_TEXTS)
        ),
    ),
    "devices/callDeviceSettings": _object(
        [],
        locationId=_TEXT,
        locationCustomizationsEnabled=_FLAG,
        customizations={"type": "object"},
    ),
    "devices/applyLineKeyTemplate": _object(
        ["action"],
        action={"enum": ["APPLY_TEMPLATE", "APPLY_DEFAULT_TEMPLATES"]},
        templateId=_TEXT,
        locationIds=_TEXTS,
        excludeDevicesWithCustomLayout=_FLAG,
        includeDeviceTags=_TEXTS,
        excludeDeviceTags=_TEXTS,
        advisoryTypes={"type": "object"},
    ),
    "devices/rebuildPhones": _object(["locationId"], locationId=_TEXT),
    "devices/dynamicDeviceSettings": _object(
        ["tags"], locationId=_TEXT, tags=_list_of(_TAG)
    ),
    "locations/deleteCallingLocation": _object(
        ["locationId"], locationId=_TEXT, locationName=_TEXT, forceDelete=_FLAG
    ),
}


def _paths(family: Family, prefix: str) -> dict[str, Any]:
    name = family.name
    by_id = f"{prefix}/{{jobId}}"
    job, empty = answer("The job.", ref("Job")), answer("Done.")
    whole: dict[str, Any] = {}
    if family.start is not None:
        schema = _BODIES.get(family.path, {"type": "object"})
        body = json_body(schema, required=family is not INVITES)
        # Checking is answered otherwise than starting.
        started = {str(family.start): answer("The job was started.")}
        if family.wrapped:
            started["200"] = answer("The body was checked.")
        whole["post"] = operation(
            f"{name}.start",
            "Start a job",
            started | _REFUSED,
            parameters=[_ORG],
            body=body,
        )
    if family.listed:
        whole["get"] = operation(
            f"{name}.list",
            "List jobs, the newest first",
            {"200": answer("The jobs.", ref("Jobs"))} | _REFUSED,
            parameters=[_ORG, *_PAGE],
        )
    paths = {prefix: whole} if whole else {}
    shown = f"{by_id}/status" if family is INVITES else by_id
    show = operation(
        f"{name}.show", "Show a job", {"200": job} | _REFUSED, parameters=[_ID]
    )
    paths[shown] = {"get": show}
    errors = {"200": answer("The errors.", ref("Errors"))} | _REFUSED
    paths[f"{by_id}/errors"] = {
        "get": operation(
            f"{name}.errors", "List what failed", errors, parameters=[_ID, *_PAGE]
        )
    }
    actions = ["abandon", *(["pause", "resume"] if family.pause else [])]
    for action in actions:
        done = {str(family.pause or 202): empty} | _REFUSED
        paths[f"{by_id}/actions/{action}/invoke"] = {
            "post": operation(
                f"{name}.{action}", f"{action.title()} a job", done, parameters=[_ID]
            )
        }
    return paths


def _all_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for family in FAMILIES.values():
        if family is not INVITES:
            paths |= _paths(family, f"/v1/telephony/config/jobs/{family.path}")
    prefix = "/v1/identity/organizations/{orgId}/jobs/sendActivationEmails"
    for path, methods in _paths(INVITES, prefix).items():
        for described in methods.values():
            others = [p for p in described["parameters"] if p["name"] != "orgId"]
            described["parameters"] = [parameter("orgId", "path"), *others]
        paths[path] = methods
    return paths


DOCUMENT = document(
    "Jobs in the shape of Webex",
    "A view of the jobs of this server; only families that a method is published in.",
    _all_paths(),
    SCHEMAS,
    {"key": {"type": "http", "scheme": "bearer"}},
)
