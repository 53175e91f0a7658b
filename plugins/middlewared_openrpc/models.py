"""The messages of a collection as schemas: the models of its events."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from middlewared.docstrings import fields_of
from middlewared.errors import ErrorData
from middlewared.events import Collection, Message, Source
from middlewared.schema import Schema, Schemas, described

__all__ = [
    "MESSAGES",
    "Marks",
    "Model",
    "Unsubscribed",
    "event_models",
    "unsubscribed_model",
]


class Unsubscribed(msgspec.Struct):
    """A subscription has ended; none of its events follow.

    Attributes:
        collection: what was subscribed to, byte for byte.
        error: why it failed; null when it just ended.
    """

    collection: str
    error: ErrorData | None


class Marks(msgspec.Struct):
    """What an event says besides to subscriptions with options.

    Attributes:
        snapshot: it tells how the item is, and no news of it.
        seq: number of the event; ask for what is missed with it.
        epoch: names the database that counts.
        tag: the subscription's own.
    """

    snapshot: Literal[True] | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
    tag: str | UnsetType = UNSET


#: In the order in which they are described.
MESSAGES: tuple[Message, ...] = ("added", "changed", "removed")


class Model(msgspec.Struct, frozen=True):
    """One message of a collection.

    Attributes:
        name: of the model, ``CoreGetJobsAddedEvent``.
        method: of the notification that carries it.
        summary: when it is sent.
        params: schema of the notification's params.
    """

    name: str
    method: str
    summary: str
    params: Schema


def _camel(name: str) -> str:
    """Write ``core.get_jobs`` as ``CoreGetJobs``."""
    words = name.replace(".", "_").split("_")
    return "".join(word[:1].upper() + word[1:] for word in words)


def event_models(events: Collection | Source, schemas: Schemas) -> Iterator[Model]:
    """Describe each message of a collection, or of a source."""
    if isinstance(events, Source):
        yield _model(events, "added", schemas)
    else:
        for message in MESSAGES:
            yield _model(events, message, schemas)


def _model(events: Collection | Source, message: Message, schemas: Schemas) -> Model:
    noun = "item" if isinstance(events, Source) else events.noun
    name = f"{_camel(events.name)}{message.capitalize()}Event"
    summary = f"{_article(noun).capitalize()} {noun} was {message}."
    properties: dict[str, Any] = {"msg": {"type": "string", "const": message}}
    if isinstance(events, Source):
        properties["collection"] = _named(events.name)
    else:
        properties["collection"] = {"type": "string", "const": events.name}
        properties["id"] = described(
            _id_of(events.item, schemas),
            description=f"ID of the {noun} that was {message}.",
        )
    if message != "removed":
        properties["fields"] = described(
            schemas.sent(events.item), description=f"The whole {noun}, as it is now."
        )
    elif isinstance(events, Collection) and events.removed_on_request:
        summary += " Only for subscriptions with `removed`."
    required = list(properties)
    if isinstance(events, Collection):
        properties |= _marks(schemas)
    params = {
        "title": name,
        "description": summary,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return Model(name, "collection_update", summary, params)


def _marks(schemas: Schemas) -> dict[str, Schema]:
    return {
        field.name: described(schemas.sent(field.type), description=field.description)
        for field in fields_of(Marks)
    }


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _named(name: str) -> Schema:
    return {
        "type": "string",
        "pattern": f"^{name.replace('.', '[.]')}(:.*)?$",
        "description": "What was subscribed to, with its arguments, byte for byte.",
    }


def _id_of(item: type, schemas: Schemas) -> Schema:
    """Give the schema of an item's id: what its field says, if it has one."""
    kinds = [field.type for field in fields_of(item) if field.name == "id"]
    return schemas.sent(kinds[0] if kinds else int | str)


def unsubscribed_model(schemas: Schemas) -> Model:
    """Describe the message that ends the subscription of a source."""
    params = schemas.sent(Unsubscribed)
    return Model(
        "Unsubscribed",
        "notify_unsubscribed",
        "A subscription has ended.",
        params,
    )
