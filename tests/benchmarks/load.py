"""A client that costs little: it sends prepared frames and looks at few answers.

It must not be the limit of what it measures. It keeps so many requests in flight: for
each answer it sends another one, and all that are due in one write.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

__all__ = ["Address", "Frames", "LoadClient", "call_frame", "call_text", "masked"]

#: A URL's host and port, or a unix socket.
Address = tuple[str, int] | Path
Payload = Callable[[memoryview], None]

_MASK = b"\x37\xfa\x21\x3d"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_LENGTH16, _LENGTH64 = 126, 127

_encode = msgspec.json.encode
_decode = msgspec.json.decode


def masked(payload: bytes, opcode: int = _TEXT) -> bytes:
    """Frame a message as clients must (RFC 6455, section 5.3)."""
    length = len(payload)
    if length < _LENGTH16:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | _LENGTH16, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | _LENGTH64, length)
    key = (_MASK * (length // 4 + 1))[:length]
    body = int.from_bytes(payload) ^ int.from_bytes(key)
    return head + _MASK + body.to_bytes(length)


def call_text(number: Any, method: str, params: Any) -> bytes:
    """Encode a request."""
    return _encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def call_frame(number: Any, method: str, params: Any) -> bytes:
    """Frame a request."""
    return masked(call_text(number, method, params))


class Frames:
    """Prepared frames, sent in turn and from the first one again."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._data = b"".join(frames)
        self._ends = [0]
        for frame in frames:
            self._ends.append(self._ends[-1] + len(frame))
        self._next = 0

    def take(self, count: int) -> bytes:
        """Give the next frames as one string."""
        parts = []
        while count:
            upto = min(self._next + count, len(self._ends) - 1)
            parts.append(self._data[self._ends[self._next] : self._ends[upto]])
            count -= upto - self._next
            self._next = upto % (len(self._ends) - 1)
        return b"".join(parts)


class LoadClient(asyncio.Protocol):
    """One connection.

    Attributes:
        messages: how many messages have come.
        take: called with each message, whose memory it may not keep; None to count
            them only.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.take: Payload | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._upgraded = False
        self._number = 0
        self._wake: Callable[[], None] | None = None
        self._lost = False

    @classmethod
    async def open(cls, address: Address, path: str = "/api/current") -> Self:
        """Connect and upgrade."""
        loop = asyncio.get_running_loop()
        if isinstance(address, Path):
            _, client = await loop.create_unix_connection(cls, str(address))
        else:
            _, client = await loop.create_connection(cls, *address)
        head = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        )
        client.write(head.encode())
        await client.wait(lambda: client._upgraded)
        return client

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # it can write

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake who waits."""
        self._lost = True
        self._look()

    def data_received(self, data: bytes) -> None:
        """Count messages, and hand them on."""
        if self._buffer:
            data = self._buffer + data
        if not self._upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._upgraded = True
        self._buffer = data[self._walk(data) :]
        self._look()

    def _walk(self, data: bytes) -> int:
        """Go over the whole frames; give where they end."""
        position, size, take = 0, len(data), self.take
        view = memoryview(data)
        while size - position >= 2:
            start, length = position + 2, data[position + 1]
            if length == _LENGTH16:
                start += 2
                length = int.from_bytes(data[position + 2 : start])
            elif length == _LENGTH64:
                start += 8
                length = int.from_bytes(data[position + 2 : start])
            if start + length > size:
                break
            if data[position] == 0x80 | _TEXT:
                self.messages += 1
                if take is not None:
                    take(view[start : start + length])
            elif data[position] == 0x80 | _PING:
                self.write(masked(data[start : start + length], _PONG))
            position = start + length
        return position

    # What rows use.

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self._transport is not None
        self._transport.write(data)

    def _look(self) -> None:
        if self._wake is not None:
            self._wake()

    async def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until something holds; it is looked at when something came.

        Raises:
            ConnectionError: the server closed the connection.
        """
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done() and (self._lost or ready()):
                woken.set_result(None)

        self._wake = wake
        wake()
        try:
            await woken
        finally:
            self._wake = None
        if not ready():
            raise ConnectionError("the server closed the connection")

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method and give its result; events meanwhile are lost."""
        answer = await self.ask(method, *params)
        assert "result" in answer, answer
        return answer["result"]

    async def ask(self, method: str, *params: Any) -> dict[str, Any]:
        """Call a method and give its answer; events meanwhile are lost."""
        self._number += 1
        number, answers = f"call {self._number}", list[dict[str, Any]]()

        def take(message: memoryview) -> None:
            answer = _decode(message)
            if isinstance(answer, dict) and answer.get("id") == number:
                answers.append(answer)

        before, self.take = self.take, take
        self.write(call_frame(number, method, params))
        try:
            await self.wait(lambda: bool(answers))
        finally:
            self.take = before
        return answers[0]

    async def pump(self, frames: Frames, count: int, in_flight: int) -> int:
        """Send so many requests, so many in flight, until all are answered."""
        began = self.messages
        sent = min(in_flight, count)

        def ready() -> bool:
            nonlocal sent
            answered = self.messages - began
            due = min(count, answered + in_flight) - sent
            if due > 0:
                sent += due
                self.write(frames.take(due))
            return answered >= count

        self.write(frames.take(sent))
        await self.wait(ready)
        return count

    def close(self) -> None:
        """Drop the connection."""
        assert self._transport is not None
        self._transport.abort()
