"""Docstrings as HTML: paragraphs, lists, code."""

import re
from collections.abc import Iterator

from middlewared.docstrings import markdown
from middlewared_openrpc.markup import Html, join, tag

__all__ = ["line", "prose"]

_CODE = re.compile(r"`([^`]+)`")
_ITEM = re.compile(r"^[-*] ", re.MULTILINE)


def line(text: str) -> Html:
    """Write a line of Markdown: what stands in backticks is code."""
    parts = _CODE.split(text)
    return join(
        tag("code", part) if number % 2 else part for number, part in enumerate(parts)
    )


def prose(doc: str) -> Html:
    """Write a docstring, without its sections."""
    return join(_blocks(markdown(doc)))


def _blocks(text: str) -> Iterator[Html]:
    for block in filter(None, text.split("\n\n")):
        before, *items = _ITEM.split(block)
        if before.strip():
            yield tag("p", line(" ".join(before.split())))
        if items:
            yield tag("ul", (tag("li", line(" ".join(i.split()))) for i in items))
