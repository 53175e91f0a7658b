"""HTML, built from elements; text is escaped unless it is HTML already."""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

__all__ = ["Content", "Html", "join", "tag"]

_VOID = frozenset({"br", "hr", "input", "link", "meta"})


class Html(str):
    """Text that is HTML already, and may stand in a page as it is."""

    __slots__ = ()


Content: TypeAlias = "str | Iterable[Content] | None"
Attribute: TypeAlias = str | bool | None


def join(*parts: Content) -> Html:
    """Write contents one after the other; what is no `Html` is escaped."""
    return Html("".join(map(_written, parts)))


def _written(content: Content) -> str:
    match content:
        case None:
            return ""
        case Html():
            return content
        case str():
            return escape(content)
        case _:
            return join(*content)


def tag(name: str, /, *content: Content, **attributes: Attribute) -> Html:
    """Write an element.

    Args:
        name: of the element.
        content: what is in it.
        attributes: ``class_`` is class, ``aria_label`` is aria-label; True has no
            value, False and None are left out.
    """
    written = "".join(map(_attribute, attributes.items()))
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*content)}</{name}>")


def _attribute(pair: tuple[str, Attribute]) -> str:
    name, value = pair
    if value is None or value is False:
        return ""
    name = name.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'
