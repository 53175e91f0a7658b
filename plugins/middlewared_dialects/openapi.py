"""OpenAPI 3.1 documents of the dialects, for tools and for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

__all__ = [
    "Schema",
    "answer",
    "document",
    "form_body",
    "json_body",
    "operation",
    "parameter",
    "ref",
    "struct_schemas",
]

Schema = dict[str, Any]
_REF = "#/components/schemas/{name}"


def ref(name: str) -> Schema:
    """Point to a schema of the document."""
    return {"$ref": _REF.format(name=name)}


def struct_schemas(*kinds: type) -> dict[str, Schema]:
    """Give the schemas of structs, and of those that they hold, by name."""
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    return dict(schemas)


def parameter(
    name: str,
    where: str = "query",
    *,
    required: bool = False,
    schema: Schema | None = None,
) -> Schema:
    """Describe a parameter of the query, the path or a header."""
    return {
        "name": name,
        "in": where,
        "required": required or where == "path",
        "schema": schema or {"type": "string"},
    }


def json_body(schema: Schema, *, required: bool = True) -> Schema:
    """Describe a body in JSON."""
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def form_body(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """Describe a body that is a form."""
    schema = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
    }
    content = {"application/x-www-form-urlencoded": {"schema": schema}}
    return {"required": bool(required), "content": content}


def answer(text: str, schema: Schema | None = None) -> Schema:
    """Describe an answer, with a document in JSON if there is one."""
    found: Schema = {"description": text}
    if schema is not None:
        found["content"] = {"application/json": {"schema": schema}}
    return found


def operation(
    name: str,
    summary: str,
    answers: Mapping[str, Schema],
    *,
    parameters: Sequence[Schema] = (),
    body: Schema | None = None,
) -> Schema:
    """Describe one operation of a path."""
    found: Schema = {
        "operationId": name,
        "summary": summary,
        "parameters": list(parameters),
        "responses": dict(answers),
    }
    if body is not None:
        found["requestBody"] = body
    return found


def document(
    title: str,
    description: str,
    paths: Mapping[str, Schema],
    schemas: Mapping[str, Schema],
    security: Mapping[str, Schema],
) -> Schema:
    """Put a document together.

    Args:
        title: of the API.
        description: what it is a view of.
        paths: operations by path and method.
        schemas: by name.
        security: ways to prove oneself, by name; any of them will do.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": description},
        "paths": dict(paths),
        "components": {"schemas": dict(schemas), "securitySchemes": dict(security)},
        "security": [{name: []} for name in security],
    }
