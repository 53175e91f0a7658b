"""The select language: what is wanted of a document."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_dialects.ocapi.selector import SelectorError, parse_selection

DOCUMENT = {
    "_v": "17.2",
    "a": 1,
    "b": {"_type": "x", "c": 2, "d": {"e": 3}},
    "l": [{"n": 0, "m": 9}, {"n": 1}, {"n": 2}, {"n": 3}],
}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("(**)", DOCUMENT),
        ("(*)", {"_v": "17.2", "a": 1}),
        ("(a)", {"_v": "17.2", "a": 1}),
        ("(b.(c))", {"_v": "17.2", "b": {"_type": "x", "c": 2}}),
        ("(b.c)", {"_v": "17.2", "b": {"_type": "x", "c": 2}}),
        ("(b.d.e)", {"_v": "17.2", "b": {"_type": "x", "d": {"e": 3}}}),
        ("( a , b.(**) )", {"_v": "17.2", "a": 1, "b": DOCUMENT["b"]}),
        ("(**,-b,-l)", {"_v": "17.2", "a": 1}),
        ("(l.(n))", {"_v": "17.2", "l": [{"n": n} for n in range(4)]}),
        ("(l[1].(n))", {"_v": "17.2", "l": [{"n": 1}]}),
        ("(l[0:1].n)", {"_v": "17.2", "l": [{"n": 0}, {"n": 1}]}),
        ("(l[1,3])", {"_v": "17.2", "l": [{"n": 1}, {"n": 3}]}),
        ("(l[9])", {"_v": "17.2", "l": []}),
        ("(nothing)", {"_v": "17.2"}),
    ],
)
def test_selections(selector: str, expected: Any) -> None:
    """Members, levels, exceptions and places in lists."""
    assert parse_selection(selector).of(DOCUMENT) == expected


@pytest.mark.parametrize(
    "selector",
    ["", "a", "()", "(a", "(a))", "(a,)", "(.a)", "(a.)", "(l[x])", "(-)", "(a;b)"],
)
def test_others_are_refused(selector: str) -> None:
    """What has another form is an error."""
    with pytest.raises(SelectorError):
        parse_selection(selector)


@given(st.text(alphabet="(),.*-[]:0a ?@", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is sent."""
    try:
        found = parse_selection(text)
    except SelectorError:
        return
    found.of(DOCUMENT)


def test_depth_is_bounded() -> None:
    """A selector cannot exhaust the stack."""
    for text in ("(" + "a.(" * 5000 + "b", "(" + "a." * 5000 + "b)"):
        with pytest.raises(SelectorError):
            parse_selection(text)
