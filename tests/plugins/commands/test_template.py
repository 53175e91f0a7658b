"""Templates: what is a slot, what is a brace, and that values are never read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_commands.template import Slot, Template, TemplateError


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{a}", (Slot("a"),)),
        ("x{a}y{b}", ("x", Slot("a"), "y", Slot("b"))),
        ("{a}{b}", (Slot("a"), Slot("b"))),
        ("{{print $1}}", ("{print $1}",)),
        ("a{{{b}}}c", ("a{", Slot("b"), "}c")),
    ],
)
def test_pieces(text: str, pieces: tuple[object, ...]) -> None:
    """A text is taken apart into literals and slots."""
    assert Template.parse(text).pieces == pieces


@pytest.mark.parametrize(
    "text",
    [
        *("{", "}", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a b}"),
        *("{print $1}", "x\0y"),
    ],
)
def test_no_template(text: str) -> None:
    """Whatever is more than a name in braces is refused."""
    with pytest.raises(TemplateError):
        Template.parse(text)


def test_what_it_tells() -> None:
    """Names, the lone slot, the literal beginning, and what may begin the text."""
    found = Template.parse("-o{a}{b}")
    assert (found.names, found.only, found.prefix) == (("a", "b"), None, "-o")
    assert found.leading == ()
    found = Template.parse("{a}{b}x{c}")
    assert (found.only, found.prefix, found.leading) == (None, "", ("a", "b"))
    assert Template.parse("{a}").only == "a"
    assert Template.parse("").prefix == ""


@given(st.text(), st.text(), st.text(alphabet="{}ab"))
def test_values_are_not_read(one: str, two: str, braces: str) -> None:
    """A value with braces, or with the name of a slot, stays what it is."""
    template = Template.parse("<{a}|{b}>")
    assert template.fill({"a": one, "b": two}) == f"<{one}|{two}>"
    assert template.fill({"a": braces, "b": "{a}"}) == f"<{braces}|{{a}}>"


@given(st.text(alphabet=st.characters(exclude_characters="\0")))
def test_braces_are_written_twice(text: str) -> None:
    """Any text can be written as a literal."""
    written = text.replace("{", "{{").replace("}", "}}")
    assert Template.parse(written).fill({}) == text
