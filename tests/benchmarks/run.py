"""``make bench``: our server and its rivals, alternating, in CPU seconds per unit.

Seconds of the wall clock depend on the machine; ratios of CPU time between programs
that ran in turn do so much less. Medians of five rounds.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import psutil
import websockets

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from server_process import ServerProcess  # noqa: E402 - after the path

ROUNDS = 5
CALLS = 20_000
JOBS = 5_000
CONNECTIONS = 10
IN_FLIGHT = 50

_encode = msgspec.json.encode
_decode = msgspec.json.decode


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and its children so far."""
    process = psutil.Process(pid)
    everyone = [process, *process.children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in everyone)


async def ping_one(url: str, calls: int) -> None:
    """Send pings over one connection, `IN_FLIGHT` at a time."""
    request = _encode({"jsonrpc": "2.0", "id": 1, "method": "core.ping", "params": []})
    async with websockets.connect(url, compression=None, proxy=None) as client:
        for _ in range(calls // IN_FLIGHT):
            for _ in range(IN_FLIGHT):
                await client.send(request, text=True)
            for _ in range(IN_FLIGHT):
                await client.recv(decode=False)


async def ping_all(url: str) -> int:
    """Send `CALLS` pings over `CONNECTIONS` connections."""
    share = CALLS // CONNECTIONS
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(ping_one(url, share))
    return share * CONNECTIONS


async def run_jobs(server: ServerProcess) -> int:
    """Submit no-op jobs over the unix socket and wait for every final event."""
    path = str(server.socket_path)
    async with websockets.unix_connect(
        path, "ws://localhost/api/current", compression=None, max_size=None
    ) as client:
        subscribe = {
            "jsonrpc": "2.0",
            "id": "s",
            "method": "core.subscribe",
            "params": ["core.get_jobs"],
        }
        await client.send(_encode(subscribe), text=True)
        for number in range(JOBS):
            call = {
                "jsonrpc": "2.0",
                "id": number,
                "method": "demo.noop",
                "params": [number],
            }
            await client.send(_encode(call), text=True)
        ended = 0
        while ended < JOBS:
            message = await client.recv(decode=False)
            ended += b'"state":"SUCCESS"' in message
    return JOBS


async def measure(pid: int, work: Callable[[], Awaitable[int]]) -> float:
    """CPU microseconds of a server for each unit of *work*."""
    before = cpu_seconds(pid)
    units = await work()
    return (cpu_seconds(pid) - before) / units * 1e6


def start_rival(name: str) -> tuple[subprocess.Popen[str], str]:
    """Start a rival and give its URL."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "servers.py"), name],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, f"ws://127.0.0.1:{process.stdout.readline().strip()}"


async def bench(server: ServerProcess) -> None:
    """Run every round and print the table."""
    assert server.process is not None
    ours: list[float] = []
    jobs: list[float] = []
    rivals: dict[str, list[float]] = {"bare": [], "naive": []}
    running = {name: start_rival(name) for name in rivals}
    try:
        for _ in range(ROUNDS):
            pid, url = server.process.pid, server.ws_url
            ours.append(await measure(pid, partial(ping_all, url)))
            for name, (process, rival) in running.items():
                rivals[name].append(
                    await measure(process.pid, partial(ping_all, rival))
                )
            jobs.append(await measure(pid, partial(run_jobs, server)))
    finally:
        for process, _ in running.values():
            process.terminate()
            process.wait()
    mine = statistics.median(ours)
    print(f"core.ping: {mine:.1f} us CPU a call ({min(ours):.1f}..{max(ours):.1f})")
    for name, figures in rivals.items():
        median = statistics.median(figures)
        print(f"  {mine / median:.2f} x {name} ({median:.1f} us)")
    each = statistics.median(jobs)
    print(f"job: {each:.0f} us CPU from submit to SUCCESS, one subscriber, fsync on")
    print(f"  {1e6 / each:,.0f} jobs a CPU second")


def main() -> None:
    """Start our server in a temporary folder and run the benchmark."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(Path(folder) / "data") as server,
    ):
        asyncio.run(bench(server))


if __name__ == "__main__":
    main()
