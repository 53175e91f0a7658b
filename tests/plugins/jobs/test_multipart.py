"""Multipart bodies in pieces: however they are cut, the same parts come out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_jobs.multipart import (
    Multipart,
    MultipartError,
    PartBegan,
    PartData,
    PartEnded,
)

TYPE = "multipart/form-data; boundary=frontier"

names = st.text(st.characters(exclude_characters='"\\\r\n', exclude_categories=["Cs"]))
#: Bytes that look like boundaries more often than others do.
contents = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--frontier", b"frontie", b"a"])
    | st.binary(max_size=20)
).map(lambda pieces: b"".join(pieces).replace(b"\r\n--frontier", b""))


def body_of(parts: list[tuple[str, str, bytes]]) -> bytes:
    """Write a body."""
    found = b""
    for name, filename, data in parts:
        head = (
            f'--frontier\r\nContent-Disposition: form-data; name="{name}"; '
            f'filename="{filename}"\r\nContent-Type: text/plain\r\n\r\n'
        )
        found += head.encode() + data + b"\r\n"
    return found + b"--frontier--\r\n"


def parts_of(body: bytes, cuts: list[int]) -> list[tuple[str, str, bytes]]:
    """Read a body that comes in pieces."""
    multipart = Multipart(TYPE)
    found: list[tuple[str, str, bytes]] = []
    within = False
    for start, end in pairwise([0, *sorted(cuts), len(body)]):
        for piece in multipart.feed(body[start:end]):
            match piece:
                case PartBegan(name, filename):
                    assert not within
                    within = True
                    found.append((name, filename, b""))
                case PartData(data):
                    assert within
                    name, filename, before = found[-1]
                    found[-1] = name, filename, before + data
                case PartEnded():
                    assert within
                    within = False
    multipart.finish()
    assert not within
    return found


@given(st.lists(st.tuples(names, names, contents), min_size=1, max_size=4), st.data())
def test_cuts_make_no_difference(
    parts: list[tuple[str, str, bytes]], data: st.DataObject
) -> None:
    """Names and bytes are those that were sent, wherever a piece ends."""
    body = body_of(parts)
    place = st.integers(min_value=0, max_value=len(body))
    assert parts_of(body, data.draw(st.lists(place))) == parts


def test_each_byte_alone() -> None:
    """The smallest pieces there are."""
    parts = [("data", "", b"{}"), ("file", "a\u20ac.bin", b"\r\n--frontie\r\n" * 3)]
    body = body_of(parts)
    assert parts_of(body, list(range(len(body)))) == parts


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        f"multipart/form-data; boundary={'x' * 1000}",
    ],
)
def test_type_without_a_boundary(kind: str) -> None:
    """It is named in the error."""
    with pytest.raises(MultipartError):
        Multipart(kind)


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"--frontier\r\nno colon\r\n\r\n",
        b"--frontier\r\nA: " + b"x" * 100_000,
        b"--frontier\r\n" + b"A: b\r\n" * 10_000,
        b"--frontierx\r\n",
    ],
)
def test_bodies_that_break_the_rules(body: bytes) -> None:
    """They are refused; so are heads without an end."""
    with pytest.raises(MultipartError):
        Multipart(TYPE).feed(body)


@given(contents)
def test_body_that_is_cut_off(data: bytes) -> None:
    """Without its last boundary a body is not complete."""
    body = body_of([("file", "", data)])
    multipart = Multipart(TYPE)
    multipart.feed(body[:-5])
    with pytest.raises(MultipartError):
        multipart.finish()
