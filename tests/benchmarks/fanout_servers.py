"""The rivals of the fan-out row: ``fanout_servers NAME LOOP`` serves one of them.

Each sends an event to all connections when one of them asks for it, by a message with
the number of ticks of the loop and of events in each tick; then it answers.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import websockets
from benchmarks.work import COLLECTION, make_thing
from websockets.asyncio.server import broadcast

from middlewared.frames import text_frame

Connections = set[websockets.ServerConnection]
Send = Callable[[Connections, int, int], Awaitable[None]]


class Update(msgspec.Struct):
    """An event."""

    msg: str
    collection: str
    id: int
    fields: msgspec.Raw


class Notification(msgspec.Struct):
    """A message."""

    jsonrpc: str
    method: str
    params: Update


def _encode(number: int, tick: int) -> bytes:
    fields = msgspec.Raw(make_thing(number, tick))
    update = Update("changed", COLLECTION, number, fields)
    return msgspec.json.encode(Notification("2.0", "collection_update", update))


async def send_shared(connections: Connections, number: int, tick: int) -> None:
    """Encode and frame once, and write that to each transport."""
    frame = text_frame(_encode(number, tick))
    for connection in connections:
        connection.transport.write(frame)


async def send_broadcast(connections: Connections, number: int, tick: int) -> None:
    """Encode once, and let websockets' `broadcast` frame it for each."""
    broadcast(connections, _encode(number, tick).decode())


async def send_apart(connections: Connections, number: int, tick: int) -> None:
    """Encode for each client, as most programs do."""
    for connection in connections:
        await connection.send(_encode(number, tick), text=True)


SENDS: dict[str, Send] = {
    "shared": send_shared,
    "broadcast": send_broadcast,
    "apart": send_apart,
}


async def _main(send: Send) -> None:
    connections: Connections = set()

    async def handler(connection: websockets.ServerConnection) -> None:
        connections.add(connection)
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                ticks, items = msgspec.json.decode(
                    await connection.recv(decode=False), type=tuple[int, int]
                )
                for tick in range(ticks):
                    for number in range(items):
                        await send(connections, number, tick)
                    await asyncio.sleep(0)
                await connection.send("done")
        connections.discard(connection)

    server = await websockets.serve(
        handler, "127.0.0.1", 0, compression=None, ping_interval=None
    )
    port: Any = next(iter(server.sockets)).getsockname()[1]
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    if sys.argv[2] == "uvloop":
        import uvloop

        uvloop.run(_main(SENDS[sys.argv[1]]))
    else:
        asyncio.run(_main(SENDS[sys.argv[1]]))
