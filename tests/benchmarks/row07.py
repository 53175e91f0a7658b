"""Row 7: many connections that only listen: memory, CPU, and how fast they come."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
import msgspec
import psutil
from benchmarks.load import Address, LoadClient
from benchmarks.running import Bench, log_in, log_in_with, our_server, pid_of, rival
from benchmarks.samples import Sample, Series, sample
from benchmarks.tables import Goal, Table, at_most

CONNECTIONS = (100, 1000, 10_000)
#: Connections that are made at one time.
AT_ONCE = 50
#: The server looks after its connections once a second.
IDLE_SECONDS, REST_SECONDS = 2.0, 0.5
#: With so many connections a round takes long.
MANY, FEWER_ROUNDS = 10_000, 3
OURS, BARE = "middlewared", "websockets, uvloop"
HEAD = (
    "server",
    "connections",
    "rounds",
    "KiB each",
    "CPU % of a core, idle",
    "connects a second",
    "CPU µs a connect",
    "logins a second",
    "CPU µs a login",
)


class Found(msgspec.Struct):
    """What so many connections of a server took."""

    memory: float
    idle: float
    connects: Sample
    logins: Sample | None = None


class Rounds:
    """What a server took, in each round."""

    def __init__(self, found: Sequence[Found]) -> None:
        self.count = len(found)
        self.memory = [one.memory for one in found]
        self.idle = [one.idle for one in found]
        self.connects = Series([one.connects for one in found])
        logins = [one.logins for one in found if one.logins is not None]
        self.logins = Series(logins) if logins else None

    @property
    def median_memory(self) -> float:
        """Bytes of a connection."""
        return statistics.median(self.memory)


async def _each(count: int, act: Callable[[int], Awaitable[None]]) -> int:
    """Do something so often, some at one time."""
    numbers = iter(range(count))

    async def go_on() -> None:
        for number in numbers:
            await act(number)

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(go_on)
    return count


class Visit:
    """Connections to one server, and what they cost it."""

    def __init__(self, pid: int, address: Address, bench: Bench, count: int) -> None:
        self._pid = pid
        self._address = address
        self._count = count
        self._bench = bench
        self._process = psutil.Process(pid)
        self.clients: list[LoadClient] = []

    async def _connect(self, number: int) -> None:
        self.clients.append(await LoadClient.open(self._address))

    async def measure(
        self, enter: Callable[[LoadClient], Awaitable[None]] | None = None
    ) -> Found:
        """Connect all, let them log in and subscribe, and wait."""
        before = self._process.memory_info().rss
        connects = await sample([self._pid], self._connect_all)
        logins = None
        if enter is not None:

            async def log_all_in() -> int:
                return await _each(self._count, lambda n: enter(self.clients[n]))

            logins = await sample([self._pid], log_all_in)
            await _each(self._count, lambda n: _subscribe(self.clients[n]))
        await anyio.sleep(self._bench.lasting(REST_SECONDS))
        memory = (self._process.memory_info().rss - before) / self._count
        idle = await sample([self._pid], self._idle)
        return Found(memory, idle.cpu / idle.seconds, connects, logins)

    async def _idle(self) -> int:
        await anyio.sleep(self._bench.lasting(IDLE_SECONDS))
        return 1

    def close(self) -> None:
        """Drop all of them."""
        for client in self.clients:
            client.close()

    async def _connect_all(self) -> int:
        return await _each(self._count, self._connect)


async def _subscribe(client: LoadClient) -> None:
    await client.call("core.subscribe", "core.get_jobs")


async def _ours(bench: Bench, count: int) -> Found:
    with our_server() as server:
        first = (await log_in(server, 1))[0]
        token = await first.call("auth.generate_token")
        visit = Visit(pid_of(server), ("127.0.0.1", server.port), bench, count)
        found = await visit.measure(partial(log_in_with, token))
        visit.close()
        first.close()  # else the server waits for it
    return found


async def _bare(bench: Bench, count: int) -> Found:
    with rival("servers", "websockets", "uvloop", "ping") as other:
        visit = Visit(other.process.pid, other.address, bench, count)
        found = await visit.measure()
        visit.close()
    return found


def _line(name: str, connections: int, found: Rounds) -> Sequence[str]:
    memory = [value / 1024 for value in found.memory]
    idle = statistics.median(found.idle)
    cells = [name, f"{connections:,}", str(found.count), _shown(memory, 1)]
    cells.append(f"{idle:.2%}")
    for series in (found.connects, found.logins):
        if series is None:
            cells += ["", ""]
        else:
            cells += [f"{series.rate:,.0f}", _shown(series.each, 0)]
    return cells


def _shown(values: Sequence[float], digits: int) -> str:
    """Show the median, the least and the most."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _judge(connections: int, ours: Rounds, bare: Rounds) -> list[Goal]:
    if connections < max(CONNECTIONS):
        return []
    memory = ours.median_memory / bare.median_memory
    connect = ours.connects.median / bare.connects.median
    return [
        at_most(f"memory of {BARE}", memory, 1.5),
        at_most(f"CPU of its connect, {connections:,}", connect, 1.5),
    ]


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    lines, goals = list[Sequence[str]](), list[Goal]()
    for count in sorted({bench.sized(size, 10) for size in CONNECTIONS}):
        few = bench.rounds if count < MANY else min(bench.rounds, FEWER_ROUNDS)
        ours, bare = list[Found](), list[Found]()
        for _ in range(few):
            ours.append(await _ours(bench, count))
            if bench.rivals:
                bare.append(await _bare(bench, count))
        lines.append(_line(OURS, count, Rounds(ours)))
        if bench.rivals:
            lines.append(_line(BARE, count, Rounds(bare)))
            goals += _judge(count, Rounds(ours), Rounds(bare))
    return [
        Table(
            7,
            "Many connections that only listen",
            "Connected 50 at a time, logged in with a token and subscribed to "
            "`core.get_jobs`; the rival has no logins. Each round has a server of its "
            "own, ours and the rival in turn. Memory as resident when all are there; "
            f"idle for {IDLE_SECONDS:g} s. In brackets the least and the most.",
            HEAD,
            lines,
            goals,
        )
    ]
