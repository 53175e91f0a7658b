"""Elements, and the escaping of what is in them."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_openrpc.markup import Html, join, tag


def test_elements_and_attributes() -> None:
    """Content may be text, elements, nothing, or any number of them."""
    found = tag("p", "a", None, [tag("b", "c"), "d"], class_="x", aria_label="y")
    assert found == '<p class="x" aria-label="y">a<b>c</b>d</p>'


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(True, "<p hidden></p>"), (False, "<p></p>"), (None, "<p></p>")],
)
def test_attributes_without_a_value(value: bool | None, wanted: str) -> None:
    """True stands alone, false and nothing are left out."""
    assert tag("p", hidden=value) == wanted


def test_void_elements_have_no_end() -> None:
    """An input holds nothing."""
    assert tag("input", name="q", type="text") == '<input name="q" type="text">'


def test_html_is_not_escaped_again() -> None:
    """What is HTML already stands as it is, anything else does not."""
    assert join(Html("<b>"), "<b>") == "<b>&lt;b&gt;"


class Reader(HTMLParser):
    """Reads back what a browser would."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.title: str | None = None
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.title = dict(attrs).get("title")

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(st.characters(exclude_characters="\r\0"), min_size=1))
def test_any_text_comes_back(text: str) -> None:
    """No text leaves its element, nor its attribute."""
    found = Reader(tag("p", text, title=text))
    assert (found.text, found.title, found.tags) == (text, text, ["p"])
