"""Params of a method: decoded by position or by name, wrong ones all listed."""

import datetime as dt
import errno
import ipaddress
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from middlewared import Date, Secret, ejson
from middlewared.errors import PluginError, ValidationErrors
from middlewared.params import Params, location

Positive = Annotated[int, msgspec.Meta(gt=0)]


class Options(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0
    order: list[str] = []
    inner: "Options | None" = None


class Event(msgspec.Struct):
    when: Date


def scrub(
    ctx: object, pool: str, depth: Positive = 3, *, repair: bool = True, note: str = ""
) -> int:
    """Have one required parameter, a default, and two that are keyword-only."""
    return depth


PARAMS = Params(scrub)


def decode(params: Params, value: Any) -> list[Any] | None:
    return params.decode(json.dumps(value).encode())


def bind(params: Params, value: Any) -> list[Any]:
    plain = ejson.decode(json.dumps(value))
    if isinstance(plain, dict):
        return params.bind([], plain)
    return params.bind(plain, {})


def mistakes(params: Params, value: Any) -> list[tuple[str | None, str]]:
    with pytest.raises(ValidationErrors) as caught:
        bind(params, value)
    assert {error.errno for error in caught.value.errors} == {errno.EINVAL}
    return [(error.attribute, error.text) for error in caught.value.errors]


class TestSignature:
    """What a handler's annotations say."""

    def test_names_types_defaults(self) -> None:
        """Keyword-only parameters come after the others."""
        assert PARAMS.names == ("pool", "depth", "repair", "note")
        assert PARAMS.types == (str, Positive, bool, str)
        assert PARAMS.defaults == (UNSET, 3, True, "")
        assert PARAMS.returns is int

    def test_without_a_return_type(self) -> None:
        """What is not said may be anything."""

        def handler(ctx: object):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the case
            """Say nothing about the result."""

        assert Params(handler).returns is Any

    def test_keyword_only_before_it_is_required(self) -> None:
        """A required keyword-only parameter may follow one with a default."""

        def handler(ctx: object, a: int = 1, *, b: str) -> None:
            """Require the second one only."""

        params = Params(handler)
        assert decode(params, {"b": "x"}) == [1, "x"]
        assert decode(params, [5, "x"]) == [5, "x"]
        assert decode(params, [5]) is None
        assert mistakes(params, [5]) == [("b", "Field required")]


FITTING = [
    (["tank"], ["tank"]),
    (["tank", 5], ["tank", 5]),
    (["tank", 5, False], ["tank", 5, False]),
    (["tank", 5, False, "n"], ["tank", 5, False, "n"]),
    ({"pool": "tank"}, ["tank"]),
    ({"depth": 5, "pool": "tank"}, ["tank", 5]),
    ({"pool": "tank", "repair": False}, ["tank", 3, False]),
    ({"pool": "tank", "note": "n"}, ["tank", 3, True, "n"]),
]

WRONG = [
    [],
    {},
    ["tank", 0],
    ["tank", "5"],
    ["tank", None],
    ["tank", 5, 1],
    ["tank", 5, True, "n", 6],
    [None],
    {"depth": 5},
    {"pool": "tank", "colour": "red"},
    {"pool": 5},
]


class TestBothWays:
    """The short way and the complete way agree."""

    @pytest.mark.parametrize(("sent", "values"), FITTING, ids=repr)
    def test_fitting(self, sent: Any, values: list[Any]) -> None:
        """Values stand in signature order up to the last one given."""
        assert decode(PARAMS, sent) == values
        assert bind(PARAMS, sent) == values

    @pytest.mark.parametrize("sent", WRONG, ids=repr)
    def test_wrong(self, sent: Any) -> None:
        """What one refuses the other refuses, too."""
        assert decode(PARAMS, sent) is None
        assert mistakes(PARAMS, sent)

    @given(
        st.lists(st.none() | st.booleans() | st.integers(-1, 2) | st.text(max_size=2))
        | st.dictionaries(
            st.sampled_from([*PARAMS.names, "other"]),
            st.none() | st.booleans() | st.integers(-1, 2) | st.text(max_size=2),
        )
    )
    def test_any_params(self, sent: Any) -> None:
        """For every array and object both say the same."""
        try:
            expected = bind(PARAMS, sent)
        except ValidationErrors:
            assert decode(PARAMS, sent) is None
        else:
            assert decode(PARAMS, sent) == expected

    @pytest.mark.parametrize("raw", [b"", b"[]", b"{}"])
    def test_nothing_sent(self, raw: bytes) -> None:
        """Missing params are empty params."""

        def handler(ctx: object, a: int = 1) -> None:
            """Need nothing."""

        assert Params(handler).decode(raw) == []
        assert PARAMS.decode(raw) is None

    @pytest.mark.parametrize("raw", [b"null", b"5", b"[1", b"{", b"[" * 10_000])
    def test_no_params_at_all(self, raw: bytes) -> None:
        """Other JSON and broken JSON do not fit."""
        assert PARAMS.decode(raw) is None

    def test_too_large_a_number(self) -> None:
        """A number beyond every integer type does not fit, and breaks nothing."""
        assert PARAMS.decode(b'["tank", 1e999]') is None


class TestMistakes:
    """Every value that is wrong is named with its path."""

    def test_all_are_listed(self) -> None:
        """Wrong, unknown and missing ones in one answer."""
        assert mistakes(PARAMS, {"depth": "x", "repair": 5, "colour": "red"}) == [
            ("depth", "Expected `int`, got `str`"),
            ("repair", "Expected `bool`, got `int`"),
            ("colour", "Unknown parameter"),
            ("pool", "Field required"),
        ]

    def test_too_many(self) -> None:
        """The text is the protocol's; wrong values are listed beside it."""
        assert mistakes(PARAMS, [1, 2, True, "", 5, 6]) == [
            ("", "Too many arguments (expected 4, found 6)"),
            ("pool", "Expected `str`, got `int`"),
        ]

    @pytest.mark.parametrize(
        ("kind", "value", "path", "text"),
        [
            (Options, {"limit": "x"}, "a.limit", "Expected `int`, got `str`"),
            (Options, {"limit": -1}, "a.limit", "Expected `int` >= 0"),
            (Options, {"order": ["x", 5]}, "a.order.1", "Expected `str`, got `int`"),
            (
                Options,
                {"inner": {"inner": {"limit": None}}},
                "a.inner.inner.limit",
                "Expected `int`, got `null`",
            ),
            (Options, {"zz": 1}, "a", "Object contains unknown field `zz`"),
            (Options, 5, "a", "Expected `object`, got `int`"),
            (list[list[int]], [[], [1, "x"]], "a.1.1", "Expected `int`, got `str`"),
            (dict[str, int], {"k.l": "x"}, "a.*", "Expected `int`, got `str`"),
            (dict[int, int], {"k": 1}, "a", "Expected `int`, got `str`"),
            (list[dict[int, int]], [{"k": 1}], "a.0", "Expected `int`, got `str`"),
            (Literal["x", "y"], "z", "a", "Invalid enum value 'z'"),
            (Secret[str], 5, "a", "Expected `str`, got `int`"),
            (
                dict[str, Secret[list[int]]],
                {"k": ["x"]},
                "a.*.0",
                "Expected `int`, got `str`",
            ),
            (ipaddress.IPv4Interface, "x", "a", "Expected `IPv4Interface`, got `str`"),
            (dt.date, "never", "a", "Invalid RFC3339 encoded date"),
        ],
        ids=repr,
    )
    def test_paths(self, kind: Any, value: Any, path: str, text: str) -> None:
        """The path leads from the parameter to the value."""

        def handler(ctx: object, a: Any) -> None:
            """Take one parameter."""

        handler.__annotations__["a"] = kind
        params = Params(handler)
        assert decode(params, [value]) is None
        assert mistakes(params, [value]) == [(path, text)]

    def test_secrets_do_not_show(self) -> None:
        """The error of a secret has its type, not its value."""

        def handler(ctx: object, key: Secret[int]) -> None:
            """Take a secret."""

        assert mistakes(Params(handler), ["hunter2"]) == [
            ("key", "Expected `int`, got `str`")
        ]

    def test_very_deep_value(self) -> None:
        """Nesting that exhausts the decoder is a wrong value like any other."""

        def handler(ctx: object, a: list[Any]) -> None:
            """Take a list."""

        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(ValidationErrors):
            Params(handler).bind([{"not a list": deep}], {})


class TestExtendedJson:
    """Dates, sets and secrets as params."""

    def test_kinds(self) -> None:
        """What the wire has in extended form arrives as the Python value."""

        def handler(
            ctx: object,
            when: dt.datetime,
            day: dt.date,
            names: set[str],
            net: ipaddress.IPv4Interface,
        ) -> None:
            """Take one of each."""

        sent = [
            {"$date": 0},
            {"$type": "date", "$value": "2026-01-01"},
            {"$set": ["a"]},
            {"$ipv4_interface": "10.0.0.1/8"},
        ]
        assert decode(Params(handler), sent) is None
        assert bind(Params(handler), sent) == [
            dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
            dt.date(2026, 1, 1),
            {"a"},
            ipaddress.IPv4Interface("10.0.0.1/8"),
        ]

    def test_wire_dates(self) -> None:
        """A `Date` takes the same form, alone, in a struct, and beside a datetime."""

        def handler(
            ctx: object, a: Date, b: Event, c: dt.datetime | None = None
        ) -> None:
            """Take dates as the wire has them."""

        when = {"$date": 5}
        event = Event(Date(5))
        params = Params(handler)
        assert decode(params, [when, {"when": when}]) == [Date(5), event]
        assert bind(params, [when, {"when": when}, when]) == [
            Date(5),
            event,
            dt.datetime(1970, 1, 1, 0, 0, 0, 5000, dt.UTC),
        ]

    def test_plain_dict_does_not_take_a_set(self) -> None:
        """An extended object is what it stands for, never a plain object."""

        def handler(ctx: object, a: dict[str, Any]) -> None:
            """Take an object."""

        assert mistakes(Params(handler), [{"$set": []}])
        assert mistakes(Params(handler), [{"$date": 0}])

    def test_secret(self) -> None:
        """A secret is sent in clear and arrives wrapped."""

        def handler(
            ctx: object, key: Secret[str], other: Secret[str] | None = None
        ) -> None:
            """Take two secrets."""

        assert decode(Params(handler), ["x"]) == [Secret("x")]
        assert bind(Params(handler), ["x", None]) == [Secret("x"), None]


class TestCall:
    """Calling the handler with what was decoded."""

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([1], (0, 1, 2, 3, 4)),
            ([1, 5], (0, 1, 5, 3, 4)),
            ([1, 5, 6], (0, 1, 5, 6, 4)),
            ([1, 5, 6, 7], (0, 1, 5, 6, 7)),
        ],
    )
    def test_keyword_only_by_name(
        self, values: list[int], expected: tuple[int, ...]
    ) -> None:
        """Those that cannot be given by position are given by name."""

        def handler(
            ctx: int, a: int, b: int = 2, *, c: int = 3, d: int = 4
        ) -> tuple[int, ...]:
            """Give back what came."""
            return ctx, a, b, c, d

        assert Params(handler).call(handler, 0, values) == expected


