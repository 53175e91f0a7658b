"""One WebSocket: requests out, answers matched, notifications handed on."""

import asyncio
import logging
import ssl as _ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.asyncio.client import connect as tcp_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from middlewared.client.address import Address
from middlewared.client.errors import CannotConnect, ConnectionLost, remote_error
from middlewared.client.wire import Message, decode_message, encode_request

__all__ = ["Connection", "dial"]

log = logging.getLogger("middlewared.client")

#: Bytes of the largest message that is accepted; a list of jobs can be long.
MAX_MESSAGE = 256 * 2**20

#: Seconds for the closing handshake; a server that is gone must not hold us up.
CLOSE_TIMEOUT = 1.0

Notify = Callable[[str, Any], None]


class Connection:
    """One open WebSocket. It never comes back: a client that reconnects makes another.

    Args:
        socket: the open WebSocket.
        notify: called with method and params of each notification, from `read`; it
            must not block, since answers wait behind it.
    """

    def __init__(self, socket: ClientConnection, notify: Notify) -> None:
        self._socket = socket
        self._notify = notify
        self._pending: dict[str, asyncio.Future[Any]] = {}
        self._lost: ConnectionLost | None = None

    async def request(
        self, message_id: str, method: str, params: Sequence[Any] | Mapping[str, Any]
    ) -> Any:
        """Send a request and wait for its answer.

        Cancelling stops the waiting only: a request that was sent runs on, and its
        answer is dropped.

        Raises:
            RemoteError: the server answered with an error.
            ConnectionLost: there will be no answer.
            TypeError: a param is nothing that JSON can say.
            NotText: the method or a text in the params is no UTF-8.
        """
        frame = encode_request(message_id, method, params)
        if self._lost is not None:
            raise self._lost
        future = asyncio.get_running_loop().create_future()
        self._pending[message_id] = future
        try:
            await self._socket.send(frame, text=True)
            return await future
        except ConnectionClosed as closed:
            raise self._lost or _lost(closed) from None
        finally:
            self._pending.pop(message_id, None)
            # An error that comes while `send` fails, or while we are cancelled, is
            # nobody's: fetch it, or asyncio reports it as never retrieved.
            if not future.cancel() and not future.cancelled():
                future.exception()

    async def read(self) -> ConnectionLost:
        """Handle what the server sends until the connection ends, then say why.

        Calls in flight get the same error.
        """
        try:
            while True:
                self._handle(decode_message(await self._socket.recv(decode=False)))
        except ConnectionClosed as closed:
            self._lost = _lost(closed)
        except msgspec.DecodeError as error:
            self._lost = ConnectionLost(f"the server sent no JSON-RPC message: {error}")
            await self._socket.close(1002)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self._lost)
        return self._lost

    def _handle(self, message: Message) -> None:
        if isinstance(message.method, str):
            self._notify(message.method, message.params)
            return
        if not isinstance(message.id, str):
            log.warning(
                "the server sent a message that answers no request: %s", message
            )
            return
        future = self._pending.get(message.id)
        if future is None or future.done():
            return
        if isinstance(message.error, msgspec.UnsetType):
            future.set_result(message.result)
        else:
            future.set_exception(remote_error(message.error))

    async def close(self) -> None:
        """Close in good order, within `CLOSE_TIMEOUT`."""
        await self._socket.close()


async def dial(
    address: Address,
    notify: Notify,
    *,
    ssl: _ssl.SSLContext | None = None,
    open_timeout: float = 10.0,
) -> Connection:
    """Open a WebSocket to a server.

    Args:
        address: where the server is.
        notify: see `Connection`.
        ssl: TLS settings for a ``wss://`` address; by default the system's.
        open_timeout: seconds for connect and opening handshake together.

    Raises:
        CannotConnect: there is no server, or it refused; the message says which.
    """
    options: dict[str, Any] = {
        "compression": None,
        "max_size": MAX_MESSAGE,
        "open_timeout": open_timeout,
        "close_timeout": CLOSE_TIMEOUT,
    }
    if ssl is not None and address.uri.startswith("wss:"):
        options["ssl"] = ssl
    try:
        if address.unix is not None:
            socket = await unix_connect(address.unix, address.uri, **options)
        else:
            socket = await tcp_connect(address.uri, proxy=None, **options)
    except (OSError, WebSocketException, EOFError) as error:
        raise CannotConnect(
            f"cannot connect to {address.text}: {_why(error)}"
        ) from error
    return Connection(socket, notify)


def _why(error: Exception) -> str:
    """Say in a few words why a connection could not be opened."""
    match error:
        case FileNotFoundError():
            text = "there is no such socket; is the server running?"
        case ConnectionRefusedError():
            text = "nobody listens there; is the server running?"
        case TimeoutError():
            text = "no answer in time"
        case InvalidStatus():
            text = f"the server answered HTTP {error.response.status_code}"
        case OSError() if error.strerror and not isinstance(error, _ssl.SSLError):
            text = error.strerror
        case OSError() | InvalidURI():
            # asyncio joins the errors of several addresses into one without errno.
            text = str(error)
        case _:
            text = f"no WebSocket server there ({error})"
    return text


def _lost(closed: ConnectionClosed) -> ConnectionLost:
    """Describe the end of a connection."""
    frame = closed.rcvd or closed.sent
    if frame is None:
        return ConnectionLost("connection lost: the server went away")
    reason = f" ({frame.reason})" if frame.reason else ""
    texts = {
        1000: "the connection was closed",
        1001: "connection lost: the server went away",
        1008: "connection refused by the server",
        1012: "connection lost: the server is stopping",
    }
    text = texts.get(frame.code, f"connection lost: close code {frame.code}")
    return ConnectionLost(f"{text}{reason}", frame.code)
