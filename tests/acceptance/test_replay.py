"""The real program is killed under load; clients go on and have missed nothing."""

import contextlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from server_process import ServerProcess

from middlewared.client import RESUMED, Client, connect

KILLS = 20 if os.environ.get("SOAK") else 2
FINAL = {"SUCCESS", "FAILED", "ABORTED"}

pytestmark = pytest.mark.timeout(120 + 30 * KILLS)


class Story:
    """What a subscription told, put together.

    Attributes:
        states: of each job, in the order told.
        seqs: numbers of the events.
        resumed: whether all was recovered, for each reconnect.
    """

    def __init__(self) -> None:
        self.states: dict[int, list[str]] = {}
        self.seqs: list[int] = []
        self.resumed: list[bool] = []
        self._news = anyio.Event()

    async def listen(self, client: Client, name: str, **options: Any) -> None:
        """Subscribe and put together what comes."""
        async with client.subscribe(name, **options) as events:
            async for event in events:
                self.take(event)

    def take(self, event: Any) -> None:
        """Take an event."""
        if event["msg"] == RESUMED:
            self.resumed.append(event["recovered"])
        elif "seq" in event:
            self.seqs.append(event["seq"])
            states = self.states.setdefault(event["id"], [])
            states.append(event["fields"]["state"])
        self._news.set()
        self._news = anyio.Event()

    async def until_resumed(self, times: int) -> None:
        """Wait until the client has come back so often."""
        with anyio.fail_after(60):
            while len(self.resumed) < times:
                await self._news.wait()

    async def until_final(self, jobs: set[int]) -> None:
        """Wait until the ends of these jobs were told."""
        with anyio.fail_after(60):
            while not all(self.states.get(n, [""])[-1] in FINAL for n in jobs):
                await self._news.wait()


class Load(threading.Thread):
    """Starts jobs until the server is gone, and keeps the ids that it was given."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self.accepted: set[int] = set()
        self.enough = threading.Event()
        self._path = str(server.socket_path)

    def run(self) -> None:
        """Start short jobs, and some that only the kill ends."""
        anyio.run(self._run)

    async def _run(self) -> None:
        with contextlib.suppress(Exception):
            async with connect(self._path, legacy_jobs=True) as client:
                while True:
                    for method, params in (
                        ("demo.noop", [1]),
                        ("demo.sleep", [600]),
                        ("demo.fail", ["x"]),
                    ):
                        self.accepted.add(await client.call(method, *params))
                    if len(self.accepted) > 60:
                        self.enough.set()


@contextlib.asynccontextmanager
async def stories(
    server: ServerProcess,
) -> AsyncIterator[tuple[Story, Story]]:
    """Follow jobs in both collections, over every outage."""
    items, records = Story(), Story()
    async with (
        connect(server.socket_path, reconnect=True) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(items.listen, client, "core.get_jobs")
        group.start_soon(records.listen, client, "job.query")
        await client.call("core.ping")
        yield items, records
        group.cancel_scope.cancel()


async def test_killed_server_and_its_clients(server_process: ServerProcess) -> None:
    """Every end of every accepted job is told once, in order, however often."""
    server, accepted = server_process, set[int]()
    async with stories(server) as told:
        for times in range(1, KILLS + 1):
            load = Load(server)
            load.start()
            await anyio.to_thread.run_sync(load.enough.wait)
            await anyio.to_thread.run_sync(server.kill)
            await anyio.to_thread.run_sync(load.join)
            await anyio.to_thread.run_sync(server.restart)
            accepted |= load.accepted
            # A client that waits to come back may sleep through a short life of the
            # server; then it comes back once for two of them.
            for story in told:
                await story.until_resumed(times)
        for story in told:
            await story.until_final(accepted)
        async with connect(server.socket_path) as client:
            items = await client.call("core.get_jobs", [], {"limit": 10_000})
    for story in told:
        assert story.resumed == [True] * KILLS
        assert story.seqs == sorted(set(story.seqs))
        for item in items:
            states = story.states[item["id"]]
            assert states[-1] == item["state"]
            assert len(states) == len(set(states))
        lost = [item for item in items if item["state"] == "FAILED"]
        assert {item["exc_info"]["type"] for item in lost} == {
            "WorkerLost",
            "RuntimeError",
        }


async def test_program_goes_on_where_its_last_run_was(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    """A position outlives the client and the server: nothing in between is lost."""
    server, story = server_process, Story()
    async with connect(server.socket_path) as client:
        async with client.subscribe("core.get_jobs") as events:
            await client.job("demo.noop", 1)
            async for event in events:
                story.take(event)
                if event["fields"]["state"] == "SUCCESS":
                    break
            position = events.position
        later = [client.job("demo.noop", n) for n in range(5)]
        numbers = {await job.wait_accepted() for job in later}
        held = await client.job("demo.sleep", 600).wait_accepted()
        for job in later:
            await job
    await anyio.to_thread.run_sync(server.kill)
    await anyio.to_thread.run_sync(server.restart)
    async with (
        connect(server.socket_path) as client,
        client.subscribe("core.get_jobs", since=position) as events,
    ):
        assert events.recovered
        with anyio.fail_after(30):
            async for event in events:
                story.take(event)
                if story.states.get(held, [""])[-1] == "FAILED":
                    break
    assert story.seqs == list(range(1, len(story.seqs) + 1))
    assert all(story.states[n] == ["WAITING", "RUNNING", "SUCCESS"] for n in numbers)
