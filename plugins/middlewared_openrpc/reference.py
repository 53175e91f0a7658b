"""The page of one method, and of one collection of events."""

from collections.abc import Iterator
from typing import Any

import msgspec

from middlewared import ejson
from middlewared.access import Access
from middlewared.docstrings import fields_of, own_doc, summary
from middlewared.events import Collection, Source
from middlewared.plugin import Example, Method
from middlewared.schema import Schema, Schemas
from middlewared_openrpc.markup import Html, join, tag
from middlewared_openrpc.models import event_models, unsubscribed_model
from middlewared_openrpc.openrpc import errors_of, job_traits
from middlewared_openrpc.prose import line, prose
from middlewared_openrpc.sections import fields, model, objects, words
from middlewared_openrpc.words import name_of

__all__ = ["event_page", "method_page"]


def method_page(method: Method) -> Iterator[Html]:
    """Write what is in the page of a method."""
    schemas = Schemas()
    params = method.params
    accepted = {
        name: schemas.accepted_param(kind, default)
        for name, kind, default in zip(
            params.names, params.types, params.defaults, strict=True
        )
    }
    given = [
        name
        for name, default in zip(params.names, params.defaults, strict=True)
        if default is msgspec.UNSET
    ]
    result = schemas.sent(method.results.kind)
    yield tag("h1", tag("code", method.name))
    yield prose(method.doc)
    yield _roles(method.access)
    yield tag("h2", "Params", id="params")
    if accepted:
        yield tag("p", "By position, in this order, or by name.")
        yield fields(accepted, given)
    else:
        yield tag("p", "None.")
    yield tag("h2", "Result", id="result")
    yield tag("p", tag("span", words(result), class_="type"))
    yield _job(method)
    yield _errors(method)
    yield _examples(method)
    yield _objects([*accepted.values(), result], schemas.components())


def event_page(events: Collection | Source) -> Iterator[Html]:
    """Write what is in the page of a collection."""
    schemas = Schemas()
    models = list(event_models(events, schemas))
    yield tag("h1", tag("code", events.name))
    yield prose(events.doc)
    yield _roles(events.access)
    yield tag("h2", "Subscribe", id="subscribe")
    arguments: Schema = {}
    if isinstance(events, Source):
        arguments = schemas.accepted(events.arguments)
        yield tag("p", "Takes arguments as JSON after a colon: ", words(arguments), ".")
        models.append(unsubscribed_model(schemas))
    yield _frame("core.subscribe", [_subscribed(events)])
    yield tag("h2", "Messages", id="messages")
    components = schemas.components()
    wholes = [
        components.pop(one.name) if name_of(one.params) else one.params
        for one in models
    ]
    carrier = ""
    for one, whole in zip(models, wholes, strict=True):
        if one.method != carrier:
            carrier = one.method
            yield tag("p", "Params of ", tag("code", carrier), ":")
        yield model(one.name, whole)
    yield _objects([arguments, *wholes], components)


def _subscribed(events: Collection | Source) -> str:
    if isinstance(events, Collection):
        return events.name
    required = [f.name for f in fields_of(events.arguments) if f.required]
    arguments = ejson.encode(dict.fromkeys(required, 1)).decode()
    return f"{events.name}:{arguments}"


def _objects(described: list[Schema], components: dict[str, Schema]) -> Html:
    found = objects(described, components)
    return join(tag("h2", "Objects", id="objects"), found) if found else join()


def _roles(access: Access) -> Html:
    return tag(
        "p",
        tag("strong", "Required roles: "),
        line(str(access)),
        class_="roles",
    )


# Jobs


def _job(method: Method) -> Html:
    traits = job_traits(method)
    if traits is None or method.deferred is None:
        return join()
    docs = {}
    if method.deferred.spec is not None:
        docs = {f.name: f.description for f in fields_of(type(method.deferred.spec))}
    rows = (
        tag(
            "tr",
            tag("th", tag("code", name), scope="row"),
            tag("td", tag("code", _text(value))),
            tag("td", line(docs.get(name, ""))),
        )
        for name, value in traits.items()
        if value
    )
    head = tag("tr", (tag("th", t, scope="col") for t in ("trait", "value", "meaning")))
    return join(
        tag("h2", "Job", id="job"),
        tag(
            "p",
            "Its calls are jobs: they outlive the connection. "
            "What is not listed is off, or empty.",
        ),
        tag("div", tag("table", tag("thead", head), tag("tbody", rows)), class_="wide"),
    )


def _text(value: Any) -> str:
    return ejson.encode(value).decode()


# Errors


def _errors(method: Method) -> Html:
    rows = (
        tag(
            "tr",
            tag("th", tag("code", str(kind.code)), scope="row"),
            tag("td", tag("code", name)),
            tag("td", line(summary(own_doc(kind)))),
        )
        for name, kind in errors_of(method)
    )
    head = tag("tr", (tag("th", t, scope="col") for t in ("code", "name", "when")))
    return join(
        tag("h2", "Errors", id="errors"),
        tag("div", tag("table", tag("thead", head), tag("tbody", rows)), class_="wide"),
    )


# Examples


def _examples(method: Method) -> Html:
    if not method.examples:
        return join()
    shown = (_example(example, method) for example in method.examples)
    return join(tag("h2", "Examples", id="examples"), shown)


def _example(example: Example, method: Method) -> Html:
    answer = (
        join()
        if example.result is msgspec.UNSET
        else _frame_text({"jsonrpc": "2.0", "result": example.result, "id": 1})
    )
    return tag(
        "section",
        tag("h3", example.name[:1].upper() + example.name[1:]),
        _frame(method.name, example.params),
        answer,
    )


def _frame(method: str, params: Any) -> Html:
    return _frame_text({"jsonrpc": "2.0", "method": method, "params": params, "id": 1})


def _frame_text(frame: Any) -> Html:
    return tag("pre", tag("code", _text(frame)), tabindex="0")
