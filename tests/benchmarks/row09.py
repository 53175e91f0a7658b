"""Row 9: from the call that aborts to the event that says ABORTED."""

import statistics
import time

from benchmarks.load import LoadClient, call_frame
from benchmarks.running import Bench, our_server
from benchmarks.tables import Table, at_most

ABORTS = 200
KINDS = {
    "bench.waits": "async body that awaits",
    "bench.looks": "thread that looks every 5 ms",
    "bench.apart": "child process with default SIGTERM",
}
HEAD = ("job", "median ms", "p99 ms", "longest ms", "aborts")
GOAL_MS = 100.0


class Aborter:
    """A client that starts jobs and aborts them."""

    def __init__(self, client: LoadClient) -> None:
        self._client = client
        self._states: dict[int, str] = {}
        self._newest = 0

    def _take(self, message: memoryview) -> None:
        text = bytes(message)
        if b'"collection_update"' not in text[:60]:
            return
        start = text.index(b'"id":') + 5
        self._newest = int(text[start : text.index(b",", start)])
        start = text.index(b'"state":"') + 9
        self._states[self._newest] = text[start : text.index(b'"', start)].decode()

    async def abort(self, method: str) -> float:
        """Start a job, abort it once it runs; give the seconds until it ended."""
        self._client.take = self._take
        before = self._newest
        self._client.write(call_frame("start", method, []))
        await self._client.wait(
            lambda: self._newest > before and self._states[self._newest] == "RUNNING"
        )
        job = self._newest
        began = time.perf_counter()
        self._client.write(call_frame("abort", "core.job_abort", [job]))
        await self._client.wait(lambda: self._states[job] == "ABORTED")
        return time.perf_counter() - began


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    aborts = bench.sized(ABORTS, 5)
    lines, goals = [], []
    with our_server() as server:
        client = await LoadClient.open(server.socket_path)
        await client.call("core.subscribe", "core.get_jobs")
        aborter = Aborter(client)
        for method, name in KINDS.items():
            await aborter.abort(method)
            found = sorted([1000 * await aborter.abort(method) for _ in range(aborts)])
            late = found[min(len(found) - 1, int(len(found) * 0.99))]
            middle = statistics.median(found)
            lines.append(
                (name, f"{middle:.1f}", f"{late:.1f}", f"{found[-1]:.1f}", f"{aborts}")
            )
            goals.append(at_most(f"p99, {name}", late, GOAL_MS, "ms"))
    return [
        Table(
            9,
            "Abort",
            "One job runs at a time; ABORTED is on the disk, and the body has ended.",
            HEAD,
            lines,
            goals,
        )
    ]
