"""Extended JSON, both ways (protocol page, section 2)."""

import contextlib
import dataclasses
import datetime as dt
import enum
import ipaddress
import json
import math
import uuid
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared import ejson
from middlewared.ejson import Date, EncodingError, Secret

UTC = dt.UTC
PLUS_TWO = dt.timezone(dt.timedelta(hours=2))
T = TypeVar("T")

ROWS = [
    (dt.datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC), {"$date": 1767323045678}),
    (dt.datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC), {"$date": -1}),
    (dt.date(2026, 2, 28), {"$type": "date", "$value": "2026-02-28"}),
    (dt.time(23, 59), {"$time": "23:59:00"}),
    (dt.time(1, 2, 3, 4), {"$time": "01:02:03.000004"}),
    (dt.time(1, 2, 3, tzinfo=PLUS_TWO), {"$time": "01:02:03+02:00"}),
    ({1}, {"$set": [1]}),
    (set(), {"$set": []}),
    (
        ipaddress.IPv4Interface("10.0.0.1/8"),
        {"$ipv4_interface": "10.0.0.1/8"},
    ),
    (
        ipaddress.IPv6Interface("fe80::1/64"),
        {"$ipv6_interface": "fe80::1/64"},
    ),
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.dates()
    | st.times()
    | st.ip_addresses(v=4).map(ipaddress.IPv4Interface)
    | st.ip_addresses(v=6).map(ipaddress.IPv6Interface)
    | st.integers(-(10**13), 10**14).map(
        lambda ms: dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(milliseconds=ms)
    )
)
VALUES = st.recursive(
    SCALARS | st.sets(SCALARS, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text().filter(lambda key: key[:1] != "$"), inner)
    ),
    max_leaves=12,
)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    when: dt.datetime
    name: str


class Item(msgspec.Struct, rename={"class_": "class"}):
    class_: str
    when: Date
    note: str | msgspec.UnsetType = msgspec.UNSET


class Box(msgspec.Struct, Generic[T]):
    content: T


class Left(msgspec.Struct, tag_field="kind", tag="left"):
    content: Any


class Name(str):
    __slots__ = ()


class Moment(dt.datetime):
    """A datetime of somebody's own, as pandas has."""


class Ratio(float):
    """A float of somebody's own, as numpy has."""


def test_tag_of_a_struct() -> None:
    """A tagged struct says which one it is, as msgspec's own encoder does."""
    value = Left({1})
    assert ejson.to_wire(value) == {"kind": "left", "content": {"$set": [1]}}


class TestRows:
    """Each kind of value, as the table has it."""

    @pytest.mark.parametrize(("value", "wire"), ROWS, ids=lambda v: str(v)[:30])
    def test_outbound(self, value: Any, wire: Any) -> None:
        """The Python value has this form on the wire, wherever it stands."""
        assert json.loads(ejson.encode(value)) == wire
        assert json.loads(ejson.encode({"a": [value]})) == {"a": [wire]}

    @pytest.mark.parametrize(("value", "wire"), ROWS, ids=lambda v: str(v)[:30])
    def test_inbound(self, value: Any, wire: Any) -> None:
        """The form on the wire is read as the Python value, wherever it stands."""
        assert ejson.decode(json.dumps(wire)) == value
        assert ejson.decode(json.dumps({"a": [wire]}).encode()) == {"a": [value]}

    def test_naive_datetime_is_utc(self) -> None:
        """A time without a zone is taken for UTC."""
        naive = dt.datetime(1970, 1, 1, 0, 0, 1)  # noqa: DTZ001 - that is the case
        assert ejson.encode(naive) == b'{"$date":1000}'

    def test_milliseconds_are_kept(self) -> None:
        """Unlike upstream we do not cut times to seconds; what is finer is cut."""
        value = dt.datetime(1970, 1, 1, 0, 0, 0, 1999, UTC)
        assert ejson.encode(value) == b'{"$date":1}'

    def test_other_zones_are_converted(self) -> None:
        """A moment is the same moment in every zone."""
        value = dt.datetime(1970, 1, 1, 2, 0, 0, tzinfo=PLUS_TWO)
        assert ejson.encode(value) == b'{"$date":0}'

    def test_decoded_datetime_knows_its_zone(self) -> None:
        """Times from the wire are aware and in UTC."""
        assert ejson.decode('{"$date":1500}').tzinfo is UTC

    def test_frozenset_and_tuple(self) -> None:
        """A frozenset is a set on the wire, a tuple is an array."""
        assert ejson.encode(frozenset({1})) == b'{"$set":[1]}'
        assert ejson.encode((1, (2, 3))) == b"[1,[2,3]]"

    @given(VALUES)
    def test_round_trip(self, value: Any) -> None:
        """What is encoded comes back equal."""
        assert ejson.decode(ejson.encode(value)) == value


