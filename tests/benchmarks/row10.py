"""Row 10: what jobs write to their logs, and how far behind a live tail is."""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from benchmarks.cores import server_side
from benchmarks.load import LoadClient
from benchmarks.running import Bench, our_server
from benchmarks.samples import Run, Sample, Series, alternate
from benchmarks.tables import Table, at_least, at_most

BYTES, PIECE = 1 << 30, 1 << 20
JOBS, SECONDS, RATE = 10, 10.0, 1000
GOAL_RATIO, GOAL_MS = 0.5, 250.0
#: Logs of a gigabyte are more than is kept by default.
CONFIG = f"[jobs]\nmax_log = {2 * BYTES}\n"
OURS, RIVAL = "a job's `cat` to `logs_fd`", "`cat > file`"
#: The kernel copies a file by itself, but not to the end of one, as logs are written.
APPENDING = "`cat >> file`"


async def _copy_to_log(client: LoadClient, source: Path, data: Path) -> Sample:
    began = time.perf_counter()
    await client.call("bench.copies", str(source))
    seconds = time.perf_counter() - began
    return Sample(_remove_logs(source, data), 0.0, seconds, 0.0)


def _remove_logs(source: Path, data: Path) -> int:
    """Check that the log is the whole file, and remove it."""
    size = source.stat().st_size
    logs = [path for path in data.rglob("*.log") if path.stat().st_size]
    assert [path.stat().st_size for path in logs] == [size], logs
    logs[0].unlink()
    return size


async def _copy(source: Path, mode: str) -> Sample:
    return await anyio.to_thread.run_sync(_copy_file, source, mode)


def _copy_file(source: Path, mode: str) -> Sample:
    target = source.with_suffix(".copy")
    began = time.perf_counter()
    with server_side(), target.open(mode) as file:
        subprocess.run(["cat", str(source)], stdout=file, check=True)
    seconds = time.perf_counter() - began
    target.unlink()
    return Sample(source.stat().st_size, 0.0, seconds, 0.0)


def _write_source(path: Path, size: int) -> None:
    """Write the lines that are copied."""
    line = b"2026-01-01T00:00:00.000 a line of a log, as programs write them\n"
    piece = (line * (PIECE // len(line) + 1))[:PIECE]
    with path.open("wb") as file:
        for _ in range(size // PIECE):
            file.write(piece)


class Tail:
    """A subscription to the log of one job, and how late its lines come."""

    def __init__(self, client: LoadClient) -> None:
        self.late: list[float] = []
        self._client = client
        self._rest = ""
        self._done = False

    async def follow(self, seconds: float) -> None:
        """Start a job that writes lines, and read them to the end."""
        job = await self._client.call("bench.writes", seconds, RATE)
        name = f'job.logs:{{"id":{job},"offset":0}}'
        self._client.take = self._take
        await self._client.call("core.subscribe", name)
        self._client.take = self._take
        with anyio.fail_after(seconds + 30):
            await self._client.wait(lambda: self._done)

    def _take(self, message: memoryview) -> None:
        now, found = time.time(), msgspec.json.decode(message)
        if found.get("method") == "notify_unsubscribed":
            self._done = True
        elif found.get("method") == "collection_update":
            lines = (self._rest + found["params"]["fields"]["data"]).split("\n")
            self._rest = lines.pop()
            self.late += [1000 * (now - float(line.split(" ", 1)[0])) for line in lines]


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    size = bench.sized(BYTES // PIECE) * PIECE
    seconds = bench.lasting(SECONDS)
    with tempfile.TemporaryDirectory(prefix="middlewared-bench-") as folder:
        source = Path(folder) / "source"
        _write_source(source, size)
        with our_server(CONFIG) as server:
            client = await LoadClient.open(server.socket_path)
            await client.call("core.set_options", {"legacy_jobs": False})
            logs = server.data_dir
            runs: dict[str, Run] = {
                OURS: partial(_copy_to_log, client, source, logs),
                RIVAL: partial(_copy, source, "wb"),
                APPENDING: partial(_copy, source, "ab"),
            }
            found = await alternate(bench.rounds, runs)
            tails = [
                Tail(await LoadClient.open(server.socket_path)) for _ in range(JOBS)
            ]
            async with anyio.create_task_group() as group:
                for tail in tails:
                    group.start_soon(tail.follow, seconds)
    late = sorted(ms for tail in tails for ms in tail.late)
    return [_bytes(found, size), _lines(late)]


def _bytes(found: dict[str, Series], size: int) -> Table:
    share = found[OURS].rate / found[RIVAL].rate
    return Table(
        10,
        "Bytes to a log",
        f"{size // 2**20:,} MiB, the same program and the same file; ours from the "
        "call to SUCCESS, with an excerpt of the log and its lines counted.",
        ("what", "MiB a second", "spread"),
        [_line(name, one) for name, one in found.items()],
        [at_least("beside `cat`", share, GOAL_RATIO)],
    )


def _line(name: str, one: Series) -> Sequence[str]:
    rates = [s.units / s.seconds / 2**20 for s in one.samples]
    spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
    return (name, f"{one.rate / 2**20:,.0f}", spread)


def _lines(late: list[float]) -> Table:
    middle, last = late[len(late) // 2], late[int(len(late) * 0.99)]
    return Table(
        10,
        "Live tail",
        f"{JOBS} jobs write {RATE:,} lines a second each, somebody follows each of "
        "them; from the writing of a line to its arrival.",
        ("lines", "median ms", "p99 ms", "longest ms"),
        [(f"{len(late):,}", f"{middle:.0f}", f"{last:.0f}", f"{late[-1]:.0f}")],
        [at_most("p99 behind", last, GOAL_MS, "ms")],
    )
