"""The AsyncAPI document of the events (AsyncAPI 3.1)."""

from collections.abc import Iterable
from typing import Any

from middlewared.docstrings import markdown, summary
from middlewared.events import Collection, Source
from middlewared.schema import Schema, Schemas
from middlewared.server import SOCKET_PATHS
from middlewared_openrpc.models import Model, event_models, unsubscribed_model
from middlewared_openrpc.openrpc import ABOUT
from middlewared_openrpc.place import Place
from middlewared_openrpc.visible import Visible

__all__ = ["asyncapi_at", "asyncapi_document"]

ASYNCAPI = "3.1.0"
_EVENTS = """Notifications that the server sends over the WebSocket of the calls.

A client subscribes with `core.subscribe`, as `x-subscribe` shows, and then gets the
messages of the collection, as far as its login may see the items."""


def asyncapi_document(visible: Visible) -> Schema:
    """Describe the events that somebody may watch."""
    schemas = Schemas()
    end = [unsubscribed_model(schemas)] if visible.sources else []
    models = list(end)
    operations = {}
    for name, events in visible.events.items():
        own = list(event_models(events, schemas))
        models += own
        ending = end if isinstance(events, Source) else []
        operations[name.replace(".", "_")] = _operation(
            events, [*own, *ending], schemas
        )
    return {
        "asyncapi": ASYNCAPI,
        "info": {**ABOUT, "description": _EVENTS},
        "defaultContentType": "application/json",
        "channels": {"current": _channel(models)},
        "operations": operations,
        "components": {
            "messages": {model.name: _message(model) for model in models},
            "schemas": schemas.components(),
        },
    }


def asyncapi_at(document: Schema, place: Place) -> Schema:
    """Say in a document where a caller finds the server."""
    channel = {**document["channels"]["current"], "address": place.path}
    return {
        **document,
        "servers": {"current": {"host": place.host, "protocol": place.protocol}},
        "channels": {"current": channel},
    }


def _channel(models: Iterable[Model]) -> Schema:
    return {
        "address": SOCKET_PATHS[0],
        "description": "The socket of calls and events.",
        "messages": {
            model.name: {"$ref": f"#/components/messages/{model.name}"}
            for model in models
        },
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }


def _operation(
    events: Collection | Source, models: Iterable[Model], schemas: Schemas
) -> Schema:
    name, arguments = events.name, {}
    if isinstance(events, Source):
        arguments["x-arguments"] = schemas.accepted(events.arguments)
    subscribed = f"{name}:{{...}}" if arguments else name
    return {
        "action": "send",
        "channel": {"$ref": "#/channels/current"},
        "title": name,
        "summary": summary(events.doc),
        "description": markdown(events.doc),
        "tags": [{"name": name.rpartition(".")[0]}],
        "messages": [
            {"$ref": f"#/channels/current/messages/{model.name}"} for model in models
        ],
        "x-access": str(events.access),
        "x-roles": sorted(events.access.roles),
        "x-subscribe": {"method": "core.subscribe", "params": [subscribed]},
        **arguments,
    }


def _message(model: Model) -> Schema:
    payload: dict[str, Any] = {
        "type": "object",
        "properties": {
            "jsonrpc": {"type": "string", "const": "2.0"},
            "method": {"type": "string", "const": model.method},
            "params": model.params,
        },
        "required": ["jsonrpc", "method", "params"],
        "additionalProperties": False,
    }
    return {
        "name": model.name,
        "title": model.name,
        "summary": model.summary,
        "contentType": "application/json",
        "payload": payload,
    }
