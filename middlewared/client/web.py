"""One HTTP request beside the WebSocket: an upload or a download."""

import ssl as _ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import anyio.abc
import h11

from middlewared.client.address import Address
from middlewared.client.errors import CannotConnect, ConnectionLost

__all__ = ["CHUNK", "Answer", "Exchange", "exchange"]

#: Bytes that are moved at one time.
CHUNK = 1 << 16
#: What goes wrong with a connection that stood.
_BROKEN = (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError)


class Answer(NamedTuple):
    """Status and headers of a response; names in small letters."""

    status: int
    headers: Mapping[str, str]


class Exchange:
    """One request and its response; made by `exchange`."""

    def __init__(self, stream: anyio.abc.ByteStream, host: str) -> None:
        self._stream = stream
        self._host = host
        self._parser = h11.Connection(h11.CLIENT)

    async def send_head(self, method: str, target: str, **headers: str) -> None:
        """Send the head of the request.

        Args:
            method: in capital letters.
            target: path and query.
            headers: underscores stand for dashes.
        """
        fields = [("Host", self._host), ("Connection", "close")]
        fields += [(name.replace("_", "-"), text) for name, text in headers.items()]
        await self._send(h11.Request(method=method, target=target, headers=fields))

    async def send_data(self, data: bytes) -> None:
        """Send more of the body."""
        await self._send(h11.Data(data=data))

    async def send_end(self) -> None:
        """Send the end of the body."""
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._parser.send(event)
        if data:
            await self._stream.send(data)

    async def read_head(self) -> Answer:
        """Wait for the head of the response.

        Raises:
            ConnectionLost: there is none.
        """
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                headers = {n.decode(): text.decode() for n, text in event.headers}
                return Answer(event.status_code, headers)

    async def read_body(self) -> AsyncIterator[bytes]:
        """Give the body of the response in pieces.

        Raises:
            ConnectionLost: it broke off before its end.
        """
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return

    async def _next_event(self) -> Any:
        while True:
            try:
                event = self._parser.next_event()
                if event is not h11.NEED_DATA:
                    return event
                self._parser.receive_data(await self._receive())
            except _BROKEN as error:
                raise ConnectionLost(f"the server broke off: {error}") from error
            except h11.RemoteProtocolError as error:
                raise ConnectionLost(f"the answer broke off: {error}") from error

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(CHUNK)
        except anyio.EndOfStream:
            return b""


@asynccontextmanager
async def exchange(
    address: Address, *, ssl: _ssl.SSLContext | None = None, open_timeout: float = 10.0
) -> AsyncIterator[Exchange]:
    """Connect to the server of an address for one request.

    Args:
        address: as for the WebSocket.
        ssl: TLS settings for a ``wss://`` address; by default the system's.
        open_timeout: seconds to connect.

    Raises:
        CannotConnect: there is no server, or it refused.
    """
    try:
        with anyio.fail_after(open_timeout):
            stream = await _connect(address, ssl)
    except (OSError, _ssl.SSLError) as error:
        text = str(error) or "no answer in time"
        raise CannotConnect(f"cannot connect to {address.text}: {text}") from error
    try:
        yield Exchange(stream, urlsplit(address.uri).netloc)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(stream)


async def _connect(
    address: Address, ssl: _ssl.SSLContext | None
) -> anyio.abc.ByteStream:
    if address.unix is not None:
        return await anyio.connect_unix(address.unix)
    parts = urlsplit(address.uri)
    tls = parts.scheme == "wss"
    port = parts.port or (443 if tls else 80)
    host = parts.hostname or ""
    if not tls:
        return await anyio.connect_tcp(host, port)
    return await anyio.connect_tcp(
        host,
        port,
        tls=True,
        ssl_context=ssl,
        tls_hostname=host,
        tls_standard_compatible=False,
    )
