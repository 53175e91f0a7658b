"""Messages between server and child, however the bytes between them are cut."""

import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewared_jobs.frames import (
    Begun,
    FrameError,
    Frames,
    FromChild,
    Quit,
    Returned,
    ToChild,
    encode,
)

RESULTS = st.sampled_from([b"null", b"1", b'"x"', b"[]", b'{"a":[1,2]}'])
MESSAGES = st.builds(Begun, st.integers(1, 2**40)) | st.builds(
    lambda number, shown: Returned(number, msgspec.Raw(shown), fit=True),
    st.integers(1, 2**40),
    RESULTS,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(MESSAGES, max_size=6), st.data())
def test_cuts_do_not_matter(
    messages: list[Begun | Returned], data: st.DataObject
) -> None:
    """The same messages come out wherever the stream is cut."""
    stream = b"".join(encode(message) for message in messages)
    frames, place = Frames(FromChild, 100), 0
    found: list[bytes] = []
    while place < len(stream):
        size = data.draw(st.integers(1, len(stream) - place))
        found += map(encode, frames.feed(stream[place : place + size]))
        place += size
    assert found == [encode(message) for message in messages]


def test_null_is_a_result() -> None:
    """A body that returned null and one without a result are told apart."""
    frames = Frames(FromChild, 100)
    (message,) = frames.feed(encode(Returned(1, msgspec.Raw(b"null"))))
    assert bytes(message.shown) == b"null"
    assert message.failure is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 2**32 - 1),
        struct.pack(">I", 3) + b"abc",
        struct.pack(">I", 2) + b"{}",
        encode(Quit(1)),
        struct.pack(">I", 200_000) + b"[" * 200_000,
    ],
)
def test_garbage_is_refused(data: bytes) -> None:
    """What is no message of the other side raises."""
    with pytest.raises(FrameError):
        list(Frames(FromChild, 100).feed(data))
    assert [m.id for m in Frames(ToChild, 100).feed(encode(Quit(7)))] == [7]
