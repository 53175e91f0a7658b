"""Docstrings as documentation: their text, and what they say of fields."""

from typing import Annotated, Generic, TypeVar

import msgspec
import pytest
from msgspec import Meta

from middlewared.docstrings import fields_of, markdown, own_doc, summary

T = TypeVar("T")

DOC = """Scrub *pool*, as ``pool.scrub`` does.

It takes a *while*, **really**.

Attributes:
    a: nothing.
"""


class Scrub(msgspec.Struct, rename={"class_": "class"}):
    """A scrub.

    Attributes:
        class_: which one,
            in two lines.
        pool: not what is shown: ``Meta`` wins.
    """

    class_: str
    pool: Annotated[str, Meta(description="Which pool.")] = "tank"
    blocks: list[int] = []
    other: int | None = None


class Shown(msgspec.Struct):
    """A scrub as clients see it; the fields of `Scrub`."""

    pool: str
    class_: str


class Lost(msgspec.Struct):
    """It has the fields of `Nothing`, which is not there."""

    a: int


class Heir(Scrub):
    """A scrub with more.

    Attributes:
        depth: how deep it goes.
    """

    depth: int = 0


class Bare(msgspec.Struct, Generic[T]):
    a: T


def test_markdown_is_the_text_without_sections() -> None:
    """Code and parameters are in backticks, emphasis stays."""
    assert markdown(DOC) == (
        "Scrub `pool`, as `pool.scrub` does.\n\nIt takes a `while`, **really**."
    )
    assert markdown("Attributes:\n    a: b") == ""


def test_summary_is_one_line() -> None:
    """The first paragraph, whatever lines it was written in."""
    assert summary("One\nline.\n\nMore.") == "One line."
    assert summary("") == ""


def test_fields() -> None:
    """Each field has its name on the wire, its default and its words."""
    found = {field.name: field for field in fields_of(Scrub)}
    assert list(found) == ["class", "pool", "blocks", "other"]
    assert found["class"].description == "Which one, in two lines."
    assert found["class"].required
    assert found["pool"].description == "Which pool."
    assert found["pool"].default == "tank"
    assert found["blocks"].factory is list
    assert found["other"].default is None
    assert found["other"].description == ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Shown, ["Not what is shown: `Meta` wins.", "Which one, in two lines."])],
)
def test_fields_of_another(kind: type, words: list[str]) -> None:
    """A struct without a section may name the one whose words it shares."""
    assert [field.description for field in fields_of(kind)] == words


@pytest.mark.parametrize("kind", [Lost, Bare, Bare[int]])
def test_fields_without_words(kind: type) -> None:
    """Whoever says nothing has no description, and nothing of the base class."""
    (field,) = fields_of(kind)
    assert field.description == ""


def test_inherited_fields_keep_their_words() -> None:
    """A field is documented where it is declared."""
    words = {field.name: field.description for field in fields_of(Heir)}
    assert words["class"] == "Which one, in two lines."
    assert words["depth"] == "How deep it goes."


def test_own_doc() -> None:
    """A docstring is the class's own, also of a generic one."""
    assert own_doc(Bare) == own_doc(Bare[int]) == ""
    assert own_doc(Lost).startswith("It has")
