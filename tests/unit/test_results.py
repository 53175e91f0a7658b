"""Results: straight to the encoder, or through one pass, decided by the type."""

import collections.abc as c
import dataclasses
import datetime as dt
import enum
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared import Date, Secret
from middlewared.ejson import EncodingError, encode
from middlewared.results import Results, holds_secret

T = TypeVar("T")
WHEN = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Colour(enum.Enum):
    RED = "red"


class Plain(msgspec.Struct):
    name: str
    sizes: list[int]
    when: Date
    raw: msgspec.Raw
    colour: Colour = Colour.RED
    next: "Plain | None" = None


class Dated(msgspec.Struct):
    inner: list["Dated | None"]
    when: dt.datetime


class Hidden(msgspec.Struct):
    key: Secret[str]


class Box(msgspec.Struct, Generic[T]):
    content: T
    key: Secret[str]


class Row(TypedDict):
    name: str


class DatedRow(TypedDict):
    when: dt.date


class Pair(NamedTuple):
    a: int
    b: dt.time


@dataclasses.dataclass
class Point:
    x: int


@dataclasses.dataclass
class DatedPoint:
    when: dt.datetime


STRAIGHT = [
    None,
    bool,
    int,
    str,
    str | None,
    list[str],
    tuple[int, ...],
    dict[str, list[int]],
    c.Sequence[int],
    c.Mapping[str, int],
    Literal["a", 1],
    Annotated[int, msgspec.Meta(gt=0)],
    Colour,
    Plain,
    list[Plain] | None,
    Row,
    Point,
    Date,
]
PASS = [
    Any,
    object,
    float,
    list[float],
    bytes,
    dt.datetime,
    dt.date | None,
    dict[str, dt.time],
    set,
    set[int],
    frozenset[str],
    c.Set[int],
    c.Collection[str],
    c.Iterable[str],
    list,
    dict,
    tuple,
    Secret[str],
    list[Secret[str]],
    Annotated[float, msgspec.Meta(gt=0)],
    Dated,
    list[Dated],
    Hidden,
    Box[int],
    DatedRow,
    DatedPoint,
    Pair,
    T,
]


@pytest.mark.parametrize("kind", STRAIGHT, ids=str)
def test_straight(kind: Any) -> None:
    """What msgspec writes as the wire has it needs no pass."""
    assert not Results(kind)._pass


@pytest.mark.parametrize("kind", PASS, ids=str)
def test_pass(kind: Any) -> None:
    """What may hold a date, a set, a secret, a NaN or anything goes through it."""
    assert Results(kind)._pass


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        (Secret, True),
        (Secret[str], True),
        (Secret[str] | None, True),
        (list[dict[str, Secret[int]]], True),
        (Annotated[Secret[str], msgspec.Meta(description="d")], True),
        (Hidden, True),
        (list[Hidden], True),
        (Box[int], True),
        (Plain, False),
        (Dated, False),
        (str, False),
        (Literal["Secret"], False),
        (None, False),
    ],
    ids=str,
)
def test_holds_secret(kind: Any, holds: bool) -> None:
    """A secret is found at any depth, and recursive types end."""
    assert holds_secret(kind) is holds
    assert Results(kind).secret is holds


