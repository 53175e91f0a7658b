"""JSON Schema (draft 7) of params, results and events, from their annotations.

Draft 7 is what OpenRPC and AsyncAPI speak. The extended forms of `middlewared.ejson`
are described as they are on the wire: what is sent has one form, what is accepted may
have several.
"""

import contextlib
import dataclasses
import datetime as dt
import decimal
import ipaddress
import re
import typing
import uuid
from collections import abc
from collections.abc import Callable, Iterable
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args
from typing import get_origin as origin_of

import msgspec
from msgspec import Meta, UnsetType

from middlewared import ejson
from middlewared.docstrings import Field, fields_of, markdown, own_doc
from middlewared.params import Params

__all__ = [
    "Schema",
    "Schemas",
    "described",
    "params_schema",
    "result_schema",
    "wire_default",
]

Schema = dict[str, Any]

_ANY = (Any, object, msgspec.Raw)
_SETS = (set, frozenset, abc.Set, abc.MutableSet)
_ARRAYS = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_OBJECTS = (dict, abc.Mapping, abc.MutableMapping)
_BOUNDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}
_LENGTHS = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}
#: Beyond this a bound says no more than that there are 64 bits, and JSON rounds it.
_EXACT = 2**53
_TEXT: Schema = {"type": "string"}
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def _wrapped(title: str, **keys: Schema) -> Schema:
    """Describe an extended object: these keys and no others."""
    return {
        "title": title,
        "type": "object",
        "properties": keys,
        "required": list(keys),
        "additionalProperties": False,
    }


