"""A WebSocket client that does nothing on its own: what tests of the server need.

It reads only when it is asked to, answers no ping and checks nothing, so that a test
can be any bad client. Frames are RFC 6455, section 5.2.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

__all__ = [
    "BINARY",
    "CLOSE",
    "CONT",
    "PING",
    "PONG",
    "TEXT",
    "WireClient",
    "WireFrame",
    "client_frame",
    "open_socket",
    "upgrade_request",
]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

#: Seconds after which a wait of a test has failed.
PATIENCE = 20.0


class WireFrame(NamedTuple):
    """One frame as it came."""

    opcode: int
    payload: bytes
    fin: bool


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """Build a masked frame; the mask is zero, which is as legal as any other."""
    first = opcode | (0x80 if fin else 0)
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + bytes(4) + payload


async def open_socket(
    address: tuple[str, int] | Path, *, receive_buffer: int | None = None
) -> socket.socket:
    """Connect a plain socket to a port or to a unix socket.

    Args:
        address: host and port, or a path.
        receive_buffer: bytes that the kernel keeps for a client that does not read.
    """
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    sock = socket.socket(family)
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    target = str(address) if isinstance(address, Path) else address
    try:
        await asyncio.get_running_loop().sock_connect(sock, target)
    except OSError:
        sock.close()
        raise
    return sock


class WireClient:
    """One socket, from the upgrade on.

    Attributes:
        sock: the socket.
        events: notifications that came while an answer was awaited.
    """

    def __init__(self, sock: socket.socket, rest: bytes = b"") -> None:
        self.sock = sock
        self.events: list[dict[str, Any]] = []
        self._buffer = bytearray(rest)
        self._number = 0
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(
        cls,
        address: tuple[str, int] | Path,
        *,
        path: str = "/api/current",
        receive_buffer: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Self:
        """Connect and upgrade.

        Raises:
            ConnectionRefusedError: the answer was not 101.
        """
        sock = await open_socket(address, receive_buffer=receive_buffer)
        client = cls(sock)
        try:
            await client.send_bytes(upgrade_request(path, headers))
            head = await client.read_head()
        except BaseException:
            sock.close()
            raise
        if not head.startswith(b"HTTP/1.1 101 "):
            sock.close()
            raise ConnectionRefusedError(head.decode())
        return client

    @property
    def buffered(self) -> int:
        """Bytes that were read from the socket but not asked for yet."""
        return len(self._buffer)

    # Sending.

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_sendall(self.sock, data)

    async def send_text(self, text: str | bytes) -> None:
        """Send one message."""
        data = text.encode() if isinstance(text, str) else text
        await self.send_bytes(client_frame(TEXT, data))

    async def send_json(self, message: Any) -> None:
        """Send one message from plain values."""
        await self.send_text(msgspec.json.encode(message))

    # Receiving.

    async def read_more(self, size: int = 1 << 16) -> None:
        """Read what the socket has.

        Raises:
            EOFError: the server closed or dropped the connection.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                data = await self._loop.sock_recv(self.sock, size)
        except ConnectionError as exc:
            raise EOFError(str(exc)) from None
        if not data:
            raise EOFError("closed")
        self._buffer += data

    async def read_head(self) -> bytes:
        """Read an HTTP head, up to its empty line."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            await self.read_more()
        head = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        return head

    async def read_exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        while len(self._buffer) < size:
            await self.read_more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def receive_frame(self) -> WireFrame:
        """Read one frame of any kind."""
        first, length = await self.read_exactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await self.read_exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.read_exactly(8))
        payload = await self.read_exactly(length)
        return WireFrame(first & 0x0F, payload, bool(first & 0x80))

    async def receive_text(self) -> bytes:
        """Read the next message, passing over pings and pongs."""
        while True:
            frame = await self.receive_frame()
            if frame.opcode == TEXT:
                return frame.payload
            assert frame.opcode in (PING, PONG), frame

    async def receive(self) -> Any:
        """Read the next message as plain values."""
        return msgspec.json.decode(await self.receive_text())

    async def receive_close(self) -> tuple[int, str]:
        """Read until the close frame; return its code and reason."""
        while True:
            frame = await self.receive_frame()
            if frame.opcode == CLOSE:
                (code,) = struct.unpack("!H", frame.payload[:2])
                return code, frame.payload[2:].decode()

    async def wait_end(self) -> None:
        """Read until the server has closed or dropped the connection."""
        with contextlib.suppress(EOFError):
            while True:
                self._buffer.clear()
                await self.read_more()

    # Calling.

    async def ask(self, message: Any) -> Any:
        """Send a request with an id and return its response; events are kept."""
        await self.send_json(message)
        return await self.answer_to(message["id"])

    async def answer_to(self, number: Any) -> Any:
        """Read until the response with this id; events are kept."""
        while True:
            found = await self.receive()
            if isinstance(found, dict) and "method" in found:
                self.events.append(found)
            else:
                assert found["id"] == number, found
                return found

    async def request(self, method: str, params: Any = ()) -> Any:
        """Call a method and return the whole response."""
        self._number += 1
        return await self.ask(
            {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        )

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method and return its result."""
        response = await self.request(method, params)
        assert "result" in response, response
        return response["result"]

    async def login(self, username: str, password: str) -> None:
        """Log in with a password."""
        data = {
            "mechanism": "PASSWORD_PLAIN",
            "username": username,
            "password": password,
        }
        answer = await self.call("auth.login_ex", data)
        assert answer["response_type"] == "SUCCESS", answer

    async def wait_event(self, test: Callable[[dict[str, Any]], bool]) -> Any:
        """Read until an event whose params pass, and return these."""
        while True:
            found = self.events.pop(0) if self.events else await self.receive()
            if "method" in found and test(found["params"]):
                return found["params"]

    # Ending.

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


def upgrade_request(
    path: str = "/api/current", headers: dict[str, str] | None = None
) -> bytes:
    """Build the head of a request for an upgrade."""
    fields = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    } | (headers or {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()
