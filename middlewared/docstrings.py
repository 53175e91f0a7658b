"""Documentation as the code has it: the text of a docstring, the fields of a struct."""

import inspect
import re
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Meta

__all__ = ["Field", "fields_of", "markdown", "own_doc", "summary"]

_SECTIONS = re.compile(r"(?:^|\n\n)(?:Attributes|Args|Returns|Raises|Yields):\n")
_ATTRIBUTES = re.compile(r"(?:^|\n\n)Attributes:\n((?: .*\n?)+)")
_BORROWED = re.compile(r"the fields of `(\w+)`")


class Field(NamedTuple):
    """A field of a struct.

    Attributes:
        name: as the wire and the settings file have it.
        type: its annotation.
        default: its default, `msgspec.NODEFAULT` when there is none or a factory.
        factory: makes its default, `msgspec.NODEFAULT` when none does.
        required: has neither default nor factory.
        description: from its `Meta` or the docstring of the struct.
    """

    name: str
    type: Any
    default: Any
    factory: Any
    required: bool
    description: str


def own_doc(kind: Any) -> str:
    """Give the docstring of a class itself, not one that it inherits."""
    found = vars(get_origin(kind) or kind).get("__doc__")
    return inspect.cleandoc(found) if isinstance(found, str) else ""


def markdown(doc: str) -> str:
    """Turn a docstring's text, without its sections, into Markdown."""
    text = _SECTIONS.split(doc)[0].strip()
    text = text.replace("``", "`")
    return re.sub(r"(?<![*\w])\*(\w+)\*(?![*\w])", r"`\1`", text)


def summary(doc: str) -> str:
    """Give the first paragraph of a docstring as one line of Markdown."""
    return " ".join(markdown(doc).partition("\n\n")[0].split())


def fields_of(kind: Any) -> list[Field]:
    """List the fields of a struct, which may be generic, with their documentation.

    Those that it inherits are documented where they are declared.
    """
    docs: dict[str, str] = {}
    for base in reversed((get_origin(kind) or kind).__mro__):
        if base is not msgspec.Struct:
            docs |= _attribute_docs(base)
    return [
        Field(
            field.encode_name,
            field.type,
            field.default,
            field.default_factory,
            field.required,
            _meta_description(field.type) or docs.get(field.name, ""),
        )
        for field in msgspec.structs.fields(kind)
    ]


def _meta_description(kind: Any) -> str:
    for extra in get_args(kind)[1:] if get_origin(kind) is Annotated else ():
        if isinstance(extra, Meta) and extra.description:
            return extra.description
    return ""


def _attribute_docs(kind: type) -> dict[str, str]:
    """Read the Attributes section; of a struct that has none, the one it refers to."""
    doc = own_doc(kind)
    found = _ATTRIBUTES.search(doc)
    if found is None:
        other = _BORROWED.search(doc)
        named = other and getattr(inspect.getmodule(kind), other[1], None)
        return _attribute_docs(named) if named else {}
    entries = re.split(r"\n(?=    \w+: )", found[1].rstrip())
    pairs = (" ".join(entry.split()).partition(": ") for entry in entries)
    return {name: markdown(f"{text[:1].upper()}{text[1:]}") for name, _, text in pairs}
