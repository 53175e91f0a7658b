"""JSON Schema of params and results, from the same annotations that decode them."""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from middlewared import ejson
from middlewared.params import Params

__all__ = ["params_schema", "result_schema"]

_CONTAINERS = (list, dict, tuple, set, frozenset)


def _without_secrets(kind: Any) -> Any:
    """Put what a `Secret` holds in its place; msgspec does not tell its hook."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is ejson.Secret or kind is ejson.Secret:
        inner = _without_secrets(args[0]) if args else str
        return Annotated[inner, Meta(extra_json_schema={"writeOnly": True})]
    if origin is Annotated:
        return Annotated[(_without_secrets(args[0]), *args[1:])]
    inside = tuple(_without_secrets(arg) for arg in args)
    if origin in (Union, UnionType):
        return Union[inside]  # noqa: UP007 - from a tuple
    return origin[inside] if origin in _CONTAINERS else kind


def _schema_hook(kind: Any) -> dict[str, Any]:
    """Describe the types that msgspec does not know."""
    if kind is ejson.Secret:  # in a field of a struct, where only the class shows
        return {"writeOnly": True}
    return {"title": getattr(kind, "__name__", str(kind))}


def _schema(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema(_without_secrets(kind), schema_hook=_schema_hook)


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
