"""A schema in words: ``array of integer``, ``string or null``."""

from collections.abc import Callable
from typing import NamedTuple

from middlewared import ejson
from middlewared.schema import Schema

__all__ = ["Style", "may_be_null", "name_of", "type_words"]

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "over",
    "maximum": "at most",
    "exclusiveMaximum": "under",
    "multipleOf": "a multiple of",
    "minLength": "at least this long:",
    "maxLength": "at most this long:",
    "minItems": "at least this many:",
    "maxItems": "at most this many:",
}
ANYTHING = "anything"


class Style(NamedTuple):
    """How words are written.

    Attributes:
        link: writes the name of a component, as a link to it.
        code: writes a value.
    """

    link: Callable[[str], str]
    code: Callable[[str], str]


def name_of(schema: Schema) -> str | None:
    """Give the name of the component that a schema refers to, if it does."""
    while "allOf" in schema:
        schema = schema["allOf"][0]
    reference = schema.get("$ref")
    return None if reference is None else str(reference).rpartition("/")[2]


def may_be_null(schema: Schema) -> bool:
    """Tell whether a schema lets null pass, besides other values."""
    return any(option.get("type") == "null" for option in schema.get("anyOf", ()))


def type_words(schema: Schema, style: Style) -> str:
    """Say what values a schema lets pass."""
    name = name_of(schema)
    if name is not None:
        return style.link(name)
    words = _plain_words(schema, style)
    if "x-secret" in schema or "writeOnly" in schema:
        words += " (secret)"
    return words


def _plain_words(schema: Schema, style: Style) -> str:
    form = next((form for form in _FORMS if form in schema), None)
    if form is None:
        return _TYPES.get(schema.get("type"), _scalar)(schema, style)
    return _FORMS[form](schema, style)


def _json(value: object) -> str:
    return ejson.encode(value).decode()


def _options(schema: Schema, style: Style) -> str:
    found = dict.fromkeys(type_words(option, style) for option in schema["anyOf"])
    return ANYTHING if ANYTHING in found else " or ".join(found)


def _values(schema: Schema, style: Style) -> str:
    return " or ".join(style.code(_json(value)) for value in schema["enum"])


def _constant(schema: Schema, style: Style) -> str:
    return style.code(_json(schema["const"]))


def _scalar(schema: Schema, style: Style) -> str:
    return str(schema.get("type", schema.get("title", ANYTHING))) + _bounds(schema)


def _bounds(schema: Schema) -> str:
    bounds = [schema["format"]] if "format" in schema else []
    bounds += [
        f"{words} {bound:g}" if isinstance(bound, float) else f"{words} {bound}"
        for key, words in _BOUNDS.items()
        if (bound := schema.get(key)) is not None
    ]
    return f" ({', '.join(bounds)})" if bounds else ""


def _array(schema: Schema, style: Style) -> str:
    items = schema.get("items", {})
    if isinstance(items, list):
        return f"[{', '.join(type_words(item, style) for item in items)}]"
    inner = type_words(items, style)
    inner = f"({inner})" if " or " in inner else inner
    return f"array of {inner}{_bounds(schema)}" if items else f"array{_bounds(schema)}"


def _object(schema: Schema, style: Style) -> str:
    inside = schema.get("properties", {}).get("$set")
    if inside is not None:
        return _array(inside, style).replace("array", "set", 1)
    if "title" in schema:
        return str(schema["title"])
    values = schema.get("additionalProperties")
    return f"object of {type_words(values, style)}" if values else "object"


_FORMS: dict[str, Callable[[Schema, Style], str]] = {
    "anyOf": _options,
    "const": _constant,
    "enum": _values,
}
_TYPES: dict[str | None, Callable[[Schema, Style], str]] = {
    "array": _array,
    "object": _object,
}
