"""The WebSocket layer: what is read, what is refused, and with which code.

On asyncio's own loop; `tests/acceptance/test_connection_rules.py` runs on uvloop.
"""

import os
import random
import struct
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest
from wire_client import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    WireClient,
    client_frame,
    open_socket,
    upgrade_request,
)
from wire_server import WireServer, wire_server

from middlewared import Context, Plugin
from middlewared.session import ClientSession

PING_CALL = b'{"jsonrpc":"2.0","id":1,"method":"core.ping"}'
PONG_ANSWER = b'{"jsonrpc":"2.0","result":"pong","id":1}'
ANONYMOUS_LIMIT = 8192
LIMIT = 100_000


def note_plugin() -> tuple[Plugin, list[str]]:
    """Declare a method that notes what it was called with."""
    plugin = Plugin("wire")
    notes: list[str] = []

    @plugin.method(public=True, immediate=True)
    async def note(ctx: Context, text: str) -> int:
        """Note *text* and return its length."""
        notes.append(text)
        return len(text)

    @plugin.method(public=True)
    async def fill(ctx: Context, size: int) -> str:
        """Return so many letters."""
        return "x" * size

    return plugin, notes


NOTES, noted = note_plugin()


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(NOTES, max_message=LIMIT, close_timeout=0.5) as running:
        yield running


def note_call(text: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"wire.note","params":["%b"]}' % text


def padded(size: int) -> bytes:
    """Build a call of exactly so many bytes."""
    return note_call(b"x" * (size - len(note_call(b""))))


async def check_alive(client: WireClient) -> None:
    """The client is answered, and nothing else came before."""
    await client.send_text(PING_CALL)
    assert await client.receive_text() == PONG_ANSWER


async def check_refused(
    server: WireServer, data: bytes, code: int, reason: str | None = None
) -> None:
    """A fresh client that sends *data* is closed with *code*; others are not."""
    client = await server.anonymous()
    await client.send_bytes(data)
    found = await client.receive_close()
    assert found[0] == code
    if reason is not None:
        assert found[1] == reason
    await client.wait_end()
    client.close()
    await check_alive(await server.anonymous())


# What is read.


async def test_answer_is_one_unmasked_text_frame(server: WireServer) -> None:
    """A server never masks (RFC 6455, 5.1)."""
    client = await server.anonymous()
    await client.send_text(PING_CALL)
    head = await client.read_exactly(2)
    assert head == bytes((0x81, len(PONG_ANSWER)))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 90000])
async def test_frames_of_every_length_form_are_read_and_written(
    server: WireServer, size: int
) -> None:
    """7, 16 and 64 bit lengths (RFC 6455, 5.2), in both directions."""
    client = await server.user()
    text = "x" * size
    assert await client.call("wire.note", text) == size
    assert noted[-1] == text
    assert await client.call("demo.noop", text) > 0  # a job's id


async def test_masked_frame_is_unmasked(server: WireServer) -> None:
    """Real clients mask with a random key."""
    client = await server.anonymous()
    key = os.urandom(4)
    masked = bytes(b ^ key[i % 4] for i, b in enumerate(PING_CALL))
    await client.send_bytes(bytes((0x81, 0x80 | len(masked))) + key + masked)
    assert await client.receive_text() == PONG_ANSWER


async def test_frame_may_come_byte_by_byte(server: WireServer) -> None:
    """How a network cuts a frame does not matter."""
    client = await server.anonymous()
    for byte in client_frame(TEXT, PING_CALL):
        await client.send_bytes(bytes([byte]))
        await anyio.lowlevel.checkpoint()
    assert await client.receive_text() == PONG_ANSWER


async def test_many_frames_may_come_at_once(server: WireServer) -> None:
    """They are answered in their order."""
    client = await server.anonymous()
    await client.send_bytes(
        b"".join(client_frame(TEXT, note_call(b"x" * n)) for n in range(500))
    )
    answers = [(await client.receive())["result"] for _ in range(500)]
    assert answers == list(range(500))


async def test_fragments_are_joined_around_a_ping(server: WireServer) -> None:
    """Control frames may come between fragments (RFC 6455, 5.4)."""
    client = await server.anonymous()
    await client.send_bytes(
        client_frame(TEXT, PING_CALL[:7], fin=False)
        + client_frame(PING, b"now")
        + client_frame(CONT, b"", fin=False)
        + client_frame(CONT, PING_CALL[7:20], fin=False)
        + client_frame(PONG, b"unasked")
        + client_frame(CONT, PING_CALL[20:])
    )
    found = {await client.receive_frame() for _ in range(2)}
    assert found == {(PONG, b"now", True), (TEXT, PONG_ANSWER, True)}


