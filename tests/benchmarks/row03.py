"""Row 3: one event to many subscribers, alone and in bursts."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.load import Address, LoadClient, call_frame, masked
from benchmarks.running import Bench, log_in, our_server, pid_of, rival
from benchmarks.samples import Run, Sample, Series, alternate, sample
from benchmarks.tables import Goal, Table, at_least, at_most
from benchmarks.work import COLLECTION, OWNED
from server_process import ADMIN_PASSWORD

SUBSCRIBERS = (50, 500, 5000)
#: Deliveries of a round, and events on their way to a client at one time.
DELIVERIES, TICKS = 20_000, 20
BURST = 32
#: Sockets of a process have an end: with many subscribers only some rivals run.
MANY, BESIDE_MANY = 1000, ("shared", "apart")
IN_BURSTS = f", {BURST} in a tick"
OURS, BURSTS = "middlewared", f"middlewared{IN_BURSTS}"
#: Who is no admin: each event is looked at for each of them.
OWNERS = "middlewared, owners of the items"
#: Subscriptions with options, which see the same events, at one size.
WITH_OPTIONS: dict[str, dict[str, Any]] = {
    "middlewared, with `max_rate`": {"max_rate": 100.0},
    "middlewared, with filters and fields": {
        "filters": [["version", ">=", 0]],
        "select": ["id", "version", "lines"],
    },
}
KINDS_AT = 500
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
    """Clients of one server, and one that asks for events: the first, or another.

    Args:
        pid: the server.
        clients: who gets the events.
        ask: makes the message that asks, of the number of ticks and of items in each.
        caller: who asks, when it gets no events.
    """

    def __init__(
        self,
        pid: int,
        clients: list[LoadClient],
        ask: Callable[[int, int], bytes],
        caller: LoadClient | None = None,
    ) -> None:
        self._pid = pid
        self._clients = clients
        self._ask = ask
        self._caller = caller or clients[0]

    def turns(self, name: str, ticks: int) -> dict[str, Run]:
        """Give what is run: one item in a tick, and many."""
        fewer = max(1, ticks // 4)
        return {
            name: partial(self.run, ticks, 1),
            f"{name}{IN_BURSTS}": partial(self.run, fewer, BURST),
        }

    async def run(self, ticks: int, items: int) -> Sample:
        """Have events sent, `TICKS` at a time, until every client has them all."""
        return await sample([self._pid], partial(self._spread, ticks, items))

    async def _spread(self, ticks: int, items: int) -> int:
        left = ticks
        while left:
            some = min(left, max(1, TICKS // items))
            left -= some
            goals = {one: one.messages + some * items for one in self._clients}
            goals[self._caller] = goals.get(self._caller, self._caller.messages) + 1
            self._caller.write(self._ask(some, items))
            for client, goal in goals.items():
                await client.wait(partial(_has, client, goal))
        return ticks * items * len(self._clients)

    def close(self) -> None:
        """Drop all of them."""
        for client in self._clients:
            client.close()


def _ask_us(
    ticks: int, items: int, name: str = COLLECTION, owner: int | None = None
) -> bytes:
    return call_frame(1, "bench.publish", [ticks, items, name, owner])


def _ask_rival(ticks: int, items: int) -> bytes:
    return masked(b"[%d,%d]" % (ticks, items))


def _has(client: LoadClient, goal: int) -> bool:
    return client.messages >= goal


async def _join(address: Address, count: int) -> list[LoadClient]:
    """Connect to a rival, and wait until it knows all of them."""
    clients = [await LoadClient.open(address) for _ in range(count)]
    for client in clients:
        client.write(masked(b"[0,0]"))
        await client.wait(partial(_has, client, 1))
    return clients


async def _kinds(stack: contextlib.ExitStack, count: int) -> dict[str, Crowd]:
    """Start a server of ours with other kinds of subscribers, so many of each."""
    server = stack.enter_context(our_server())
    pid, caller = pid_of(server), await LoadClient.open(server.socket_path)
    stack.callback(caller.close)
    words = ("user", "add", "owner", "--password-stdin")
    server.command(*words, input_text=f"{ADMIN_PASSWORD}\n")
    owners = await log_in(server, count, "owner")
    number = (await owners[0].call("auth.me"))["pw_uid"]
    for client in owners:
        await client.call("core.subscribe", OWNED)
    ask = partial(_ask_us, name=OWNED, owner=number)
    crowds = {OWNERS: Crowd(pid, owners, ask, caller)}
    for name, options in WITH_OPTIONS.items():
        clients = await log_in(server, count)
        for client in clients:
            await client.call("core.subscribe", f"bench.{len(crowds)}", options)
        ask = partial(_ask_us, name=f"bench.{len(crowds)}")
        crowds[name] = Crowd(pid, clients, ask, caller)
    for crowd in crowds.values():
        stack.callback(crowd.close)
    return crowds


async def _measure(bench: Bench, subscribers: int) -> dict[str, Series]:
    ticks = max(1, bench.sized(DELIVERIES) // subscribers)
    runs: dict[str, Run] = {}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(our_server())
        clients = await log_in(server, subscribers)
        for client in clients:
            await client.call("core.subscribe", COLLECTION)
        runs |= Crowd(pid_of(server), clients, _ask_us).turns(OURS, ticks)
        for (name, loop), word in RIVALS.items() if bench.rivals else ():
            if subscribers > MANY and (word not in BESIDE_MANY or loop != "uvloop"):
                continue
            other = stack.enter_context(rival("fanout_servers", word, loop))
            some = await _join(other.address, subscribers)
            crowd = Crowd(other.process.pid, some, _ask_rival)
            runs[f"{name}, {loop}"] = partial(crowd.run, ticks, 1)
            clients = [*clients, *some]
        if subscribers == bench.sized(KINDS_AT, 2):
            for name, crowd in (await _kinds(stack, subscribers)).items():
                runs |= crowd.turns(name, ticks)
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
        f"and {BURST} of different items in one. Subscribers of ours are full admins "
        "where nothing else is said; the rivals have no rights. Subscriptions with "
        "equal options share what is filtered and cut.",
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
