"""Large values in pieces: together they are what the encoder gives at one go."""

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared import Secret, ejson, pieces
from middlewared.results import Results

encode = msgspec.json.Encoder().encode


class Plain(msgspec.Struct, rename="camel", tag="plain"):
    """Fields with other names on the wire, one of which may be missing."""

    first_part: Any
    second_part: Any = None
    third_part: Any = msgspec.UNSET


class Sparse(msgspec.Struct, omit_defaults=True):
    """Leaves out what is as it is by default."""

    part: Any = None


class Row(msgspec.Struct, array_like=True):
    """An array on the wire."""

    part: Any


@dataclasses.dataclass
class Data:
    """Is encoded at one go."""

    part: Any


leaves = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text()
)
raws = st.text().map(lambda text: msgspec.Raw(encode(text)))
values = st.recursive(
    leaves | raws,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(0, 99), inner)
        | st.builds(Plain, inner, inner, inner | st.just(msgspec.UNSET))
        | st.builds(Sparse, inner)
        | st.builds(Row, inner)
        | st.builds(Data, inner)
    ),
    max_leaves=30,
)


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Any:
    """Make pieces so small that nearly everything is large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", 40)
        yield


@given(values)
def test_they_are_the_whole(value: Any) -> None:
    """Byte for byte, whatever the value is made of."""
    assert b"".join(pieces.pieces(value, encode)) == encode(value)


@given(values)
def test_results_are_the_same_in_pieces(value: Any) -> None:
    """Also those that need the pass, and with the same error when they have no form."""
    for kind in (Any, int):
        found = []
        for way in (Results(kind).encode, pieced(Results(kind))):
            try:
                found.append(way(value, clear=False))
            except ejson.EncodingError as exc:
                found.append(str(exc).encode())
        assert found[0] == found[1]


def pieced(results: Results) -> Any:
    """Encode in pieces, and put them together."""

    def way(value: Any, *, clear: bool) -> bytes:
        return b"".join(results.encode_in_pieces(value, clear=clear))

    return way


def test_secrets_stay_secret() -> None:
    """Unless they are asked for."""
    results = Results(list[Secret[str]])
    value = [Secret("x" * 100)] * 3
    assert b"x" not in b"".join(results.encode_in_pieces(value, clear=False))
    assert b"".join(results.encode_in_pieces(value)) == results.encode(value)


def test_what_is_large() -> None:
    """Long texts, many parts, also deep inside; a million parts are not all seen."""
    deep: Any = "x" * 50
    for _ in range(3):
        deep = [deep]
    for value in ("x" * 50, [1] * 50, deep, Plain(b"x" * 50), msgspec.Raw(b"1" * 50)):
        assert pieces.is_large(value)
    for small in (None, True, 1, 1.5, "x", object(), msgspec.Raw(b"1")):
        assert not pieces.is_large(small)


def test_no_piece_is_much_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text and many short ones come in many pieces."""
    monkeypatch.setattr(pieces, "PIECE", 1000)
    value = {"text": "x" * 50_000, "rows": [{"a": i} for i in range(5_000)]}
    found = list(pieces.pieces(value, encode))
    assert max(map(len, found)) < 4000
    assert len(found) > 50
