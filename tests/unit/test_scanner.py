"""What a client sends is read as websockets alone would read it, only faster."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from middlewared.scanner import Received, Scanner

LIMIT = 70_000
#: Opcode, payload, and what is wrong: nothing for most.
Piece = tuple[int, bytes, str]


def opened() -> ServerProtocol:
    """Give websockets' layer of a connection that is open."""
    ws = ServerProtocol(max_size=LIMIT)
    ws.receive_data(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    (request,) = ws.events_received()
    ws.send_response(ws.accept(request))  # type: ignore[arg-type]  # a request
    ws.data_to_send()
    assert ws.state is State.OPEN
    return ws


def written(piece: Piece, mask: bytes) -> bytes:
    """Write a frame as a client would, or as it must not."""
    opcode, payload, wrong = piece
    if wrong == "raw":
        return payload
    first = opcode | {"cut": 0, "reserved": 0xC0}.get(wrong, 0x80)
    size = len(payload)
    if size >= 1 << 16 or wrong == "long":
        head = struct.pack("!BBQ", first, 0xFF, size)
    elif size >= 126:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BB", first, 0x80 | size)
    if wrong == "unmasked":
        return bytes((head[0], head[1] & 0x7F)) + head[2:] + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


PAYLOADS = st.binary(max_size=200) | st.integers(120, 70_100).map(lambda n: b"x" * n)
GOOD = st.tuples(
    st.sampled_from((1, 1, 1, 9, 10)), st.binary(max_size=125), st.just("")
)
ANY = st.tuples(
    st.sampled_from((0, 1, 1, 1, 2, 8, 9, 10)),
    PAYLOADS,
    st.sampled_from(("", "", "cut", "unmasked", "reserved", "long", "raw")),
)


def shown(event: Received) -> tuple[int, bytes, bool]:
    """Show an event, a message as the frame it came in."""
    if isinstance(event, bytes):
        return 1, event, True
    assert isinstance(event, Frame)
    return event.opcode, bytes(event.data), event.fin


@given(st.data())
def test_same_as_websockets_alone(data: st.DataObject) -> None:
    """The same messages, answers and end, wherever the stream is cut into reads."""
    pieces = data.draw(st.lists(GOOD | ANY, max_size=8))
    mask = data.draw(st.binary(min_size=4, max_size=4))
    stream = b"".join(written(piece, mask) for piece in pieces)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    alone, beside = opened(), opened()
    found: list[Received] = []
    scanner = Scanner(beside, found.append)
    expected: list[tuple[int, bytes, bool]] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        part = stream[start:stop]
        scanner.feed(part)
        alone.receive_data(part)
        expected += [shown(event) for event in alone.events_received()]
        assert beside.state is alone.state or stop < len(stream)
    assert list(map(shown, found)) == expected
    scanner.feed_eof()
    alone.receive_eof()
    assert beside.data_to_send() == alone.data_to_send()
    assert beside.state is alone.state


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, LIMIT])
def test_whole_messages_never_reach_the_parser(size: int) -> None:
    """In each form of the length they come as bytes, one after the other."""
    ws, found = opened(), list[Received]()
    frame = Frame(Opcode.TEXT, b"x" * size).serialize(mask=True)
    Scanner(ws, found.append).feed(frame * 3)
    assert found == [b"x" * size] * 3


def test_message_in_parts_is_read_once() -> None:
    """One byte after the other, then whole ones again."""
    ws, found = opened(), list[Received]()
    scanner = Scanner(ws, found.append)
    frame = Frame(Opcode.TEXT, b"hello").serialize(mask=True)
    for byte in frame:
        scanner.feed(bytes((byte,)))
    scanner.feed(frame + frame)
    assert [shown(event)[1] for event in found] == [b"hello"] * 3


def test_message_over_the_limit_is_refused_with_its_header() -> None:
    """Before any of it is kept."""
    ws, found = opened(), list[Received]()
    scanner = Scanner(ws, found.append)
    scanner.feed(struct.pack("!BBQ", 0x81, 0xFF, LIMIT + 1))
    assert ws.state is not State.OPEN
    assert found == []


def test_nothing_is_read_after_the_end() -> None:
    """What follows a close frame is thrown away (RFC 6455, 1.4)."""
    ws, found = opened(), list[Received]()
    close = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
    text = Frame(Opcode.TEXT, b"late").serialize(mask=True)
    Scanner(ws, found.append).feed(close + text)
    assert [shown(event)[0] for event in found] == [8]
