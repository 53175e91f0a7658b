"""Schemas in words."""

import datetime as dt
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from middlewared import Date, Secret
from middlewared.schema import Schemas
from middlewared_openrpc.words import Style, may_be_null, name_of, type_words

STYLE = Style(link=lambda name: f"[{name}]", code=lambda value: f"`{value}`")


class Item(msgspec.Struct):
    id: int


class Foreign:
    """A class that only its author knows."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Any, "anything"),
        (msgspec.Raw, "anything"),
        (int, "integer"),
        (None, "null"),
        (str | None, "string or null"),
        (int | Any, "anything"),
        (Literal["a", 1], '`"a"` or `1`'),
        (list[int], "array of integer"),
        (list[int | None], "array of (integer or null)"),
        (list, "array"),
        (tuple[int, str], "[integer, string]"),
        (set[str], "set of string"),
        (dict[str, Any], "object"),
        (dict[str, list[int]], "object of array of integer"),
        (Item, "[Item]"),
        (Item | None, "[Item] or null"),
        (Annotated[Item, Meta(description="It.")], "[Item]"),
        (Date, "date"),
        (dt.date, "day"),
        (Secret[str], "string (secret)"),
        (Secret[int] | None, "integer (secret) or null"),
        (Foreign, "Foreign"),
        (Annotated[int, Meta(ge=1, le=9)], "integer (at least 1, at most 9)"),
        (Annotated[float, Meta(gt=0.5)], "number (over 0.5)"),
        (Annotated[str, Meta(max_length=3)], "string (at most this long: 3)"),
        (
            Annotated[list[int], Meta(min_length=1)],
            "array of integer (at least this many: 1)",
        ),
    ],
)
def test_words_of_what_is_sent(kind: Any, words: str) -> None:
    """Each kind is said in the words of JSON."""
    assert type_words(Schemas().sent(kind), STYLE) == words


def test_words_of_what_is_accepted() -> None:
    """Other forms that are accepted are said, too."""
    accepted = Schemas().accepted
    assert type_words(accepted(dt.datetime), STYLE) == "date or string (date-time)"
    assert type_words(accepted(Secret[str]), STYLE) == "string (secret)"


def test_name_of_a_reference() -> None:
    """A reference has a name, with words beside it or not."""
    assert name_of({"$ref": "#/components/schemas/Item"}) == "Item"
    assert name_of({"allOf": [{"$ref": "#/x/Item"}], "description": "It."}) == "Item"
    assert name_of({"type": "object"}) is None


def test_null_beside_others() -> None:
    """A value that may also be null."""
    assert may_be_null(Schemas().sent(int | None))
    assert not may_be_null(Schemas().sent(int))
