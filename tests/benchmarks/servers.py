"""The rivals of the RPC benchmark: ``servers.py NAME`` serves one of them."""

import asyncio
import contextlib
import sys
from typing import Any

import msgspec
import websockets
from jsonrpcserver import Success, async_dispatch, method


class Request(msgspec.Struct):
    """What the bare servers decode."""

    id: Any
    method: str
    params: list[Any] = []


_decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode


async def bare(connection: websockets.ServerConnection) -> None:
    """Answer every request with pong: websockets and msgspec, nothing else."""
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            request = _decode(await connection.recv(decode=False))
            answer = {"jsonrpc": "2.0", "result": "pong", "id": request.id}
            await connection.send(_encode(answer), text=True)


@method(name="core.ping")
async def ping() -> Any:
    """Answer pong."""
    return Success("pong")


async def naive(connection: websockets.ServerConnection) -> None:
    """Answer through jsonrpcserver with its defaults."""
    async for message in connection:
        await connection.send(await async_dispatch(message))


async def main(name: str) -> None:
    """Serve one rival on a free port and print it."""
    handler = {"bare": bare, "naive": naive}[name]
    async with websockets.serve(
        handler, "127.0.0.1", 0, compression=None, max_size=2**24
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
