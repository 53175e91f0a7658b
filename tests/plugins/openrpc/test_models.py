"""The messages of collections as schemas."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator

from middlewared import Access
from middlewared.events import Collection, Event, Source
from middlewared.schema import Schemas
from middlewared_openrpc.models import MESSAGES, event_models, unsubscribed_model


class Note(msgspec.Struct):
    """A note."""

    id: str
    text: str


class Line(msgspec.Struct):
    """A line without an id."""

    text: str


class Nothing(msgspec.Struct):
    """No arguments."""


async def stream(ctx: Any, arguments: Any) -> AsyncIterator[Line]:
    """Send a line."""
    yield Line("a")


NOTES = Collection("my_notes.all", Note, Access(), "On changes.", noun="note")
LINES = Source("my.lines", stream, Nothing, Line, Access(), "Lines.")


def validator(params: dict[str, Any], schemas: Schemas) -> Draft7Validator:
    whole = {**params, "components": {"schemas": schemas.components()}}
    Draft7Validator.check_schema(whole)
    return Draft7Validator(whole)


def test_names_and_words() -> None:
    """A model is named after collection and message, and speaks of its noun."""
    found = list(event_models(NOTES, Schemas()))
    assert [model.name for model in found] == [
        "MyNotesAllAddedEvent",
        "MyNotesAllChangedEvent",
        "MyNotesAllRemovedEvent",
    ]
    assert found[0].summary == "A note was added."
    id_words = found[0].params["properties"]["id"]["description"]
    assert id_words == "ID of the note that was added."


@pytest.mark.parametrize("number", range(3))
def test_events_fit_their_models(number: int) -> None:
    """What the bus sends is what the model of the message lets pass, alone."""
    schemas = Schemas()
    models = list(event_models(NOTES, schemas))
    fields = msgspec.json.encode(Note("a", "b"))
    message = MESSAGES[number]
    event = Event(NOTES.name, message, "a", None if message == "removed" else fields)
    frame = event._build(event.fields)
    sent = msgspec.json.decode(frame[frame.index(b"{") :])["params"]
    for place, model in enumerate(models):
        assert validator(model.params, schemas).is_valid(sent) is (place == number)


def test_item_without_id() -> None:
    """Then an id may be a number or a text."""
    lines = Collection("lines", Line, Access(), "Lines.")
    model = next(event_models(lines, Schemas()))
    assert model.summary == "An item was added."
    assert model.params["properties"]["id"]["anyOf"] == [
        {"type": "integer"},
        {"type": "string"},
    ]


def test_messages_on_request() -> None:
    """A message that only some get says so."""
    quiet = Collection(
        "lines", Line, Access(), "Lines.", removed_on_request=True, noun="line"
    )
    *_, removed = event_models(quiet, Schemas())
    assert removed.summary == (
        "A line was removed. Only for subscriptions with `removed`."
    )


def test_source() -> None:
    """A source adds items, under the name it was subscribed to, and ends."""
    schemas = Schemas()
    (model,) = event_models(LINES, schemas)
    check = validator(model.params, schemas)
    sent = {"msg": "added", "fields": {"text": "a"}}
    assert check.is_valid({**sent, "collection": "my.lines"})
    assert check.is_valid({**sent, "collection": 'my.lines:{"a":1}'})
    assert not check.is_valid({**sent, "collection": "my_lines"})
    end = unsubscribed_model(schemas)
    assert end.method == "notify_unsubscribed"
    check = validator(end.params, schemas)
    assert check.is_valid({"collection": "my.lines", "error": None})
