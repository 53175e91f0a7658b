"""Types, docstrings and tables as Markdown, for `generate`."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from middlewared import Date, Secret, ejson
from middlewared.docstrings import Field, fields_of, markdown, own_doc

__all__ = ["Structs", "table", "type_words"]

_PLAIN = {
    Any: "anything",
    msgspec.Raw: "anything",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    NoneType: "null",
    None: "null",
    dict: "object",
    list: "array",
    dt.datetime: "date",
    Date: "date",
}
_BOUNDS = (("ge", "at least"), ("gt", "over"), ("le", "at most"), ("lt", "under"))
#: A bound that says no more than that there are 64 bits.
_HUGE = 2**53


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", r"\|").replace("\n", " ") for cell in r] for r in lines)
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in cells)


def type_words(kind: Any) -> str:
    """Say a type in the words of JSON."""
    return Structs().words(kind)


class Structs:
    """Says types in words and remembers the structs among them, to describe below."""

    def __init__(self) -> None:
        self._found: dict[str, type[msgspec.Struct]] = {}

    def words(self, kind: Any) -> str:
        """Say a type in the words of JSON."""
        origin, args = get_origin(kind), get_args(kind)
        if kind in _PLAIN:
            return _PLAIN[kind]
        if isinstance(kind, type) and origin is None:
            return self._class(kind)
        words: Callable[[tuple[Any, ...]], str] = _ORIGINS[origin](self)
        return words(args)

    def _class(self, kind: type) -> str:
        if issubclass(kind, Enum):
            return " or ".join(f'`"{member.value}"`' for member in kind)
        if not issubclass(kind, msgspec.Struct):
            raise TypeError(f"{kind} has no words")
        if self._found.setdefault(kind.__name__, kind) is not kind:
            raise ValueError(f"two structs are called {kind.__name__}")
        return f"[`{kind.__name__}`](#{kind.__name__.lower()})"

    def union(self, args: tuple[Any, ...]) -> str:
        """Say that a value is one of several; what may be absent is said elsewhere."""
        found = [self.words(arg) for arg in args if arg is not msgspec.UnsetType]
        return "anything" if "anything" in found else " or ".join(dict.fromkeys(found))

    def literal(self, args: tuple[Any, ...]) -> str:
        """Say which values there are."""
        return " or ".join(f"`{ejson.encode(arg).decode()}`" for arg in args)

    def annotated(self, args: tuple[Any, ...]) -> str:
        """Say a type with its bounds."""
        bounds = [
            f"{words} {int(bound) if bound == int(bound) else bound}"
            for extra in args[1:]
            for name, words in _BOUNDS
            if (bound := getattr(extra, name, None)) is not None and bound < _HUGE
        ]
        kind = self.words(args[0])
        return f"{kind} ({', '.join(bounds)})" if bounds else kind

    def secret(self, args: tuple[Any, ...]) -> str:
        """Say that a value is not shown."""
        return f"{self.words(args[0])} (secret)"

    def array(self, args: tuple[Any, ...]) -> str:
        """Say what is in an array."""
        if len(args) > 1 and args[1] is not Ellipsis:
            return f"[{', '.join(map(self.words, args))}]"
        inner = self.words(args[0])
        return f"array of {f'({inner})' if ' or ' in inner else inner}"

    def set(self, args: tuple[Any, ...]) -> str:
        """Say what is in a set, and how sets look."""
        return f'`{{"$set": [...]}}` of {self.words(args[0])}'

    def object(self, args: tuple[Any, ...]) -> str:
        """Say what an object holds."""
        inner = self.words(args[1])
        return "object" if inner == "anything" else f"object of {inner}"

    def sections(self) -> Iterator[str]:
        """Describe the structs met so far, and those met while describing."""
        done: dict[str, str] = {}
        while left := [name for name in self._found if name not in done]:
            for name in left:
                done[name] = self._section(self._found[name])
        yield from (done[name] for name in sorted(done))

    def _section(self, kind: type[msgspec.Struct]) -> str:
        tag = kind.__struct_config__
        rows = [
            [f"`{f.name}`", self.words(f.type), _presence(f), f.description]
            for f in fields_of(kind)
        ]
        if tag.tag is not None:
            rows.insert(0, [f"`{tag.tag_field}`", f'`"{tag.tag}"`', "required", ""])
        head = ["key", "type", "default", "what it is"]
        if all(field.required for field in fields_of(kind)):
            head, rows = [*head[:2], head[3]], [[*row[:2], row[3]] for row in rows]
        doc = markdown(own_doc(kind))
        return f"### {kind.__name__}\n\n{doc}\n\n{table(head, rows)}"


def _presence(field: Field) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.UNSET:
        return "may be absent"
    if field.default is msgspec.NODEFAULT:
        return "optional"
    return f"`{ejson.encode(field.default).decode()}`"


_ORIGINS: dict[Any, Callable[[Structs], Callable[[tuple[Any, ...]], str]]] = {
    Union: lambda structs: structs.union,
    UnionType: lambda structs: structs.union,
    Literal: lambda structs: structs.literal,
    Annotated: lambda structs: structs.annotated,
    Secret: lambda structs: structs.secret,
    list: lambda structs: structs.array,
    tuple: lambda structs: structs.array,
    Sequence: lambda structs: structs.array,
    set: lambda structs: structs.set,
    frozenset: lambda structs: structs.set,
    dict: lambda structs: structs.object,
}
