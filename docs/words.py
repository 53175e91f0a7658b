"""Types and tables as Markdown, for `generate`."""

from collections.abc import Iterator, Sequence
from typing import Any

from middlewared import ejson
from middlewared.docstrings import markdown
from middlewared.schema import Schema, Schemas
from middlewared_openrpc.words import Style, type_words

__all__ = ["Objects", "json_text", "setting_words", "table"]

STYLE = Style(
    link=lambda name: f"[`{name}`](#{name.lower()})",
    code=lambda value: f"`{value}`",
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", r"\|").replace("\n", " ") for cell in r] for r in lines)
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in cells)


def json_text(value: Any) -> str:
    """Write a value as the wire has it."""
    return ejson.encode(value).decode()


def setting_words(kind: Any) -> str:
    """Say the type of a setting in the words of JSON."""
    return type_words(Schemas().accepted(kind), STYLE)


class Objects:
    """Says types in words and remembers the structs among them, to describe below."""

    def __init__(self) -> None:
        self._schemas = Schemas()

    def accepted(self, kind: Any) -> str:
        """Say what a client may send."""
        return type_words(self._schemas.accepted(kind), STYLE)

    def sent(self, kind: Any) -> str:
        """Say what the server sends."""
        return type_words(self._schemas.sent(kind), STYLE)

    def sections(self) -> Iterator[str]:
        """Describe the structs met so far, and those inside them."""
        for name, schema in self._schemas.components().items():
            yield f"### {name}"
            yield markdown(schema.get("description", ""))
            yield _fields(schema)


def _fields(schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [
        [
            f"`{name}`",
            type_words(field, STYLE),
            _presence(field, required=name in required),
            field.get("description", ""),
        ]
        for name, field in schema["properties"].items()
    ]
    head = ["key", "type", "default", "what it is"]
    if len(required) == len(rows):
        head, rows = [*head[:2], head[3]], [[*row[:2], row[3]] for row in rows]
    return table(head, rows)


def _presence(field: Schema, *, required: bool) -> str:
    if required:
        return "required"
    return f"`{json_text(field['default'])}`" if "default" in field else "may be absent"