class TestDecode:
    """What looks like an extended object and is none."""

    @pytest.mark.parametrize(
        "plain",
        [
            {"$date": 1, "other": 2},
            {"$type": "date"},
            {"$type": "date", "$value": "2026-01-01", "more": 1},
            {"$type": "time", "$value": "2026-01-01"},
            {"$unknown": 1},
            {"date": 1},
            {},
        ],
    )
    def test_other_keys(self, plain: dict[str, Any]) -> None:
        """Only exactly these keys make an extended object."""
        assert ejson.decode(json.dumps([plain, {"$set": []}])) == [plain, set()]

    @pytest.mark.parametrize(
        "text",
        [
            '{"$date": "yesterday"}',
            '{"$date": null}',
            '{"$date": 1e300}',
            '{"$time": "25:00"}',
            '{"$time": 5}',
            '{"$set": [[1]]}',
            '{"$set": "abc"}',
            '{"$set": null}',
            '{"$ipv4_interface": "::1"}',
            '{"$ipv6_interface": "10.0.0.1"}',
            '{"$type": "date", "$value": "2026-02-30"}',
            '{"$type": "date", "$value": 5}',
            "[1,",
            "",
            "[" * 200_000,
            "[" * 900 + '{"$date": 1}' + "]" * 900,
            b'"\xff"',
        ],
        ids=lambda text: repr(text[:30]),
    )
    def test_refused(self, text: str | bytes) -> None:
        """Whatever is wrong is a ValueError, never anything else."""
        with pytest.raises(ValueError, match=r"."):
            ejson.decode(text)

    def test_extended_objects_inside_extended_objects(self) -> None:
        """A set may hold dates."""
        assert ejson.decode('{"$set": [{"$date": 0}]}') == {
            dt.datetime(1970, 1, 1, tzinfo=UTC)
        }

    def test_plain_text_takes_the_short_way(self) -> None:
        """Without a dollar after a quote nothing is looked for."""
        assert not ejson.has_extended(b'{"a": "costs $5"}')
        assert ejson.has_extended('{"$date": 1}')
        assert ejson.has_extended(memoryview(b'{"$date": 1}'))

    @given(st.text() | st.binary())
    def test_anything_at_all(self, raw: str | bytes) -> None:
        """No input makes the decoder fail in another way."""
        with contextlib.suppress(ValueError):
            ejson.decode(raw)


