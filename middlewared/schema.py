"""JSON Schema of params and results, from the same annotations that decode them."""

from typing import Any, get_args

import msgspec

from middlewared import ejson
from middlewared.params import Params

__all__ = ["params_schema", "result_schema"]


def _schema_hook(kind: Any) -> dict[str, Any]:
    """Describe the types that msgspec does not know."""
    if getattr(kind, "__origin__", kind) is ejson.Secret:
        inner = (get_args(kind) or (Any,))[0]
        return {**_schema(inner), "writeOnly": True}
    return {"title": getattr(kind, "__name__", str(kind))}


def _schema(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema(kind, schema_hook=_schema_hook)


def params_schema(params: Params) -> list[dict[str, Any]]:
    """Describe each param in order, with its name and whether it must be given."""
    described = []
    for name, kind, default in zip(
        params.names, params.types, params.defaults, strict=True
    ):
        schema = {"_name_": name, "_required_": default is msgspec.UNSET}
        schema |= _schema(kind)
        if default is not msgspec.UNSET:
            schema["default"] = ejson.to_wire(default)
        described.append(schema)
    return described


def result_schema(kind: Any) -> dict[str, Any]:
    """Describe what a method returns."""
    return _schema(kind)
