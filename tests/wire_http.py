"""HTTP on a plain socket: what is sent is what the test says."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Self

import h11
from wire_client import WireClient, open_socket

__all__ = ["HttpAnswer", "HttpClient", "http_client"]


class HttpAnswer(NamedTuple):
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class HttpClient:
    """One connection; it sends bytes and reads responses, however many.

    Attributes:
        wire: the socket, for what is not HTTP.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.wire = WireClient(sock)

    @classmethod
    async def open(cls, address: tuple[str, int] | Path) -> Self:
        """Connect."""
        return cls(await open_socket(address))

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.wire.send_bytes(data)

    async def ask(
        self,
        target: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        **headers: str,
    ) -> HttpAnswer:
        """Send one request and read its response.

        Args:
            target: path and query.
            method: in capital letters.
            body: sent with its length; None for none.
            headers: underscores stand for dashes; Host is localhost by default.
        """
        fields = {"Host": "localhost"}
        fields |= {name.replace("_", "-"): text for name, text in headers.items()}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
        head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n"
        await self.send(head.encode() + (body or b""))
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> HttpAnswer:
        """Read one response; the method says whether it has a body."""
        head = await self.wire.read_head()
        if head.startswith(b"HTTP/1.1 101 "):
            return HttpAnswer(101, {}, b"")
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(head)
        response = parser.next_event()
        assert isinstance(response, (h11.Response, h11.InformationalResponse))
        headers = {name.decode(): text.decode() for name, text in response.headers}
        body = b""
        while isinstance(response, h11.Response):
            event = parser.next_event()
            if event is h11.NEED_DATA:
                # Byte by byte: what follows belongs to the next response.
                try:
                    parser.receive_data(await self.wire.read_exactly(1))
                except EOFError:
                    parser.receive_data(b"")
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                break
        return HttpAnswer(response.status_code, headers, body)

    async def is_closed(self) -> bool:
        """Wait until the server closes; nothing else may come before."""
        try:
            await self.wire.read_exactly(1)
        except EOFError:
            return True
        return False

    def close(self) -> None:
        """Close the socket."""
        self.wire.close()


@asynccontextmanager
async def http_client(address: tuple[str, int] | Path) -> AsyncIterator[HttpClient]:
    """Connect for the length of a block."""
    client = await HttpClient.open(address)
    try:
        yield client
    finally:
        client.close()
