"""Frames as the server sends them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from middlewared.frames import text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000, 2**20])
def test_frame_is_what_websockets_would_send(size: int) -> None:
    """In each of the three forms of the length (RFC 6455, 5.2)."""
    payload = b"x" * size
    expected = Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert text_frame(payload) == expected


@given(st.binary(max_size=300))
def test_payload_is_not_touched(payload: bytes) -> None:
    """Whatever it is."""
    assert text_frame(payload).endswith(payload)
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
