"""Row 3: one event to many subscribers, alone and in bursts."""

import contextlib
from collections.abc import Sequence
from functools import partial

from benchmarks.load import Address, LoadClient, call_frame, masked
from benchmarks.running import Bench, log_in, our_server, pid_of, rival
from benchmarks.samples import Run, Sample, Series, alternate, sample
from benchmarks.tables import Goal, Table, at_least, at_most
from benchmarks.work import COLLECTION

SUBSCRIBERS = (50, 500, 5000)
#: Deliveries of a round, and events on their way to a client at one time.
DELIVERIES, TICKS = 20_000, 20
BURST = 32
#: Sockets of a process have an end: with many subscribers only some rivals run.
MANY, BESIDE_MANY = 1000, ("shared", "apart")
OURS, BURSTS = "middlewared", f"middlewared, {BURST} in a tick"
SHARED = "one shared frame, one write each"
RIVALS = {
    (SHARED, "uvloop"): "shared",
    (SHARED, "asyncio"): "shared",
    ("websockets `broadcast()`", "uvloop"): "broadcast",
    ("encoded for each client", "uvloop"): "apart",
}
HEAD = (
    "server",
    "subscribers",
    "CPU µs a delivery",
    "spread",
    "it / shared frame",
    "deliveries a second",
    "load busy",
)


class Crowd:
    """Clients of one server, one of which also asks for events."""

    def __init__(
        self, pid: int, clients: list[LoadClient], *, speaks_rpc: bool
    ) -> None:
        self._pid = pid
        self._clients = clients
        self._speaks_rpc = speaks_rpc

    async def run(self, ticks: int, items: int) -> Sample:
        """Have events sent, `TICKS` at a time, until every client has them all."""
        return await sample([self._pid], partial(self._spread, ticks, items))

    async def _spread(self, ticks: int, items: int) -> int:
        first, left = self._clients[0], ticks
        while left:
            some = min(left, max(1, TICKS // items))
            left -= some
            goals = [one.messages + some * items for one in self._clients]
            goals[0] += 1  # the answer
            if self._speaks_rpc:
                first.write(call_frame(1, "bench.publish", [some, items]))
            else:
                first.write(masked(b"[%d,%d]" % (some, items)))
            for client, goal in zip(self._clients, goals, strict=True):
                await client.wait(partial(_has, client, goal))
        return ticks * items * len(self._clients)


def _has(client: LoadClient, goal: int) -> bool:
    return client.messages >= goal


async def _join(address: Address, count: int) -> list[LoadClient]:
    """Connect to a rival, and wait until it knows all of them."""
    clients = [await LoadClient.open(address) for _ in range(count)]
    for client in clients:
        client.write(masked(b"[0,0]"))
        await client.wait(partial(_has, client, 1))
    return clients


async def _measure(bench: Bench, subscribers: int) -> dict[str, Series]:
    ticks = max(1, bench.sized(DELIVERIES) // subscribers)
    runs: dict[str, Run] = {}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(our_server())
        clients = await log_in(server, subscribers)
        for client in clients:
            await client.call("core.subscribe", COLLECTION)
        ours = Crowd(pid_of(server), clients, speaks_rpc=True)
        runs[OURS] = partial(ours.run, ticks, 1)
        runs[BURSTS] = partial(ours.run, max(1, ticks // 4), BURST)
        for (name, loop), word in RIVALS.items() if bench.rivals else ():
            if subscribers > MANY and (word not in BESIDE_MANY or loop != "uvloop"):
                continue
            other = stack.enter_context(rival("fanout_servers", word, loop))
            some = await _join(other.address, subscribers)
            crowd = Crowd(other.process.pid, some, speaks_rpc=False)
            runs[f"{name}, {loop}"] = partial(crowd.run, ticks, 1)
            clients = [*clients, *some]
        found = await alternate(bench.rounds, runs)
        for client in clients:
            client.close()
    return found


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    sizes = sorted({bench.sized(size, 2) for size in SUBSCRIBERS})
    found = {size: await _measure(bench, size) for size in sizes}
    lines = [
        _line(name, size, one, series.get(f"{SHARED}, uvloop"))
        for size, series in found.items()
        for name, one in series.items()
    ]
    table = Table(
        3,
        "One event to many subscribers",
        "An event of 1 kB to each of the subscribers, one event in a tick of the loop, "
        f"and {BURST} of different items in one. Ours looks up for each whether it may "
        "see the event; the rivals do not.",
        HEAD,
        lines,
        [goal for size, series in found.items() for goal in _judge(size, series)],
    )
    return [table]


def _line(
    name: str, subscribers: int, one: Series, shared: Series | None
) -> Sequence[str]:
    return (
        name,
        f"{subscribers:,}",
        f"{one.median:.2f}",
        one.spread,
        "" if shared is None else f"{one.median / shared.median:.2f}",
        f"{one.rate:,.0f}",
        f"{one.busy:.0%}",
    )


def _judge(subscribers: int, found: dict[str, Series]) -> list[Goal]:
    shared = found.get(f"{SHARED}, uvloop")
    apart = found.get("encoded for each client, uvloop")
    if shared is None or apart is None or subscribers < min(SUBSCRIBERS[1:]):
        return []
    ours, bursts = found[OURS].median, found[BURSTS].median
    to = f"to {subscribers:,}"
    return [
        at_most(f"{to}, CPU of the shared frame", ours / shared.median, 1.15),
        at_most(f"{to}, the same in bursts", bursts / shared.median, 0.1),
        at_least(f"{to}, cheaper than for each client", apart.median / ours, 5),
    ]
