"""Row 11: many clients come back at once and have missed much."""

import time

import anyio
import psutil
from benchmarks.load import LoadClient, call_frame
from benchmarks.pinger import pinging
from benchmarks.row04 import SOME, run_jobs
from benchmarks.running import Bench, our_server, pid_of
from benchmarks.samples import sample
from benchmarks.tables import Table, at_most

#: A job has three events.
EVENTS, CLIENTS = 100_000, 50
GOAL_MS = 100.0
HEAD = ("figure", "")


class Returning:
    """A client that missed everything."""

    def __init__(self, client: LoadClient) -> None:
        self.events = 0
        self._client = client
        self._done = False
        client.take = self._take

    def _take(self, message: memoryview) -> None:
        if bytes(message[17:25]) == b'"method"':
            self.events += 1
        else:
            assert b'"recovered":true' in bytes(message), bytes(message)
            self._done = True

    async def read(self, epoch: str) -> None:
        """Subscribe, and read until the answer."""
        options = {"since": {"epoch": epoch, "seq": 0}}
        frame = call_frame("since", "core.subscribe", ["core.get_jobs", options])
        self._client.write(frame)
        await self._client.wait(lambda: self._done)
        self._client.close()


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    clients = bench.sized(CLIENTS, 2)
    with our_server() as server:
        client = await LoadClient.open(server.socket_path)
        await client.call("core.subscribe", "core.get_jobs")
        await run_jobs(client, bench.sized(EVENTS, 300) // 3 + 1, SOME)
        client.close()
        server.restart()  # what was in memory of it is gone
        first = await LoadClient.open(server.socket_path)
        head = await first.call("core.subscribe", "core.get_jobs", {"since": None})
        first.close()
        back = [
            Returning(await LoadClient.open(server.socket_path)) for _ in range(clients)
        ]
        memory = psutil.Process(pid_of(server))
        before = memory.memory_info().rss

        async def work() -> int:
            async with anyio.create_task_group() as group:
                for one in back:
                    group.start_soon(one.read, head["epoch"])
            return sum(one.events for one in back)

        began = time.perf_counter()
        with pinging(server.socket_path) as pings:
            cost = await sample([pid_of(server)], work)
        seconds = time.perf_counter() - began
        grown = (memory.memory_info().rss - before) / 2**20
    assert all(one.events == head["seq"] for one in back)
    lines = [
        ("events for each of them", f"{head['seq']:,}"),
        ("seconds until all had everything", f"{seconds:.1f}"),
        ("events a second", f"{cost.units / cost.seconds:,.0f}"),
        ("CPU µs an event", f"{cost.cpu / cost.units * 1e6:.2f}"),
        ("`core.ping` meanwhile, median ms", f"{pings.percentile(0.5):.1f}"),
        ("`core.ping` meanwhile, p99 ms", f"{pings.percentile(0.99):.1f}"),
        ("memory grown, MiB", f"{grown:.0f}"),
        ("load busy", f"{cost.load_cpu / cost.seconds:.0%}"),
    ]
    goals = [at_most("p99 of `core.ping`", pings.percentile(0.99), GOAL_MS, "ms")]
    return [
        Table(
            11,
            "Many clients come back at once",
            f"{clients} clients missed {head['seq']:,} events each, and the server was "
            "restarted meanwhile; another client calls `core.ping`.",
            HEAD,
            lines,
            goals,
        )
    ]