def no_context() -> None:
    """Take nothing."""


def untyped(ctx: object, pool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - that is the case
    """Forget a type."""


def many(ctx: object, *pools: str) -> None:
    """Take any number."""


def named(ctx: object, **pools: str) -> None:
    """Take any names."""


def by_place(ctx: object, pool: str, /) -> None:
    """Take by position only."""


def unknown_name(ctx: object, pool: "NoSuchType") -> None:  # type: ignore[name-defined]  # noqa: F821 - that is the case
    """Name what is not there."""


def broken_text(ctx: object, pool: str) -> None:
    """Get an annotation that is no Python."""


broken_text.__annotations__["pool"] = "str["


def unknown_attribute(ctx: object, pool: "dt.nosuch") -> None:  # type: ignore[name-defined]  # that is the case
    """Name an attribute that is not there."""


def mixed_secret(ctx: object, key: Secret[str] | int) -> None:
    """Mix what cannot be told apart."""


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (no_context, "no_context takes no context or job"),
        (untyped, "parameter 'pool' of untyped has no type"),
        (many, "parameter 'pools' of many is variadic positional, expected one"),
        (named, "parameter 'pools' of named is variadic keyword, expected one"),
        (by_place, "parameter 'pool' of by_place is positional-only, expected one"),
        (unknown_name, "unknown_name: name 'NoSuchType' is not defined"),
        (broken_text, "broken_text: Forward reference must be an expression"),
        (unknown_attribute, "unknown_attribute: module 'datetime' has no attribute"),
        (mixed_secret, "mixed_secret: Type unions containing a custom type"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_declaration_mistakes(handler: Callable[..., Any], text: str) -> None:
    """A mistake is told with the file and the line of the handler."""
    place = f"{__file__}:{handler.__code__.co_firstlineno}: "
    with pytest.raises(PluginError, match=re.escape(place + text)):
        Params(handler)


def test_location_looks_through_decorators() -> None:
    """The line is the author's, not the decorator's."""
    import functools  # noqa: PLC0415 - for this test only

    @functools.wraps(scrub)
    def wrapper(*args: Any) -> Any:
        return scrub(*args)

    assert location(wrapper) == f"{__file__}:{scrub.__code__.co_firstlineno}"
