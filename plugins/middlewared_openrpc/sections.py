"""Schemas as parts of a page: lists of fields, and the objects they speak of."""

from collections.abc import Iterable, Iterator, Mapping

from middlewared import ejson
from middlewared.schema import Schema
from middlewared_openrpc.markup import Html, join, tag
from middlewared_openrpc.prose import line
from middlewared_openrpc.words import Style, may_be_null, name_of, type_words

__all__ = ["fields", "model", "needed_by", "objects", "words"]


def _link(name: str) -> Html:
    return tag("a", tag("code", name), href=f"#{name}")


STYLE = Style(link=_link, code=lambda value: tag("code", value))


def words(schema: Schema) -> Html:
    """Say what values a schema lets pass, with links to the objects."""
    return Html(type_words(schema, STYLE))


def fields(properties: Mapping[str, Schema], required: Iterable[str]) -> Html:
    """List fields, each with its type, whether it must be there, and its words."""
    needed = frozenset(required)
    rows = (_field(n, s, required=n in needed) for n, s in properties.items())
    return tag("dl", rows, class_="fields")


def _field(name: str, schema: Schema, *, required: bool) -> Html:
    mark = None if required else tag("span", "optional", class_="badge")
    head = tag(
        "dt", tag("code", name), " ", tag("span", words(schema), class_="type"), mark
    )
    return join(head, tag("dd", _details(schema)))


def _details(schema: Schema) -> Iterator[Html]:
    if description := schema.get("description"):
        yield tag("p", line(description))
    if may_be_null(schema):
        yield tag("p", "May be ", tag("code", "null"), ".", class_="rule")
    if "default" in schema:
        value = ejson.encode(schema["default"]).decode()
        yield tag("p", "Default: ", tag("code", value), class_="rule")


def model(name: str, schema: Schema, *, level: int = 3) -> Html:
    """Describe an object under a heading that links lead to."""
    parts = [
        tag(f"h{level}", tag("code", name), id=name),
        tag("p", "Type: ", tag("span", schema["type"], class_="type"), class_="rule"),
    ]
    if schema.get("additionalProperties") is False:
        parts.append(tag("p", "No Additional Properties", class_="rule"))
    if description := schema.get("description"):
        parts += [tag("p", line(text)) for text in description.split("\n\n")]
    if properties := schema.get("properties"):
        parts.append(fields(properties, schema.get("required", ())))
    return tag("section", parts, class_="model", aria_labelledby=name)


def needed_by(schemas: Iterable[Schema], components: Mapping[str, Schema]) -> list[str]:
    """Name the components that schemas refer to, in the order one meets them."""
    found: dict[str, None] = {}
    for schema in schemas:
        _meet(schema, components, found)
    return list(found)


def _meet(
    schema: object, components: Mapping[str, Schema], found: dict[str, None]
) -> None:
    if isinstance(schema, list):
        for item in schema:
            _meet(item, components, found)
    elif isinstance(schema, dict):
        name = name_of(schema)
        if name is not None and name not in found:
            found[name] = None
            _meet(components[name], components, found)
        for value in schema.values():
            _meet(value, components, found)


def objects(schemas: Iterable[Schema], components: Mapping[str, Schema]) -> Html:
    """Describe every object that schemas speak of."""
    return join(model(n, components[n]) for n in needed_by(schemas, components))
