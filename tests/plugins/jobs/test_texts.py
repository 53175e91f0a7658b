"""Texts of an author's objects: always there, always sendable."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_jobs.texts import sendable, sendable_repr


class Broken:
    """An object that fails whoever looks at it."""

    def __str__(self) -> str:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


@given(st.text(st.characters()))
def test_every_text_can_be_sent(text: str) -> None:
    """Whatever characters a text has, the encoder takes it; plain ones stay."""
    found = sendable(text)
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert found == text


@pytest.mark.parametrize("show", [sendable, sendable_repr])
def test_object_without_a_text_has_one(show: type[str]) -> None:
    """An object that raises is named by its class."""
    assert show(Broken())


def test_repr_is_what_python_shows() -> None:
    """The repr of a value is its own."""
    assert sendable_repr("a") == "'a'"
    assert sendable_repr(ValueError(1)) == "ValueError(1)"