class TestEncode:
    """Kinds of values besides the table."""

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (Colour.RED, b'"red"'),
            (Level.HIGH, b"3"),
            ({Level.HIGH: 1, "b": 2, 5: 3}, b'{"3":1,"b":2,"5":3}'),
            (Name("ann"), b'"ann"'),
            (Ratio(0.5), b"0.5"),
            (Moment(1970, 1, 1, tzinfo=UTC), b'{"$date":0}'),
            (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
            (dt.timedelta(seconds=1), b'"PT1S"'),
            (2**80, b"1208925819614629174706176"),
            pytest.param(msgspec.Raw(b"[ 1]"), b"[ 1]", id="raw"),
            (
                Box(dt.date(2026, 1, 1)),
                b'{"content":{"$type":"date","$value":"2026-01-01"}}',
            ),
            (
                Point(dt.datetime(1970, 1, 1, tzinfo=UTC), "p"),
                b'{"when":{"$date":0},"name":"p"}',
            ),
        ],
        ids=repr,
    )
    def test_other_kinds(self, value: Any, text: bytes) -> None:
        """Enums, ids, classes derived from plain ones and structs have a form too."""
        assert ejson.encode(value) == text

    def test_struct_uses_the_names_of_the_wire(self) -> None:
        """Renamed fields have their wire names, unset ones are left out."""
        text = ejson.encode(Item("a", Date(5)))
        assert text == b'{"class":"a","when":{"$date":5}}'

    @pytest.mark.parametrize(
        "value",
        [
            math.nan,
            math.inf,
            -math.inf,
            [1, {"a": math.nan}],
            Ratio("nan"),
            Box(math.inf),
            Secret(math.nan),
            pytest.param(object(), id="object"),
            {(1, 2): 3},
            {None: 1},
            {Colour.RED: 1},
            (i for i in range(3)),
            "\ud800",
            ValueError("x"),
            Path,
        ],
        ids=lambda value: repr(value)[:40],
    )
    def test_without_a_form(self, value: Any) -> None:
        """What JSON cannot hold is refused with one kind of error."""
        with pytest.raises(EncodingError):
            ejson.encode(value, clear=True)

    def test_too_deep(self) -> None:
        """A value that contains itself is refused."""
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(EncodingError, match="nested too deeply"):
            ejson.encode(loop)


class TestSecret:
    """Values that no listing, event or log shows."""

    def test_never_shown(self) -> None:
        """No text form has the value."""
        secret = Secret("hunter2")
        texts = [
            repr(secret),
            str(secret),
            f"{secret}",
            f"{[secret]}",
            f"{secret!r:>40}",
        ]
        assert not [text for text in texts if "hunter2" in text]

    def test_get(self) -> None:
        """Whoever holds it can read it."""
        assert Secret("hunter2").get() == "hunter2"

    def test_redacted_and_clear(self) -> None:
        """It is redacted unless asked for, at any depth."""
        value = {"a": [Box(Secret({"b": Secret(1)}))]}
        assert ejson.encode(value) == b'{"a":[{"content":"********"}]}'
        assert ejson.encode(value, clear=True) == b'{"a":[{"content":{"b":1}}]}'
        assert ejson.reveal(value) == {"a": [{"content": {"b": 1}}]}

    def test_clear_values_get_their_wire_form(self) -> None:
        """A date in a secret is still a date on the wire."""
        secret = Secret(dt.datetime(1970, 1, 1, tzinfo=UTC))
        assert ejson.encode(secret, clear=True) == b'{"$date":0}'

    def test_equality_is_by_value(self) -> None:
        """Jobs with equal secrets are equal; the hash tells nothing of the value."""
        assert Secret("a") == Secret("a") != Secret("b")
        assert Secret("a") != "a"
        assert hash(Secret("a")) == hash(Secret("b"))

    @pytest.mark.parametrize(
        ("kind", "value", "expected"),
        [
            (Secret[str], "x", Secret("x")),
            (Secret[list[int]], [1, 2], Secret([1, 2])),
            (Secret[dict[int, str]], {"1": "a"}, Secret({1: "a"})),
            (Secret, {"any": 1}, Secret({"any": 1})),
            (Secret[str] | None, None, None),
        ],
        ids=repr,
    )
    def test_decodes_from_what_it_holds(
        self, kind: Any, value: Any, expected: Any
    ) -> None:
        """Clients send the plain value."""
        text = json.dumps(value)
        decoder = msgspec.json.Decoder(kind, dec_hook=ejson.dec_hook)
        assert decoder.decode(text) == expected

    def test_wrong_content_is_refused(self) -> None:
        """The type inside is checked, and the path says where the secret is."""
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert(
                {"content": ["x"]}, Box[Secret[list[int]]], dec_hook=ejson.dec_hook
            )
        assert str(caught.value).endswith(" - at `$.content`")


def test_hook_takes_what_is_of_the_kind_already() -> None:
    """Values that came from extended objects pass, others are refused."""
    interface = ipaddress.IPv4Interface("10.0.0.1/8")
    assert ejson.dec_hook(ipaddress.IPv4Interface, interface) is interface
    with pytest.raises(ValueError, match="Expected `IPv4Interface`, got `str`"):
        ejson.dec_hook(ipaddress.IPv4Interface, "10.0.0.1/8")
