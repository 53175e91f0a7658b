"""Many clients come back at once and have missed much: others hardly notice."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psutil
import pytest
from benchmarks.pinger import pinging
from server_process import ServerProcess
from wire_client import PING, PONG, WireClient, client_frame

SOAK = bool(os.environ.get("SOAK"))
#: Jobs, with three events each, and clients that missed them all.
JOBS, CLIENTS = (34_000, 50) if SOAK else (700, 20)
#: Goal for ``core.ping`` meanwhile, and the slack of a machine that others use, too.
PING_P99_SECONDS = 0.1 * (1 if SOAK else 10)
#: What the server may grow by: parts that are read, and what is on its way.
GROWTH_BYTES = 200 * 2**20


async def run_jobs(path: Path) -> None:
    """Run the jobs, some hundred at a time."""
    client = await WireClient.open(path)
    await client.call("core.set_options", {"legacy_jobs": False})
    left = JOBS
    while left:
        count = min(left, 500)
        batch = [
            {"jsonrpc": "2.0", "id": n, "method": "demo.noop", "params": [n]}
            for n in range(count)
        ]
        await client.send_json(batch)
        await client.receive()  # once they have ended
        left -= count
    client.close()


class Reader:
    """A client that missed everything, and reads it again."""

    def __init__(self, client: WireClient) -> None:
        self.events = 0
        self.last = 0
        self.answer: dict[str, Any] = {}
        self._client = client

    async def read(self, since: dict[str, Any]) -> None:
        """Subscribe and read to the answer; numbers come one after the other."""
        call = {
            "jsonrpc": "2.0",
            "id": "s",
            "method": "core.subscribe",
            "params": ["core.get_jobs", {"since": since}],
        }
        await self._client.send_json(call)
        while not self.answer:
            opcode, text, _ = await self._client.receive_frame()
            if opcode == PING:
                await self._client.send_bytes(client_frame(PONG, text))
                continue
            place = text.rfind(b'"seq":')
            if b'"collection_update"' not in text:
                self.answer = json.loads(text)["result"]
                continue
            seq = int(text[place + 6 : text.index(b",", place)])
            assert seq == self.last + 1
            self.last, self.events = seq, self.events + 1
        self._client.close()


@pytest.mark.timeout(1800 if SOAK else 120)
async def test_crowd_comes_back(server_process: ServerProcess) -> None:
    """Everybody gets everything, memory is bounded, and ping answers meanwhile."""
    server = server_process
    await run_jobs(server.socket_path)
    # What was in memory of it is gone with the process.
    await anyio.to_thread.run_sync(server.restart)
    assert server.process is not None
    memory = psutil.Process(server.process.pid)
    first = await WireClient.open(server.socket_path)
    answer = await first.call("core.subscribe", "core.get_jobs", {"since": None})
    first.close()
    readers = [
        Reader(await WireClient.open(server.socket_path)) for _ in range(CLIENTS)
    ]
    before = memory.memory_info().rss
    with pinging(server.socket_path) as pings:
        peak, done = before, asyncio.Event()

        async def watch() -> None:
            nonlocal peak
            while not done.is_set():
                peak = max(peak, memory.memory_info().rss)
                await anyio.sleep(0.02)

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            async with anyio.create_task_group() as reading:
                for reader in readers:
                    since = {"epoch": answer["epoch"], "seq": 0}
                    reading.start_soon(reader.read, since)
            done.set()
    for reader in readers:
        assert reader.answer["recovered"] is True
        assert reader.events == reader.last == answer["seq"] >= 3 * JOBS
    assert peak - before < GROWTH_BYTES
    assert pings.percentile(0.99) < PING_P99_SECONDS * 1000
