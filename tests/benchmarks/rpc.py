"""Calls to our server and to its rivals, in turn: rows 1 and 2."""

import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

import anyio
import msgspec
from benchmarks.load import Frames, LoadClient, masked
from benchmarks.running import Bench, log_in, missing, our_server, pid_of, rival
from benchmarks.samples import Run, Sample, Series, alternate, sample
from benchmarks.servers import ANSWERS

__all__ = ["ALONE", "HEAD", "OURS", "Work", "absent", "compare_servers", "describe"]

CONNECTIONS = 10
IN_FLIGHT = 50
OURS = "middlewared"
#: What no server can be below that decodes and encodes with msgspec.
ALONE = "the rivals' answer in a loop, no socket"
#: The rivals: which server, on which loop.
RIVALS = [
    ("websockets", "asyncio"),
    ("websockets", "uvloop"),
    ("aiohttp", "asyncio"),
    ("aiohttp", "uvloop"),
    ("picows", "asyncio"),
    ("picows", "uvloop"),
    ("jsonrpcserver", "asyncio"),
]
#: It is so slow that a tenth of the calls will do.
NAIVE, NAIVE_SHARE = "jsonrpcserver", 10
HEAD = ("server", "CPU µs a call", "spread", "ours / it", "calls a second", "load busy")


class Work(msgspec.Struct, frozen=True):
    """What is asked.

    Attributes:
        name: as `servers` knows it.
        texts: messages, sent in turn.
        calls: how many calls are in one message.
    """

    name: str
    texts: Sequence[bytes]
    calls: int = 1

    @property
    def frames(self) -> list[bytes]:
        """The messages as they are sent."""
        return [masked(text) for text in self.texts]


async def _pump(
    work: Work, messages: int, pid: int, clients: list[LoadClient]
) -> Sample:
    """Send the messages over all connections and wait for the answers."""
    share = max(1, messages // len(clients))
    in_flight = max(1, IN_FLIGHT // work.calls)
    frames = work.frames

    async def pump_all() -> int:
        async with anyio.create_task_group() as group:
            for client in clients:
                group.start_soon(client.pump, Frames(frames), share, in_flight)
        return share * len(clients) * work.calls

    return await sample([pid], pump_all)


async def _answer_alone(work: Work, messages: int) -> Sample:
    """Do what the rivals do between their sockets, in this process."""
    answer, cpu, began = ANSWERS[work.name], time.process_time(), time.perf_counter()
    for text in itertools.islice(itertools.cycle(work.texts), messages):
        answer(text)
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - began
    return Sample(messages * work.calls, cpu, seconds, 0.0)


@contextlib.asynccontextmanager
async def _everybody(
    bench: Bench, work: Work, messages: int
) -> AsyncIterator[dict[str, Run]]:
    """Run ours and the rivals, with open connections, and give what each does."""
    runs: dict[str, Run] = {}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(our_server())
        clients = await log_in(server, CONNECTIONS)
        runs[OURS] = partial(_pump, work, messages, pid_of(server), clients)
        for name, loop in RIVALS if bench.rivals else ():
            if missing(name):
                continue
            other = stack.enter_context(rival("servers", name, loop, work.name))
            some = [await LoadClient.open(other.address) for _ in range(CONNECTIONS)]
            count = messages // NAIVE_SHARE if name == NAIVE else messages
            pid = other.process.pid
            runs[f"{name}, {loop}"] = partial(_pump, work, count, pid, some)
        runs[ALONE] = partial(_answer_alone, work, messages)
        yield runs


async def compare_servers(bench: Bench, work: Work, messages: int) -> dict[str, Series]:
    """Measure ours and the rivals, in turn."""
    async with _everybody(bench, work, messages) as runs:
        return await alternate(bench.rounds, runs)


def describe(found: dict[str, Series]) -> list[Sequence[str]]:
    """Show what was measured, a line for each server."""
    ours = found[OURS].median
    return [
        (
            name,
            f"{one.median:.1f}",
            one.spread,
            f"{ours / one.median:.2f}",
            f"{one.rate:,.0f}",
            f"{one.busy:.0%}",
        )
        for name, one in found.items()
    ]


def absent() -> list[str]:
    """Say which rivals are not installed."""
    return [
        f"{name} is not installed: `make bench` installs it."
        for name in dict.fromkeys(name for name, _ in RIVALS)
        if missing(name)
    ]
