"""The OpenRPC document of the methods (OpenRPC 1.4)."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import msgspec

from middlewared import errors as kernel_errors
from middlewared.docstrings import markdown, own_doc, summary
from middlewared.errors import ErrorData, RpcError
from middlewared.plugin import Example, Executor, Method
from middlewared.schema import Schema, Schemas
from middlewared_openrpc.place import Place
from middlewared_openrpc.visible import Visible

__all__ = [
    "ABOUT",
    "errors_of",
    "job_traits",
    "openrpc_at",
    "openrpc_document",
    "tags_of",
]

OPENRPC = "1.4.1"

#: The same in both documents.
ABOUT: Schema = {
    "title": "middlewared",
    "version": version("middlewared"),
    "license": {"name": "BSD-3-Clause"},
}
_CALLS = """JSON-RPC 2.0 over WebSocket, in text frames.

Params are sent by position or by name. A method that has `x-job` starts a job: it is
answered when the job ends, with what `result` says, after
`core.set_options({"legacy_jobs": false})`; otherwise at once, with the job's id.

The `data` of errors that a method raised, and of wrong params, is an `ErrorData`."""


def openrpc_document(visible: Visible) -> Schema:
    """Describe the methods that somebody may call."""
    schemas = Schemas()
    schemas.sent(ErrorData)
    methods = [_method(method, schemas) for method in visible.methods.values()]
    errors = {name: _error(kind) for name, kind in _error_kinds()}
    return {
        "openrpc": OPENRPC,
        "info": {**ABOUT, "description": _CALLS},
        "methods": methods,
        "components": {"schemas": schemas.components(), "errors": errors},
        "x-events": list(visible.events),
    }


def openrpc_at(document: Schema, place: Place) -> Schema:
    """Say in a document where a caller finds the server."""
    return {**document, "servers": [{"name": "current", "url": place.url}]}


def tags_of(method: Method) -> list[str]:
    """Name the groups that a method belongs to: its namespace, and the jobs."""
    namespace = method.name.rpartition(".")[0]
    return [namespace] if method.deferred is None else [namespace, "jobs"]


def _method(method: Method, schemas: Schemas) -> Schema:
    params = method.params
    described: Schema = {
        "name": method.name,
        "summary": summary(method.doc),
        "description": markdown(method.doc),
        "tags": [{"name": tag} for tag in tags_of(method)],
        "paramStructure": "either",
        "params": [
            _param(name, kind, default, schemas)
            for name, kind, default in zip(
                params.names, params.types, params.defaults, strict=True
            )
        ],
        "result": {"name": "result", "schema": schemas.sent(method.results.kind)},
        "errors": [
            {"$ref": f"#/components/errors/{name}"} for name, _ in errors_of(method)
        ],
        "examples": [_example(example, method) for example in method.examples],
        "x-access": str(method.access),
        "x-roles": sorted(method.access.roles),
    }
    traits = job_traits(method)
    return described if traits is None else {**described, "x-job": traits}


def _param(name: str, kind: Any, default: Any, schemas: Schemas) -> Schema:
    schema = schemas.accepted_param(kind, default)
    described = {"name": name, "required": default is msgspec.UNSET, "schema": schema}
    words = schema.get("description")
    return {**described, "description": words} if words else described


def _example(example: Example, method: Method) -> Schema:
    given = example.params
    named = (
        given.items()
        if isinstance(given, dict)
        else zip(method.params.names, given, strict=False)
    )
    pairing: Schema = {
        "name": example.name,
        "params": [{"name": name, "value": value} for name, value in named],
    }
    if example.result is not msgspec.UNSET:
        pairing["result"] = {"name": "result", "value": example.result}
    return pairing


def job_traits(method: Method) -> Schema | None:
    """Write out how the jobs of a method are run; None when its calls are no jobs."""
    if method.deferred is None:
        return None
    spec = method.deferred.spec
    if spec is None:
        return {}
    # What JSON has no form for, such as a template, is written as its text.
    traits: Schema = msgspec.to_builtins(
        spec, enc_hook=str, str_keys=True, order="deterministic"
    )
    return traits


# Errors


def _error_kinds() -> Iterator[tuple[str, type[RpcError]]]:
    """Name one class of the kernel's errors for each code: the first one."""
    codes = set()
    for name in kernel_errors.__all__:
        kind = getattr(kernel_errors, name)
        is_error = isinstance(kind, type) and issubclass(kind, RpcError)
        if is_error and kind is not RpcError and kind.code not in codes:
            codes.add(kind.code)
            yield name, kind


def _error(kind: type[RpcError]) -> Schema:
    own = "message" in vars(kind)
    message = kind.message if own else summary(own_doc(kind))
    return {"code": kind.code, "message": message}


def errors_of(method: Method) -> Iterator[tuple[str, type[RpcError]]]:
    """Give the errors that a method may answer with, by their names."""
    slots = method.executor in (Executor.ASYNC, Executor.THREAD)
    unused = {-32700, -32600, -32601} | (set() if slots else {-32000})
    for name, kind in _error_kinds():
        if kind.code not in unused:
            yield name, kind