async def test_character_may_be_cut_by_fragments(server: WireServer) -> None:
    """UTF-8 is a matter of the message, not of its fragments."""
    client = await server.anonymous()
    data = note_call("\N{SNOWMAN}".encode())
    cut = data.index(b"\xe2") + 1
    await client.send_bytes(
        client_frame(TEXT, data[:cut], fin=False) + client_frame(CONT, data[cut:])
    )
    assert (await client.receive())["result"] == 1
    assert noted[-1] == "\N{SNOWMAN}"


async def test_4096_fragments_are_a_message_and_4097_are_not(
    server: WireServer,
) -> None:
    """The number of fragments is limited, empty ones count."""
    client = await server.anonymous()
    middle = client_frame(CONT, b"", fin=False) * 4094
    start, end = client_frame(TEXT, PING_CALL, fin=False), client_frame(CONT)
    await client.send_bytes(start + middle + end)
    assert await client.receive_text() == PONG_ANSWER
    await check_refused(
        server,
        start + middle + client_frame(CONT, fin=False) + end,
        1009,
        "Too many fragments",
    )


async def test_pings_are_answered_with_their_payload(server: WireServer) -> None:
    """Each of them, as long as the client keeps up."""
    client = await server.anonymous()
    for payload in (b"", b"x", b"\xff" * 125):
        await client.send_bytes(client_frame(PING, payload))
        frame = await client.receive_frame()
        assert frame == (PONG, payload, True)


async def test_message_before_a_close_in_one_piece_is_handled(
    server: WireServer,
) -> None:
    """A client may send a notification and leave at once."""
    client = await server.anonymous()
    note = b'{"jsonrpc":"2.0","method":"wire.note","params":["parting"]}'
    await client.send_bytes(
        client_frame(TEXT, note) + client_frame(CLOSE, struct.pack("!H", 1001))
    )
    assert await client.receive_close() == (1001, "")
    assert noted[-1] == "parting"


async def test_many_messages_before_a_close_are_all_handled(
    server: WireServer,
) -> None:
    """However long they take, and although the client is gone by then."""
    client = await server.anonymous()
    before = len(noted)
    note = b'{"jsonrpc":"2.0","method":"wire.note","params":["one of many"]}'
    await client.send_bytes(
        client_frame(TEXT, note) * 5000 + client_frame(CLOSE, struct.pack("!H", 1001))
    )
    assert await client.receive_close() == (1001, "")
    assert noted[before:] == ["one of many"] * 5000


