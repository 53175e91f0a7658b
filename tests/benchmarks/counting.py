"""A server in this process whose work can be counted: ``counting`` obeys a pipe.

Each line on standard input is a name of `WORKS` and a number of turns; what is
answered is a line, once they are done. Connections are real ones, but from the upgrade
on their transport is a list: what is counted begins where the loop hands bytes over,
and ends where bytes are handed to the loop.
"""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
from benchmarks.load import LoadClient, call_frame, call_text, masked
from benchmarks.plugins import middlewared_bench
from benchmarks.work import COLLECTION, PARAMS, PING, TYPED, make_thing

from middlewared import Audience, Event, connection, database
from middlewared.connection import Connection
from middlewared.testing import RunningServer, running_server

__all__ = ["AT_ONCE", "EACH", "LISTED", "SUBSCRIBERS", "WORKS"]

SUBSCRIBERS = 50
#: Calls in a batch.
EACH = 20
#: Jobs that are sent in one piece.
AT_ONCE = 128
#: Jobs in the answer to a query.
LISTED = 50


class Sink(asyncio.Transport):
    """A transport that takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()
        self._left = 0

    def expect(self, jobs: int) -> None:
        """Count the jobs that end from now on."""
        self._ended.clear()
        self._left = jobs

    async def wait(self) -> None:
        """Wait until as many have ended as were expected."""
        await self._ended.wait()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Forget what is sent, but for jobs that have ended."""
        self._left -= bytes(data).count(b'"state":"SUCCESS"')
        if self._left <= 0:
            self._ended.set()

    def is_closing(self) -> bool:
        """Say no."""
        return False

    def get_write_buffer_size(self) -> int:
        """Say that nothing waits."""
        return 0

    def pause_reading(self) -> None:
        """Do nothing: nobody reads."""

    def resume_reading(self) -> None:
        """Do nothing: nobody reads."""


class Works:
    """What is counted, on a server that runs."""

    def __init__(self, running: RunningServer, connections: list[Connection]) -> None:
        self._running = running
        self._first = connections[0]
        self._sink = Sink()
        for open_one in connections:
            open_one._transport = self._sink
        assert self._first.session is not None
        self._first.session.subscribe("core.get_jobs")

    async def ping(self, turns: int) -> None:
        """Call `core.ping`, one call in a tick of the loop."""
        await self._send(call_frame(100, PING, []), turns)

    async def batch(self, turns: int) -> None:
        """Call `core.ping` in batches, one batch in a tick of the loop."""
        texts = [call_text(number, PING, []) for number in range(100, 100 + EACH)]
        await self._send(masked(b"[%b]" % b",".join(texts)), turns)

    async def typed(self, turns: int) -> None:
        """Call a method with ten params, one call in a tick of the loop."""
        await self._send(call_frame(100, TYPED, PARAMS), turns)

    async def _send(self, frame: bytes, turns: int) -> None:
        for _ in range(turns):
            self._first.data_received(frame)
            await asyncio.sleep(0)

    async def event(self, turns: int) -> None:
        """Publish an event to `SUBSCRIBERS`, one event in a tick of the loop."""
        audience = Audience(None, frozenset())
        for _ in range(turns):
            fields = make_thing(1, 1)
            event = Event(COLLECTION, "changed", 1, fields, audience=audience)
            self._running.context.events.publish(event)
            await asyncio.sleep(0)

    async def job(self, turns: int) -> None:
        """Run a job that does nothing from the call to SUCCESS, one after the other."""
        await self._end(1, call_frame(100, "demo.noop", [1]), turns)

    async def jobs(self, turns: int) -> None:
        """Run `AT_ONCE` of them, sent in one piece; the next when all have ended."""
        numbers = range(100, 100 + AT_ONCE)
        frames = [call_frame(number, "demo.noop", [1]) for number in numbers]
        await self._end(AT_ONCE, b"".join(frames), turns)

    async def _end(self, jobs: int, frames: bytes, turns: int) -> None:
        for _ in range(turns):
            self._sink.expect(jobs)
            self._first.data_received(frames)
            await self._sink.wait()

    async def query(self, turns: int) -> None:
        """Ask for the newest `LISTED` jobs that have ended, one after the other."""
        asked = [[["state", "=", "SUCCESS"]], {"order_by": ["-id"], "limit": LISTED}]
        await self._end(LISTED, call_frame(100, "core.get_jobs", asked), turns)


WORKS: dict[str, Callable[[Works, int], Awaitable[None]]] = {
    "ping": Works.ping,
    "batch": Works.batch,
    "typed": Works.typed,
    "event": Works.event,
    "job": Works.job,
    "jobs": Works.jobs,
    # After the jobs, which it lists.
    "query": Works.query,
}


async def _obey() -> None:
    # By the clock a turn would end after fifty times less work than it does uncounted.
    connection.SLICE_SECONDS = database.SLICE_SECONDS = 1.0
    async with running_server(middlewared_bench.plugin) as running:
        clients = [
            await LoadClient.open(running.socket_path) for _ in range(SUBSCRIBERS)
        ]
        for client in clients:
            await client.call("core.subscribe", COLLECTION)
        works = Works(running, list(running.server.connections))
        print("ready", flush=True)
        gc.collect()
        gc.disable()
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            name, turns = line.split()
            await WORKS[name](works, int(turns))
            print("done", flush=True)


if __name__ == "__main__":
    anyio.run(_obey)
