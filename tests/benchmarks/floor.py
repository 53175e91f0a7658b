"""Serves the sketch with some promises, and prints its port: ``floor FOLDER PROMISE``.

Each promise stands on those before it, so that the last one named is all of them. They
are kept to a job of which neither its method nor its caller asks anything more: no
secrets, logs, pipes, retries, deadlines or options. What is odd, such as a body that
fails, may take its time. The complete record holds all fields, whatever sets them; that
retries and deadlines are in it does not make the floor act on them.
"""

import asyncio
import gc
import sys
from pathlib import Path
from typing import Any

import uvloop
from benchmarks.promised.audited import Audited
from benchmarks.promised.connected import Connected
from benchmarks.promised.counted import Counted
from benchmarks.promised.found import Found
from benchmarks.promised.owned import Owned
from benchmarks.promised.queued import Queued
from benchmarks.promised.recorded import Recorded
from benchmarks.promised.told import Told
from benchmarks.promised.typed import Typed
from benchmarks.sketch import Sketch

from middlewared.collector import NEVER, YOUNG

__all__ = ["PROMISES"]

#: What the sketch keeps, by what its last promise is called.
PROMISES: dict[str, type[Sketch]] = {
    "plain": Sketch,
    "audit": Audited,
    "types": Typed,
    "owner": Owned,
    "queue": Queued,
    "events": Told,
    "figures": Counted,
    "ids": Found,
    "record": Recorded,
    "connections": Connected,
}


async def _serve(folder: Path, name: str) -> None:
    sketch = PROMISES[name](folder / "sketch.db")
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, NEVER, NEVER)
    loop = asyncio.get_running_loop()
    server: Any
    if isinstance(sketch, Connected):
        server = await loop.create_server(sketch.connect, "127.0.0.1", 0)
    else:
        server = await _listen(sketch)
    sys.stdout.write(f"{next(iter(server.sockets)).getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.create_future()


async def _listen(sketch: Sketch) -> Any:
    """Listen with a WebSocket in C."""
    import picows  # noqa: PLC0415 - where it is installed

    class Listener(picows.WSListener):  # type: ignore[misc]  # it may not be there
        """One connection."""

        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            """Keep what sends to it."""
            self._send = transport.underlying_transport.write

        def on_ws_frame(
            self, transport: picows.WSTransport, frame: picows.WSFrame
        ) -> None:
            """Take a message."""
            if frame.msg_type == picows.WSMsgType.TEXT:
                sketch.take(frame.get_payload_as_bytes(), self._send)

    return await picows.ws_create_server(lambda _: Listener(), "127.0.0.1", 0)


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]), sys.argv[2]))