async def test_large_answer_before_a_close_is_sent_whole(
    server: WireServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection ends behind it, once: the loop has nothing to complain of."""
    size = 12_000_000
    client = await server.user(receive_buffer=1 << 16)
    await client.send_json(
        {"jsonrpc": "2.0", "id": 1, "method": "wire.fill", "params": [size]}
    )
    await client.send_bytes(client_frame(CLOSE, struct.pack("!H", 1000)))
    assert len(await client.receive_text()) > size
    assert await client.receive_close() == (1000, "")
    await client.wait_end()
    await anyio.lowlevel.checkpoint()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_message_after_a_close_is_ignored(server: WireServer) -> None:
    """Nothing counts after the close frame (RFC 6455, 1.4)."""
    client = await server.anonymous()
    before = len(noted)
    await client.send_bytes(
        client_frame(CLOSE, struct.pack("!H", 1000))
        + client_frame(TEXT, note_call(b"late"))
    )
    assert await client.receive_close() == (1000, "")
    await client.wait_end()
    assert len(noted) == before


async def test_message_before_a_broken_frame_is_answered(server: WireServer) -> None:
    """What is wrong later changes nothing about what was right before."""
    client = await server.anonymous()
    await client.send_bytes(client_frame(TEXT, PING_CALL) + b"\x83\x00")
    assert await client.receive_text() == PONG_ANSWER
    assert (await client.receive_close())[0] == 1002


async def test_message_after_a_refused_one_is_ignored(server: WireServer) -> None:
    """Once a connection is failed, nothing more is read from it."""
    client = await server.anonymous()
    before = len(noted)
    await client.send_bytes(
        client_frame(BINARY, b"x") + client_frame(TEXT, note_call(b"late"))
    )
    assert (await client.receive_close())[0] == 1003
    await client.wait_end()
    assert len(noted) == before


# What is refused.


@pytest.mark.parametrize(
    "data",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"core.ping","x":"\xff"}',
        b"\xc3",
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        b'"\xf5\x80\x80\x80"',
        b"\xef\xbb",
    ],
)
async def test_bad_utf8_closes_1007(server: WireServer, data: bytes) -> None:
    """Text is UTF-8 or no text (RFC 6455, 8.1)."""
    await check_refused(server, client_frame(TEXT, data), 1007)


async def test_bad_utf8_in_fragments_closes_1007(server: WireServer) -> None:
    """Also when every fragment alone could be the start of something good."""
    data = client_frame(TEXT, b'"\xe2', fin=False) + client_frame(CONT, b'"')
    await check_refused(server, data, 1007)


@pytest.mark.parametrize("fin", [True, False])
async def test_binary_closes_1003(server: WireServer, fin: bool) -> None:
    """Text frames only."""
    data = client_frame(BINARY, PING_CALL, fin=fin)
    await check_refused(server, data, 1003, "Text frames only")


BROKEN = {
    "unmasked": bytes((0x81, len(PING_CALL))) + PING_CALL,
    "continuation of nothing": client_frame(CONT, b"x"),
    "text inside fragments": client_frame(TEXT, b"x", fin=False)
    + client_frame(TEXT, b"x"),
    "reserved bit": b"\xc1\x80\x00\x00\x00\x00",
    "reserved opcode": b"\x83\x80\x00\x00\x00\x00",
    "reserved control opcode": b"\x8b\x80\x00\x00\x00\x00",
    "long control frame": client_frame(PING, b"x" * 126),
    "fragmented ping": client_frame(PING, b"x", fin=False),
    "close with one byte": client_frame(CLOSE, b"x"),
    "close with a code nobody may send": client_frame(CLOSE, struct.pack("!H", 1005)),
    "close inside fragments": client_frame(TEXT, b"x", fin=False)
    + client_frame(CLOSE, struct.pack("!H", 1000)),
    "plain text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_frame_closes_1002(server: WireServer, name: str) -> None:
    """A frame that RFC 6455 forbids ends the connection, and only this one."""
    await check_refused(server, BROKEN[name], 1002)


async def test_close_with_a_bad_reason_is_refused(server: WireServer) -> None:
    """The reason is UTF-8 too."""
    data = client_frame(CLOSE, struct.pack("!H", 1000) + b"\xff")
    await check_refused(server, data, 1007)


async def test_garbage_ends_only_its_own_connection(server: WireServer) -> None:
    """Whatever bytes come, the server answers the next client."""
    chance = random.Random(7)  # noqa: S311 - the same garbage every time
    witness = await server.anonymous()
    for _ in range(40):
        client = await server.anonymous()
        with anyio.move_on_after(5) as scope:
            try:
                await client.send_bytes(chance.randbytes(chance.randrange(1, 3000)))
                client.sock.shutdown(1)
            except ConnectionError:
                pass
            await client.wait_end()
        assert not scope.cancelled_caught
        client.close()
    await check_alive(witness)


class Failing:
    """A handler with a bug."""

    def receive(self, session: ClientSession, raw: bytes) -> None:
        raise LookupError("a bug")


async def test_bug_outside_of_a_call_closes_1011() -> None:
    """One connection ends, with a code that says whose fault it was."""
    async with wire_server() as other:
        client, witness = await other.anonymous(), await other.anonymous()
        listeners = other.running.server
        kept, listeners.handler = listeners.handler, Failing()
        await client.send_text(PING_CALL)
        await client.send_text(PING_CALL)
        assert (await client.receive_close())[0] == 1011
        await client.wait_end()
        listeners.handler = kept
        await check_alive(witness)


# Sizes.


async def test_anonymous_message_may_have_exactly_the_limit(
    server: WireServer,
) -> None:
    """8192 bytes before login."""
    client = await server.anonymous()
    await client.send_text(padded(ANONYMOUS_LIMIT))
    assert (await client.receive())["result"] > 8000


@pytest.mark.parametrize("form", ["whole", "header only", "fragments"])
async def test_anonymous_message_over_the_limit_closes_1007(
    server: WireServer, form: str
) -> None:
    """With the reference's text; a header that announces it is enough."""
    data = padded(ANONYMOUS_LIMIT + 1)
    frames = {
        "whole": client_frame(TEXT, data),
        "header only": client_frame(TEXT, data)[:8],
        "fragments": client_frame(TEXT, data[:5000], fin=False)
        + client_frame(CONT, data[5000:]),
    }
    await check_refused(
        server, frames[form], 1007, "Anonymous connection max message length is 8 kB"
    )


async def test_huge_message_is_refused_although_its_sender_goes_on(
    server: WireServer,
) -> None:
    """The close frame arrives: no reset overtakes it."""
    client = await server.anonymous()
    await client.send_bytes(client_frame(TEXT, b"x" * 10**7)[: 256 * 1024])
    assert (await client.receive_close())[0] == 1007


async def test_limit_after_login_is_another_and_closes_1009(
    server: WireServer,
) -> None:
    """The configured one, exactly."""
    client = await server.user()
    await client.send_text(padded(LIMIT))
    assert (await client.receive())["result"] > 99_000
    await client.send_text(padded(LIMIT + 1))
    assert await client.receive_close() == (1009, "Max message length is 97 kB")


async def test_logout_brings_the_small_limit_back(server: WireServer) -> None:
    """An anonymous connection is one again."""
    client = await server.user()
    assert await client.call("auth.logout") is True
    await client.send_text(padded(ANONYMOUS_LIMIT + 1))
    assert (await client.receive_close())[0] == 1007


async def test_size_is_counted_over_all_fragments(server: WireServer) -> None:
    """Many small fragments are no way around the limit."""
    fragment = client_frame(CONT, b"x" * 100, fin=False)
    data = client_frame(TEXT, b'"', fin=False) + fragment * 90
    await check_refused(server, data, 1007)


# The upgrade.


async def test_accept_key_is_that_of_the_request(server: WireServer) -> None:
    """RFC 6455, section 1.3, has this pair."""
    sock = await open_socket(server.tcp)
    client = server.keep(WireClient(sock))
    await client.send_bytes(upgrade_request())
    head = await client.read_head()
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head


async def test_no_extension_and_no_subprotocol_is_chosen(server: WireServer) -> None:
    """Compression is off by default; offers are passed over."""
    client = server.keep(WireClient(await open_socket(server.tcp)))
    offers = {
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol": "jsonrpc, other",
    }
    await client.send_bytes(upgrade_request(headers=offers))
    head = (await client.read_head()).lower()
    assert head.startswith(b"http/1.1 101 ")
    assert b"sec-websocket-extensions" not in head
    assert b"sec-websocket-protocol" not in head
    await check_alive(client)


async def test_call_may_follow_the_upgrade_in_one_piece(server: WireServer) -> None:
    """A client that does not wait for the 101 loses nothing."""
    client = server.keep(WireClient(await open_socket(server.tcp)))
    await client.send_bytes(upgrade_request() + client_frame(TEXT, PING_CALL))
    assert (await client.read_head()).startswith(b"HTTP/1.1 101 ")
    assert await client.receive_text() == PONG_ANSWER


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("Sec-WebSocket-Key", "short", b"400"),
        ("Sec-WebSocket-Key", "!" * 24, b"400"),
        ("Sec-WebSocket-Version", "8", b"400"),
        ("Host", "evil.example", b"403"),
        ("Origin", "http://evil.example", b"403"),
    ],
)
async def test_bad_upgrade_is_refused_with_a_response(
    server: WireServer, field: str, value: str, status: bytes
) -> None:
    """Whoever asks wrongly is told so."""
    client = server.keep(WireClient(await open_socket(server.tcp)))
    await client.send_bytes(upgrade_request(headers={field: value}))
    head = await client.read_head()
    assert head.split(b" ")[1] == status
    await client.wait_end()


async def test_wrong_path_is_404(server: WireServer) -> None:
    """There is one place for WebSockets, and the refusal names it."""
    with pytest.raises(ConnectionRefusedError, match="404"):
        await server.anonymous(path="/elsewhere")


async def test_query_string_does_not_matter(server: WireServer) -> None:
    """Some clients add one."""
    await check_alive(await server.anonymous(path="/api/current?x=1"))


async def test_named_version_is_served(server: WireServer) -> None:
    """The official clients ask for a version by name."""
    await check_alive(await server.anonymous(path="/api/v26.0.0"))


async def test_nothing_is_sent_before_the_client_asks(server: WireServer) -> None:
    """The first bytes after the upgrade are an answer."""
    client = await server.unix()
    await check_alive(client)
