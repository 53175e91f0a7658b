"""Types of params: what they let through, and what contradicts itself."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared import Secret
from middlewared.ejson import dec_hook
from middlewared_commands.annotations import ParamError, annotation, default_of
from middlewared_commands.params import (
    BoolParam,
    FloatParam,
    IntParam,
    ListParam,
    Param,
    PathParam,
    SecretParam,
    StrParam,
)


def fits(param: Param, value: Any, *, leading: bool = False) -> bool:
    """Tell whether the type of a param takes a value, as it comes over the wire."""
    kind = annotation(param, leading=leading)
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=kind, dec_hook=dec_hook)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("param", "good", "bad"),
    [
        (StrParam(), ["", "x", "-x"], [1, None, ["x"]]),
        (StrParam(min_length=1, max_length=2), ["x", "xy"], ["", "xyz"]),
        (StrParam(pattern="[a-c]+"), ["a", "abc"], ["", "ax", "a\n", "xa", "a\nb"]),
        (StrParam(pattern="a|b"), ["a", "b"], ["ab", "xb", "ax"]),
        (StrParam(choices=("a", "-b")), ["a", "-b"], ["b", "", 1]),
        (StrParam(required=False), ["x", None], [1]),
        (IntParam(), [0, -5], ["1", 1.5, True]),
        (IntParam(min=1, max=3), [1, 3], [0, 4]),
        (IntParam(choices=(1, 10)), [1, 10], [2, "1"]),
        (FloatParam(min=0.5), [0.5, 1, 7.25], [0.4, "1"]),
        (BoolParam(), [True, False], [1, "true", None]),
        (PathParam(), ["/", "/a b"], ["", "a", "./a", "-a", "~"]),
        (PathParam(pattern=r"/srv/\w+"), ["/srv/a"], ["/srv/", "/srv/a/b", "srv/a"]),
        (ListParam(), [[], ["a", "b"]], ["a", [1], None]),
        (ListParam(required=True), [["a"]], [[]]),
        (ListParam(min_items=1, max_items=2), [["a"], ["a", "b"]], [[], ["a"] * 3]),
        (ListParam(items="path"), [["/a"]], [["a"], ["-a"]]),
        (ListParam(choices=("a", "b")), [["a", "b", "a"]], [["c"]]),
        (ListParam(pattern="[0-9]+"), [["1", "22"]], [["1", "x"]]),
        (SecretParam(), ["x"], [1, None]),
        (SecretParam(required=False), ["x", None], [1]),
    ],
)
def test_values(param: Param, good: list[Any], bad: list[Any]) -> None:
    """What fits passes, anything else is refused before there is a job."""
    assert [value for value in good if not fits(param, value)] == []
    assert [value for value in bad if fits(param, value)] == []


@pytest.mark.parametrize(
    ("param", "good", "bad"),
    [
        (StrParam(), ["", "x", "x-"], ["-", "-x", "--"]),
        (StrParam(pattern=".*"), ["", "x"], ["-x"]),
        (StrParam(dash=True), ["-x"], []),
        (StrParam(choices=("-x",)), ["-x"], ["x"]),
        (ListParam(), [["x"]], [["-x"], ["x", "-"]]),
        (ListParam(dash=True), [["-x"]], []),
        (IntParam(), [0, 1], [-1]),
        (IntParam(dash=True), [-1], []),
        (IntParam(min=5), [5], [4, -5]),
        (IntParam(choices=(-1, 1)), [-1], [0]),
        (FloatParam(), [0, 0.5], [-0.5]),
        (FloatParam(min=-1, dash=True), [-0.5], [-2]),
    ],
)
def test_values_that_begin_a_word(
    param: Param, good: list[Any], bad: list[Any]
) -> None:
    """A dash at the beginning is refused, unless the settings allow it."""
    assert [value for value in good if not fits(param, value, leading=True)] == []
    assert [value for value in bad if fits(param, value, leading=True)] == []


@given(st.text())
def test_patterns_are_for_the_whole_value(text: str) -> None:
    """A pattern holds from the first to the last character, newlines too."""
    param = StrParam(pattern="[a-z]+|x y")
    assert fits(param, text) == bool(re.fullmatch("[a-z]+|x y", text))


def test_schema_is_for_everybody() -> None:
    """Expressions are such that browsers understand them, too."""
    kind = annotation(StrParam(pattern="[a-c]+", doc="A tag."), leading=True)
    assert msgspec.json.schema(kind) == {
        "type": "string",
        "pattern": r"^(?!-)(?:[a-c]+)$(?!\n)",
        "description": "A tag.",
    }
    assert msgspec.json.schema(annotation(StrParam(), leading=False)) == {
        "type": "string"
    }
    assert annotation(SecretParam(), leading=False) == Secret[str]


@pytest.mark.parametrize(
    ("param", "default"),
    [
        (StrParam(), msgspec.UNSET),
        (StrParam(required=True), msgspec.UNSET),
        (StrParam(required=False), None),
        (StrParam(default="x"), "x"),
        (StrParam(default="x", required=False), "x"),
        (BoolParam(), False),
        (BoolParam(default=True), True),
        (BoolParam(required=True), msgspec.UNSET),
        (ListParam(), msgspec.UNSET),
        (ListParam(required=False), []),
        (ListParam(default=("a",)), ["a"]),
        (SecretParam(), msgspec.UNSET),
        (SecretParam(required=False), None),
    ],
)
def test_defaults(param: Param, default: object) -> None:
    """A param has to be given unless it has a default or says otherwise."""
    assert default_of(param) == default


@pytest.mark.parametrize(
    ("param", "key"),
    [
        (StrParam(default="x", required=True), "required"),
        (StrParam(default="x", pattern="y"), "default"),
        (StrParam(default="-x"), "default"),
        (StrParam(pattern="("), "pattern"),
        (StrParam(pattern="(?i)a"), "pattern"),
        (StrParam(choices=("a",), pattern="a"), "pattern"),
        (StrParam(choices=("a", "a")), "choices"),
        (StrParam(min_length=2, max_length=1), "max_length"),
        (IntParam(min=2, max=1), "max"),
        (IntParam(max=-1), "max"),
        (IntParam(min=-1), "min"),
        (IntParam(default=-1), "default"),
        (FloatParam(min=-0.5), "min"),
        (ListParam(min_items=2, max_items=1), "max_items"),
        (ListParam(under=("/",)), "under"),
        (ListParam(default=("-a",)), "default"),
        (PathParam(default="a"), "default"),
    ],
)
def test_contradictions(param: Param, key: str) -> None:
    """What cannot be is refused, and the key is named."""
    with pytest.raises(ParamError) as raised:
        annotation(param, leading=True)
    assert raised.value.key == key
