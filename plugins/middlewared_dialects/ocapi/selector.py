"""The ``select`` language of OCAPI: which members of a document are wanted.

``(**)`` is everything, ``(*)`` what has no members of its own, ``(a,b.(c))`` these,
``(**,-a)`` all but one, ``a[0]``, ``a[0:4]`` and ``a[1,3]`` some of a list.
Selectors by a condition are not known here.
"""

import re
from typing import Any

import msgspec

__all__ = ["Selection", "SelectorError", "parse_selection"]

_TOKEN = re.compile(r"\*\*|[*(),.\-]|\[[^\[\]]*\]|\w+")
_INDEX = re.compile(r"\[(\d+(?::\d+)?(?:,\d+(?::\d+)?)*)\]")
MAX_DEPTH = 20
#: Members that describe a document are always in it.
_META = "_"


class SelectorError(ValueError):
    """A text is no selector."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no selector")


class Selection(msgspec.Struct):
    """What is wanted of one level.

    Attributes:
        everything: all members, whole.
        plain: members that have none of their own.
        members: of these, what of their content; None for the whole.
        indexes: of lists, by name of the member.
        without: names that are left out.
    """

    everything: bool = False
    plain: bool = False
    members: dict[str, "Selection | None"] = {}
    indexes: dict[str, list[slice]] = {}
    without: set[str] = set()

    def of(self, document: Any) -> Any:
        """Cut a document, or each of a list, down to what is wanted."""
        if isinstance(document, list):
            return [self.of(inner) for inner in document]
        if not isinstance(document, dict):
            return document
        return {
            name: self._member(name, value)
            for name, value in document.items()
            if self._wants(name, value)
        }

    def _wants(self, name: str, value: Any) -> bool:
        if name.startswith(_META):
            return True
        if name in self.without:
            return False
        plain = self.plain and not isinstance(value, (dict, list))
        return self.everything or plain or name in self.members

    def _member(self, name: str, value: Any) -> Any:
        if isinstance(value, list) and name in self.indexes:
            value = [one for part in self.indexes[name] for one in value[part]]
        inner = self.members.get(name)
        return value if inner is None else inner.of(value)


class _Reader:
    """Reads the tokens of a selector from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        compact = re.sub(r"\s+", "", text)
        self.tokens: list[str] = _TOKEN.findall(compact)
        if "".join(self.tokens) != compact:
            raise SelectorError(text)
        self.tokens.reverse()

    def next(self, expected: str | None = None) -> str:
        if not self.tokens:
            raise SelectorError(self.text)
        token = self.tokens.pop()
        if expected is not None and token != expected:
            raise SelectorError(self.text)
        return token

    def at(self, token: str) -> bool:
        return bool(self.tokens) and self.tokens[-1] == token

    def selection(self, depth: int = 0) -> Selection:
        if depth > MAX_DEPTH:
            raise SelectorError(self.text)
        self.next("(")
        found = Selection()
        while True:
            self.item(found, depth)
            if self.at(")"):
                self.next()
                return found
            self.next(",")

    def item(self, found: Selection, depth: int) -> None:
        match self.next():
            case "**":
                found.everything = True
            case "*":
                found.plain = True
            case "-":
                found.without.add(self.name(self.next()))
            case name:
                self.member(found, self.name(name), depth)

    def member(self, found: Selection, name: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise SelectorError(self.text)
        if self.tokens and self.tokens[-1].startswith("["):
            found.indexes[name] = _slices(self.next())
        if not self.at("."):
            found.members[name] = None
            return
        self.next()
        if self.at("("):
            found.members[name] = self.selection(depth + 1)
            return
        inner = Selection()
        self.item(inner, depth + 1)
        found.members[name] = inner

    def name(self, token: str) -> str:
        if not token[0].isalnum() and token[0] != "_":
            raise SelectorError(self.text)
        return token


def _slices(text: str) -> list[slice]:
    if not _INDEX.fullmatch(text):
        raise SelectorError(text)
    parts = []
    for part in text[1:-1].split(","):
        start, colon, end = part.partition(":")
        last = int(end) if colon else int(start)
        parts.append(slice(int(start), last + 1))
    return parts


def parse_selection(text: str) -> Selection:
    """Read a selector.

    Raises:
        SelectorError: it has another form, or asks by a condition.
    """
    reader = _Reader(text)
    found = reader.selection()
    if reader.tokens:
        raise SelectorError(text)
    return found
