"""Fan-out: CPU of the server for each delivery of an event, by kind of subscription.

Jobs are run one after the other, so that each event is due by itself, with many
subscribers of one kind and with none; what the deliveries add is divided by their
number. Plain subscriptions are the yardstick of those with options.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import websockets

sys.path.insert(0, str(Path(__file__).parent.parent))

from server_process import ServerProcess
from wire_client import WireClient

ROUNDS = 5
SUBSCRIBERS = 300
JOBS = 150

#: What is subscribed to, by name; each subscriber of a kind has the same options.
KINDS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "since": {"since": None},
    "filters, select": {
        "filters": [["method", "=", "demo.noop"]],
        "select": ["id", "state"],
    },
    "filters, none matches": {"filters": [["method", "=", "no.such"]]},
    "max_rate, removed": {"max_rate": 2, "removed": True},
}


async def drain(client: WireClient) -> None:
    """Read and forget."""
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(client.sock, 1 << 20):
        pass


@asynccontextmanager
async def subscribers(
    server: ServerProcess, options: dict[str, Any] | None
) -> AsyncIterator[None]:
    """Keep many subscribers of one kind."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        tasks = []
        for _ in range(SUBSCRIBERS):
            client = await WireClient.open(server.socket_path)
            stack.callback(client.close)
            params = (
                ["core.get_jobs"] if options is None else ["core.get_jobs", options]
            )
            await client.call("core.subscribe", *params)
            tasks.append(group.create_task(drain(client)))
        yield
        for task in tasks:
            task.cancel()


async def run_jobs(server: ServerProcess) -> None:
    """Run jobs one after the other."""
    path = str(server.socket_path)
    async with websockets.unix_connect(
        path, "ws://localhost/api/current", compression=None
    ) as client:
        options = {"legacy_jobs": False}
        for number, (method, params) in enumerate(
            [("core.set_options", [options]), *[("demo.noop", [1])] * JOBS]
        ):
            call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            await client.send(msgspec.json.encode(call), text=True)
            await client.recv(decode=False)
        await asyncio.sleep(0.2)


async def measure(server: ServerProcess, options: dict[str, Any] | None) -> float:
    """Give the CPU seconds of the jobs with subscribers of one kind."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    async with subscribers(server, options):
        before = sum(process.cpu_times()[:2])
        await run_jobs(server)
        return sum(process.cpu_times()[:2]) - before


async def bench(server: ServerProcess) -> None:
    """Run every round and print the table."""
    global SUBSCRIBERS  # noqa: PLW0603 - nobody else reads it meanwhile
    many, found = SUBSCRIBERS, {kind: list[float]() for kind in KINDS}
    alone: list[float] = []
    for _ in range(ROUNDS):
        SUBSCRIBERS = 0
        alone.append(await measure(server, None))
        SUBSCRIBERS = many
        for kind, options in KINDS.items():
            found[kind].append(await measure(server, options))
    base, deliveries = statistics.median(alone), 3 * JOBS * many
    plain = statistics.median(found["plain"]) - base
    print(f"fan-out to {many} subscribers, server CPU of a delivery:")
    for kind, figures in found.items():
        each = statistics.median(figures) - base
        print(f"  {each / deliveries * 1e6:5.2f} us {each / plain:5.2f} x  {kind}")


def main() -> None:
    """Start our server in a temporary folder and run the benchmark."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(Path(folder) / "data") as server,
    ):
        asyncio.run(bench(server))


if __name__ == "__main__":
    main()
