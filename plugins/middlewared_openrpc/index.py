"""The first page: every method and event, with a search that works without scripts."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from urllib.parse import quote

import msgspec

from middlewared.docstrings import summary
from middlewared_openrpc.markup import Html, join, tag
from middlewared_openrpc.prose import line
from middlewared_openrpc.visible import Visible

__all__ = ["Entry", "entries_of", "index", "matches"]


class Entry(msgspec.Struct, frozen=True):
    """A line of the index.

    Attributes:
        name: of the method or the collection.
        href: its page, from the index.
        words: what it does.
        marks: what one should know at a glance.
    """

    name: str
    href: str
    words: str
    marks: tuple[str, ...] = ()


def entries_of(visible: Visible) -> list[Entry]:
    """List what there is, methods first."""
    methods = [
        Entry(
            name,
            f"methods/{quote(name)}",
            summary(method.doc),
            ("job",) if method.deferred is not None else (),
        )
        for name, method in visible.methods.items()
    ]
    events = [
        Entry(name, f"events/{quote(name)}", summary(events.doc))
        for name, events in visible.events.items()
    ]
    return methods + events


def matches(entry: Entry, query: str) -> bool:
    """Tell whether every word of a query is in the name or the words of an entry."""
    text = f"{entry.name} {entry.words}".casefold()
    return all(word in text for word in query.casefold().split())


def index(visible: Visible, query: str, *, known: bool) -> Iterator[Html]:
    """Write what is in the index.

    Args:
        visible: what there is.
        query: what is searched for; empty for everything.
        known: whether somebody is logged in.
    """
    found = [entry for entry in entries_of(visible) if matches(entry, query)]
    yield tag("h1", "Reference")
    if not known:
        yield tag(
            "p",
            "This is what anybody may call. ",
            tag("a", "Log in", href="login"),
            " to see what you may call and watch.",
            class_="hint",
        )
    yield _search(query)
    yield tag("p", _count(len(found)), id="count", role="status")
    methods = [entry for entry in found if entry.href.startswith("methods/")]
    yield join(_part("Methods", "methods", methods))
    yield join(_part("Events", "events", found[len(methods) :]))
    yield tag(
        "p",
        "For programs: ",
        tag("a", "openrpc.json", href="openrpc.json"),
        " and ",
        tag("a", "asyncapi.json", href="asyncapi.json"),
        ".",
    )


def _count(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"


def _search(query: str) -> Html:
    return tag(
        "form",
        tag("label", "Search ", for_="query"),
        tag("input", id="query", name="q", type="search", value=query or None),
        tag("button", "Search", type="submit"),
        tag("span", " or press ", tag("kbd", "/"), class_="keys"),
        method="get",
        role="search",
    )


def _part(title: str, name: str, entries: Iterable[Entry]) -> Iterator[Html]:
    groups = groupby(entries, key=lambda entry: entry.name.rpartition(".")[0])
    lists = [_group(f"{name}-{space}", space, list(found)) for space, found in groups]
    if lists:
        yield tag("h2", title, id=name)
        yield join(lists)


def _group(anchor: str, space: str, entries: Iterable[Entry]) -> Html:
    return tag(
        "section",
        tag("h3", space, id=anchor),
        tag("ul", map(_entry, entries), class_="entries"),
        aria_labelledby=anchor,
        data_group=True,
    )


def _entry(entry: Entry) -> Html:
    return tag(
        "li",
        tag("a", tag("code", entry.name), href=entry.href),
        (tag("span", mark, class_="badge") for mark in entry.marks),
        tag("span", line(entry.words), class_="words"),
        data_entry=True,
    )
