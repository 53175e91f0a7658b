"""The rivals of the RPC rows: ``servers NAME LOOP WORK`` serves one of them.

All but the naive one share `answer`: msgspec from end to end, no access rights, no
limits, no errors, no tasks. What is left is the WebSocket layer.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import websockets
from benchmarks.work import PING, TYPED, Typed, make_report

__all__ = ["ANSWERS", "SERVERS"]

Answer = Callable[[bytes], bytes]
Serve = Callable[[Answer], Coroutine[Any, Any, int]]


class Request(msgspec.Struct):
    """A call of `core.ping`."""

    id: Any
    method: str
    params: list[Any] = []


class TypedRequest(msgspec.Struct):
    """A call with ten named params."""

    id: Any
    method: str
    params: Typed


class Response(msgspec.Struct):
    """An answer."""

    jsonrpc: str
    result: Any
    id: Any


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Request).decode
_decode_batch = msgspec.json.Decoder(list[Request]).decode
_decode_typed = msgspec.json.Decoder(TypedRequest).decode


def answer_ping(raw: bytes) -> bytes:
    """Answer pong."""
    return _encode(Response("2.0", "pong", _decode(raw).id))


def answer_batch(raw: bytes) -> bytes:
    """Answer pong to each of a batch."""
    return _encode([Response("2.0", "pong", one.id) for one in _decode_batch(raw)])


def answer_typed(raw: bytes) -> bytes:
    """Answer a report."""
    request = _decode_typed(raw)
    params = request.params
    report = make_report(params.pool, params.owner, params.count)
    return _encode(Response("2.0", report, request.id))


ANSWERS = {"ping": answer_ping, "batch": answer_batch, "typed": answer_typed}


async def serve_websockets(answer: Answer) -> int:
    """Serve with websockets, as its documentation shows."""

    async def handler(connection: websockets.ServerConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                message = await connection.recv(decode=False)
                await connection.send(answer(message), text=True)

    server = await websockets.serve(
        handler, "127.0.0.1", 0, compression=None, max_size=2**24
    )
    return _port(server.sockets)


async def serve_aiohttp(answer: Answer) -> int:
    """Serve with aiohttp, whose parser is C."""
    from aiohttp import WSMsgType, web  # noqa: PLC0415 - where it is installed

    async def handler(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            compress=False, decode_text=False, max_msg_size=2**24
        )
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_frame(answer(message.data), WSMsgType.TEXT)
        return socket

    app = web.Application()
    app.router.add_get("/api/current", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return int(runner.addresses[0][1])


async def serve_picows(answer: Answer) -> int:
    """Serve with picows, which is Cython from the socket to the frame."""
    import picows  # noqa: PLC0415 - where it is installed

    class Listener(picows.WSListener):  # type: ignore[misc]  # it may not be there
        """One connection."""

        def on_ws_frame(
            self, transport: picows.WSTransport, frame: picows.WSFrame
        ) -> None:
            """Answer a message."""
            if frame.msg_type == picows.WSMsgType.TEXT:
                raw = frame.get_payload_as_bytes()
                transport.send(picows.WSMsgType.TEXT, answer(raw))

    server = await picows.ws_create_server(
        lambda _: Listener(), "127.0.0.1", 0, max_frame_size=2**24
    )
    return _port(server.sockets)


async def serve_naive(_: Answer) -> int:
    """Serve with jsonrpcserver and its defaults over websockets."""
    from jsonrpcserver import Success, async_dispatch, method  # noqa: PLC0415 - only here

    @method(name=PING)
    async def ping() -> Any:
        return Success("pong")

    @method(name=TYPED)
    async def typed(pool: str, owner: str, count: int, **_: Any) -> Any:
        return Success(msgspec.to_builtins(make_report(pool, owner, count)))

    async def handler(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(await async_dispatch(message))

    server = await websockets.serve(
        handler, "127.0.0.1", 0, compression=None, max_size=2**24
    )
    return _port(server.sockets)


SERVERS: dict[str, Serve] = {
    "websockets": serve_websockets,
    "aiohttp": serve_aiohttp,
    "picows": serve_picows,
    "jsonrpcserver": serve_naive,
}


def _port(sockets: Any) -> int:
    return int(next(iter(sockets)).getsockname()[1])


async def _main(name: str, work: str) -> None:
    port = await SERVERS[name](ANSWERS[work])
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(_main(sys.argv[1], sys.argv[3]))
    else:
        asyncio.run(_main(sys.argv[1], sys.argv[3]))