_DATE = _wrapped("date", **{"$date": {"type": "integer"}})
#: How extended values are sent, and the plain text that is accepted as well.
_EXTENDED: dict[type, tuple[Schema, str]] = {
    dt.datetime: (_DATE, "date-time"),
    dt.date: (
        _wrapped("day", **{"$type": {"const": "date"}, "$value": _TEXT}),
        "date",
    ),
    dt.time: (_wrapped("time", **{"$time": _TEXT}), "time"),
    ipaddress.IPv4Interface: (_wrapped("address", **{"$ipv4_interface": _TEXT}), ""),
    ipaddress.IPv6Interface: (_wrapped("address", **{"$ipv6_interface": _TEXT}), ""),
}
_PLAIN: dict[Any, Schema] = {
    ejson.Date: _DATE,
    NoneType: {"type": "null"},
    None: {"type": "null"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    decimal.Decimal: {"type": "string", "format": "decimal"},
    dt.timedelta: {"type": "string", "format": "duration"},
}


def described(schema: Schema, **more: Any) -> Schema:
    """Add annotations to a schema; draft 7 ignores what stands beside a reference."""
    return {**({"allOf": [schema]} if "$ref" in schema else schema), **more}


class Schemas:
    """Describes types; the structs among them become components.

    A struct that is only ever sent has all its fields and no others. One that is
    accepted may lack what has a default, and may have more unless it forbids that; one
    that is both is described as it is accepted.

    Args:
        prefix: what a reference to a component begins with.
    """

    def __init__(self, prefix: str = "#/components/schemas/") -> None:
        self._prefix = prefix
        self._names: dict[Any, str] = {}
        self._accepted: set[Any] = set()

    def accepted(self, kind: Any) -> Schema:
        """Describe what a client may send."""
        return self._of(kind, sent=False)

    def sent(self, kind: Any) -> Schema:
        """Describe what the server sends."""
        return self._of(kind, sent=True)

    def accepted_param(self, kind: Any, default: Any) -> Schema:
        """Describe a param, with its default; `msgspec.UNSET` when it has none."""
        schema = self.accepted(kind)
        return _with_default(schema, default, msgspec.NODEFAULT)

    def components(self) -> dict[str, Schema]:
        """Describe every struct met so far, and those inside them, by name."""
        found = {
            name: self._struct(kind, sent=kind not in self._accepted)
            for kind, name in self._names.items()
        }
        return dict(sorted(found.items()))

    def _of(self, kind: Any, *, sent: bool) -> Schema:
        kind = _meaning(kind)
        # A bare `Secret` has no origin, and holds a text.
        origin = ejson.Secret if kind is ejson.Secret else origin_of(kind)
        args = get_args(kind)
        if origin in _FORMS:
            return _FORMS[origin](self, args, sent)
        if kind in _ANY:
            return {}
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        return self._container(origin or kind, args, kind, sent=sent)

    def _container(
        self, base: Any, args: tuple[Any, ...], kind: Any, *, sent: bool
    ) -> Schema:
        if base is tuple:
            return self._tuple(args, sent=sent)
        if base in _SETS:
            return self._set(args, sent=sent)
        if base in _ARRAYS:
            return self._array(args, sent=sent)
        if base in _OBJECTS:
            return self._object(args, sent=sent)
        return self._class(base, kind, sent=sent)

    # Forms of typing.

    def _secret(self, args: tuple[Any, ...], sent: bool) -> Schema:
        inner = self._of(args[0], sent=sent) if args else dict(_TEXT)
        return described(inner, **{"x-secret" if sent else "writeOnly": True})

    def _union(self, args: tuple[Any, ...], sent: bool) -> Schema:
        options: list[Schema] = []
        for arg in args:
            option = {} if arg is UnsetType else self._of(arg, sent=sent)
            if not option and arg is not UnsetType:
                return {}
            options += [option] if option and option not in options else []
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _literal(self, args: tuple[Any, ...], sent: bool) -> Schema:
        return _choice(args)

    def _annotated(self, args: tuple[Any, ...], sent: bool) -> Schema:
        schema = self._of(args[0], sent=sent)
        for extra in args[1:]:
            more = _meta(extra, schema.get("type", ""))
            schema = described(schema, **more) if more else schema
        return schema

    def _array(self, args: tuple[Any, ...], *, sent: bool) -> Schema:
        inner = self._of(args[0], sent=sent) if args else {}
        return {"type": "array", "items": inner} if inner else {"type": "array"}

    def _tuple(self, args: tuple[Any, ...], *, sent: bool) -> Schema:
        if not args or args[-1] is Ellipsis:
            return self._array(args, sent=sent)
        items = [self._of(arg, sent=sent) for arg in args]
        return _fixed(items, len(items))

    def _set(self, args: tuple[Any, ...], *, sent: bool) -> Schema:
        array = {**self._array(args, sent=sent), "uniqueItems": True}
        wrapped = _wrapped("set", **{"$set": array})
        return wrapped if sent else {"anyOf": [array, wrapped]}

    def _object(self, args: tuple[Any, ...], *, sent: bool) -> Schema:
        schema: Schema = {"type": "object"}
        if args:
            names = self._of(args[0], sent=sent)
            if names.pop("type", "string") == "string" and names:
                schema["propertyNames"] = names
            inner = self._of(args[1], sent=sent)
            if inner:
                schema["additionalProperties"] = inner
        return schema

    # Classes.

    def _class(self, base: Any, kind: Any, *, sent: bool) -> Schema:
        if base in _NAMES:
            return {"type": _NAMES[base]}
        if base in _EXTENDED:
            return _extended(*_EXTENDED[base], sent=sent)
        if not isinstance(base, type):
            return {"title": str(base)}
        if issubclass(base, Enum):
            return _choice(member.value for member in base)
        if issubclass(base, msgspec.Struct):
            return self._reference(kind, sent=sent)
        return self._other_class(base, sent=sent)

    def _other_class(self, base: type, *, sent: bool) -> Schema:
        if dataclasses.is_dataclass(base) or typing.is_typeddict(base):
            return self._plain_fields(base, sent=sent)
        for plain, name in _NAMES.items():
            if issubclass(base, plain):
                return {"type": name}
        # A class that only its author knows has at least its name.
        return {"title": base.__name__}

    def _reference(self, kind: Any, *, sent: bool) -> Schema:
        known = kind in self._names
        if not known:
            self._names[kind] = self._name(kind)
        if not sent and kind not in self._accepted:
            self._accepted.add(kind)
            known = False
        if not known:
            self._struct(kind, sent=sent)  # meets the structs inside
        return {"$ref": f"{self._prefix}{self._names[kind]}"}

    def _name(self, kind: Any) -> str:
        """Name a component: by its class, with its module when that is taken."""
        base = origin_of(kind) or kind
        inside = "_".join(getattr(arg, "__name__", "") for arg in get_args(kind))
        name = re.sub(r"\W", "_", f"{base.__name__}{inside and f'_{inside}'}")
        if name in self._names.values():
            name = f"{base.__module__}.{name}"
        return name

    def _struct(self, kind: Any, *, sent: bool) -> Schema:
        config = (origin_of(kind) or kind).__struct_config__
        properties: dict[str, Schema] = {}
        required: list[str] = []
        if config.tag is not None:
            properties[config.tag_field] = {"const": config.tag}
            required.append(config.tag_field)
        for field in fields_of(kind):
            schema = self._of(field.type, sent=sent)
            if field.description:
                schema = described(schema, description=field.description)
            if field.required or (sent and not _may_be_absent(field, config)):
                required.append(field.name)
            elif not sent:
                schema = _with_default(schema, field.default, field.factory)
            properties[field.name] = schema
        base = {"title": (origin_of(kind) or kind).__name__}
        if doc := markdown(own_doc(kind)):
            base["description"] = doc
        if config.array_like:
            return base | _fixed(list(properties.values()), len(required))
        closed = sent or config.forbid_unknown_fields
        return base | _object_of(properties, required, closed=closed)

    def _plain_fields(self, kind: Any, *, sent: bool) -> Schema:
        hints = typing.get_type_hints(kind, include_extras=True)
        if dataclasses.is_dataclass(kind):
            missing = dataclasses.MISSING
            required = [
                f.name
                for f in dataclasses.fields(kind)
                if sent or (f.default is missing and f.default_factory is missing)
            ]
            hints = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
        else:
            required = [name for name in hints if name in kind.__required_keys__]
        properties = {name: self._of(hint, sent=sent) for name, hint in hints.items()}
        return {"title": kind.__name__} | _object_of(
            properties, required, closed=sent and dataclasses.is_dataclass(kind)
        )


_FORMS: dict[Any, Callable[[Schemas, tuple[Any, ...], bool], Schema]] = {
    Union: Schemas._union,
    UnionType: Schemas._union,
    Literal: Schemas._literal,
    Annotated: Schemas._annotated,
    ejson.Secret: Schemas._secret,
    typing.Required: lambda schemas, args, sent: schemas._of(args[0], sent=sent),
    typing.NotRequired: lambda schemas, args, sent: schemas._of(args[0], sent=sent),
}


def _meaning(kind: Any) -> Any:
    """Look behind new types, type variables and the aliases of Python 3.12."""
    if isinstance(kind, NewType):
        return _meaning(kind.__supertype__)
    if isinstance(kind, TypeVar):
        return _meaning(kind.__bound__ or Any)
    return _meaning(kind.__value__) if hasattr(kind, "__value__") else kind


def _extended(wrapped: Schema, form: str, *, sent: bool) -> Schema:
    if sent:
        return wrapped
    text = {"type": "string", "format": form} if form else _TEXT
    return {"anyOf": [wrapped, text]}


def _choice(values: Iterable[Any]) -> Schema:
    """Describe one of some values, with their type when they have one in common."""
    found = [ejson.to_wire(value) for value in values]
    kinds = {_NAMES.get(type(value)) for value in found}
    kind = kinds.pop() if len(kinds) == 1 else None
    return {**({"type": kind} if kind else {}), "enum": found}


def _fixed(items: list[Schema], required: int) -> Schema:
    return {
        "type": "array",
        "items": items,
        "additionalItems": False,
        "minItems": required,
        "maxItems": len(items),
    }


def _object_of(
    properties: dict[str, Schema], required: list[str], *, closed: bool
) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def _meta(extra: Any, kind: str) -> Schema:
    """Write the constraints and the words of an annotation."""
    if not isinstance(extra, Meta):
        return {}
    shortest, longest = _LENGTHS.get(kind, ("minLength", "maxLength"))
    names = {**_BOUNDS, "min_length": shortest, "max_length": longest}
    names |= {name: name for name in ("title", "description", "examples")}
    found = {
        keyword: value
        for name, keyword in names.items()
        if (value := getattr(extra, name)) is not None
        and not (isinstance(value, int) and abs(value) > _EXACT)
    }
    return found | (extra.extra_json_schema or {})


def _may_be_absent(field: Field, config: Any) -> bool:
    """Tell whether a struct may be sent without a field."""
    kind = field.type
    while origin_of(kind) is Annotated:
        kind = get_args(kind)[0]
    unset = field.default is msgspec.UNSET or UnsetType in get_args(kind)
    return unset or bool(config.omit_defaults)


def _with_default(schema: Schema, default: Any, factory: Any) -> Schema:
    if default is msgspec.NODEFAULT and factory in (list, dict):
        default = factory()
    if default in (msgspec.NODEFAULT, msgspec.UNSET):
        return schema
    return described(schema, default=wire_default(default))


def wire_default(default: Any) -> Any:
    """Give a default as a client would send it; a struct of defaults only is empty."""
    if isinstance(default, msgspec.Struct):
        with contextlib.suppress(TypeError):  # it has fields without a default
            if default == type(default)():
                return {}
    return ejson.to_wire(default)


# One schema that needs no other document


def _alone(describe: Callable[[Schemas], Schema]) -> Schema:
    schemas = Schemas("#/$defs/")
    schema = describe(schemas)
    components = schemas.components()
    return {**schema, "$defs": components} if components else schema


def params_schema(params: Params) -> list[Schema]:
    """Describe each param in order, with its name and whether it must be given."""
    found = []
    for name, kind, default in zip(
        params.names, params.types, params.defaults, strict=True
    ):
        required = default is msgspec.UNSET
        schema: Schema = {"_name_": name, "_required_": required}
        schema |= _alone(lambda schemas, kind=kind: schemas.accepted(kind))  # type: ignore[misc]  # bound at once
        if not required:
            schema["default"] = wire_default(default)
        found.append(schema)
    return found


def result_schema(kind: Any) -> Schema:
    """Describe what a method returns."""
    return _alone(lambda schemas: schemas.sent(kind))
