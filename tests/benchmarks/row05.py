"""Row 5: from the request to RUNNING and to the end, at parts of the peak rate."""

import os
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
from benchmarks.drain import draining
from benchmarks.load import LoadClient, call_frame
from benchmarks.row04 import run_jobs
from benchmarks.running import Bench, our_server, pid_of
from benchmarks.samples import sample
from benchmarks.tables import Goal, Table

SUBSCRIBERS, PEAK_JOBS, SECONDS = 100, 4000, 15.0
SHARES = (0.1, 0.5, 0.9)
#: Jobs in flight while the peak is looked for.
IN_FLIGHT = 500
FSYNCS = 200
GOAL_MS, GOAL_SHARE = 10.0, 0.5
#: Seconds between two looks at what is due; several requests may be.
TICK_SECONDS = 0.0015
HEAD = (
    "part of the peak",
    "event",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "jobs",
    "load busy",
)


class Clocked:
    """A client that sends at a given rate, whatever comes back."""

    def __init__(self, client: LoadClient) -> None:
        self._client = client
        self._sent: dict[int, float] = {}
        self.running: list[float] = []
        self.ended: list[float] = []
        client.take = self._take

    def _take(self, message: memoryview) -> None:
        text = bytes(message)
        if b'"collection_update"' not in text[:60]:
            return
        now = time.perf_counter()
        start = text.index(b'"arguments":[') + 13
        number = int(text[start : text.index(b"]", start)])
        sent = self._sent.get(number)
        if sent is None:
            return
        if b'"state":"RUNNING"' in text:
            self.running.append(1000 * (now - sent))
        elif b'"state":"SUCCESS"' in text:
            self.ended.append(1000 * (now - sent))

    async def send(self, rate: float, seconds: float) -> int:
        """Send for so long, then wait for the rest; late sending counts as waiting."""
        began, number = time.perf_counter(), 0
        while number < rate * seconds:
            past = time.perf_counter() - began
            while number < min(past, seconds) * rate:
                self._sent[number] = began + number / rate
                self._client.write(call_frame(number, "demo.noop", [number]))
                number += 1
            await anyio.sleep(TICK_SECONDS)
        with anyio.fail_after(60):
            await self._client.wait(lambda: len(self.ended) >= number)
        return number


def _fsync_pairs(folder: str) -> list[float]:
    """Give the milliseconds of two commits to the disk, one after the other."""
    found = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(FSYNCS):
            began = time.perf_counter()
            for _ in range(2):
                file.write(b"x" * 4096)
                file.flush()
                os.fdatasync(file.fileno())
            found.append(1000 * (time.perf_counter() - began))
    return found


def _part(found: list[float], part: float) -> float:
    ordered = sorted(found)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def _line(share: str, event: str, found: list[float], busy: str = "") -> Sequence[str]:
    parts = [f"{_part(found, part):.2f}" for part in (0.5, 0.99, 0.999)]
    return (share, event, *parts, f"{len(found):,}", busy)


async def _busy(drain: int, work: Callable[[], Coroutine[Any, Any, int]]) -> str:
    """Do the work, and say how busy the processes of the load were."""
    cost = await sample([drain], work)
    return f"{(cost.cpu + cost.load_cpu) / cost.seconds:.0%}"


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    subscribers = bench.sized(SUBSCRIBERS, 2)
    seconds = bench.lasting(SECONDS)
    lines, goals = list[Sequence[str]](), list[Goal]()
    with our_server() as server, draining(server.socket_path, subscribers) as drain:
        fsyncs = _fsync_pairs(str(server.data_dir))
        lines.append(_line("", "two fsyncs", fsyncs))
        client = await LoadClient.open(server.socket_path)
        await client.call("core.subscribe", "core.get_jobs")
        jobs = bench.sized(PEAK_JOBS, 200)

        async def run_many() -> int:
            return await run_jobs(client, jobs, IN_FLIGHT)

        await run_many()
        peak = await sample([pid_of(server)], run_many)
        rate = peak.units / peak.seconds
        for share in SHARES:
            clocked = Clocked(client)

            async def send(
                clocked: Clocked = clocked, rate: float = rate * share
            ) -> int:
                return await clocked.send(rate, seconds)

            busy = await _busy(drain, send)
            lines.append(_line(f"{share:.0%}", "RUNNING", clocked.running, busy))
            lines.append(_line(f"{share:.0%}", "SUCCESS", clocked.ended, busy))
            if share == GOAL_SHARE:
                above = _part(clocked.running, 0.99) - _part(fsyncs, 0.99)
                text = f"p99 to RUNNING above two fsyncs, at {share:.0%}: at most 10 ms"
                goals.append(Goal(text, f"{above:.1f} ms", above <= GOAL_MS))
    return [
        Table(
            5,
            "Latency of a job",
            f"The peak with {subscribers + 1} subscribers is {rate:,.0f} jobs a "
            f"second; requests come at fixed times for {seconds:g} s, whatever is "
            "answered.",
            HEAD,
            lines,
            goals,
        )
    ]