@pytest.mark.parametrize(
    ("kind", "value", "wire"),
    [
        (int, 5, 5),
        (type(None), None, None),
        (
            Plain,
            Plain("a", [1], Date(0), msgspec.Raw(b"[2]")),
            {
                "name": "a",
                "sizes": [1],
                "when": {"$date": 0},
                "raw": [2],
                "colour": "red",
                "next": None,
            },
        ),
        (dt.datetime, WHEN, {"$date": 0}),
        (set[int], {1}, {"$set": [1]}),
        (c.Set[int], frozenset({1}), {"$set": [1]}),
        (Dated, Dated([], WHEN), {"inner": [], "when": {"$date": 0}}),
        (DatedPoint, DatedPoint(WHEN), {"when": {"$date": 0}}),
        (
            DatedRow,
            {"when": WHEN.date()},
            {"when": {"$type": "date", "$value": "1970-01-01"}},
        ),
        (Hidden, Hidden(Secret("x")), {"key": "x"}),
        (Box[set[int]], Box({1}, Secret("x")), {"content": {"$set": [1]}, "key": "x"}),
        (Any, {"a": (WHEN,)}, {"a": [{"$date": 0}]}),
        (Pair, Pair(1, dt.time(1)), [1, {"$time": "01:00:00"}]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_encode(kind: Any, value: Any, wire: Any) -> None:
    """Whoever made the call gets the whole result, secrets in clear."""
    assert json.loads(Results(kind).encode(value)) == wire


def test_redacted() -> None:
    """Everybody else gets it without its secrets."""
    shown = Results(list[Hidden]).encode([Hidden(Secret("x"))], clear=False)
    assert json.loads(shown) == [{"key": "********"}]


def test_handler_that_breaks_its_promise() -> None:
    """What the encoder cannot write is written the complete way, or refused there."""
    assert Results(str).encode(Secret("x"), clear=False) == b'"********"'
    assert Results(str).encode({1: Secret("x")}) == b'{"1":"x"}'


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (float, float("nan")),
        (list[float], [float("inf")]),
        pytest.param(Any, object(), id="Any-object"),
        pytest.param(int, object(), id="int-object"),
        (str, "\ud800"),
        (dict[str, int], {(1, 2): 3}),
    ],
    ids=str,
)
def test_without_a_form(kind: Any, value: Any) -> None:
    """What JSON cannot hold is one kind of error, whichever way it goes."""
    with pytest.raises(EncodingError):
        Results(kind).encode(value)


class Measure(msgspec.Struct):
    name: str
    value: float
    colour: Colour = Colour.RED
    spread: float | None = None
    parts: list["Measure"] | None = None


class Measures(msgspec.Struct):
    items: list[Annotated[float, msgspec.Meta(description="One.")]]
    by_name: dict[str, float | None]
    note: str | None = None


FLOATS: list[tuple[Any, Callable[[float], Any]]] = [
    (float, lambda x: x),
    (float | None, lambda x: x),
    (list[float], lambda x: [1.5, x]),
    (dict[str, list[float]], lambda x: {"a": [], "b": [x]}),
    (Measure, lambda x: Measure("a", x)),
    (Measure, lambda x: Measure("a", 1.0, spread=x)),
    (Measure, lambda x: Measure("a", 1.0, parts=[Measure("b", x)])),
    (Measures, lambda x: Measures([x], {})),
    (Measures, lambda x: Measures([], {"a": None, "b": x})),
    (list[Measures], lambda x: [Measures([], {}), Measures([1.0, x], {})]),
]


@pytest.mark.parametrize(("kind", "make"), FLOATS)
def test_numbers_are_written_and_what_is_none_is_refused(
    kind: Any, make: Callable[[float], Any]
) -> None:
    """Wherever they stand, and as the pass would write them."""
    results = Results(kind)
    for number in (0.0, -1.5, 1e300):
        value = make(number)
        assert results.encode(value) == encode(value)
    for number in (math.nan, math.inf, -math.inf):
        with pytest.raises(EncodingError):
            results.encode(make(number))


# Mostly numbers, and what a handler might give that does not keep its annotation.
numbers = st.floats() | st.integers() | st.sampled_from([None, True, "x", Decimal(1)])
measures = st.recursive(
    st.builds(Measure, st.just("a"), numbers, st.just(Colour.RED), numbers),
    lambda inner: st.builds(
        Measure, st.just("a"), numbers, parts=st.lists(inner, max_size=3)
    ),
    max_leaves=4,
)
shelves = st.builds(
    Measures,
    st.lists(numbers, max_size=4),
    st.dictionaries(st.sampled_from("abc"), numbers, max_size=3),
)
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (float, numbers),
    (float | int | None, numbers),
    (list[float], st.lists(numbers, max_size=4)),
    (list[list[float | None]], st.lists(st.lists(numbers, max_size=2), max_size=3)),
    (dict[str, Annotated[float, msgspec.Meta(ge=0)]], st.just({}) | numbers),
    (Measure, measures),
    (Measures, shelves | measures),
    (list[Measures], st.lists(shelves, max_size=3)),
    (dict[str, Measures], st.dictionaries(st.just("a"), shelves)),
]


@given(st.data())
def test_results_with_numbers_are_written_as_the_pass_writes_them(
    data: st.DataObject,
) -> None:
    """Or refused where it refuses them, whatever the handler promised."""
    kind, values = data.draw(st.sampled_from(VALUES))
    value = data.draw(values)
    try:
        expected = encode(value)
    except EncodingError:
        with pytest.raises(EncodingError):
            Results(kind).encode(value)
    else:
        assert Results(kind).encode(value) == expected


@pytest.mark.parametrize("value", [None, "x", [None], {"items": 1}])
def test_handler_that_does_not_keep_its_annotation_is_written_all_the_same(
    value: Any,
) -> None:
    """As the pass would."""
    assert Results(Measures).encode(value) == encode(value)
