"""Row 1: ``core.ping``, 10 connections with 50 calls in flight each, logged in."""

from benchmarks.load import call_text
from benchmarks.rpc import HEAD, OURS, Work, absent, compare_servers, describe
from benchmarks.running import Bench
from benchmarks.samples import Series
from benchmarks.tables import Goal, Table, at_most
from benchmarks.work import PING

CALLS = 40_000
IDS = range(100, 1000)


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    texts = [call_text(number, PING, []) for number in IDS]
    calls = bench.sized(CALLS, 500)
    found = await compare_servers(bench, Work("ping", texts), calls)
    table = Table(
        1,
        "`core.ping`",
        f"10 connections, logged in, 50 calls in flight each, {calls:,} calls a round. "
        "The rivals answer without logins, rights, limits and errors.",
        HEAD,
        describe(found),
        _judge(found),
        absent(),
    )
    return [table]


def _judge(found: dict[str, Series]) -> list[Goal]:
    ours, goals = found[OURS].median, []
    for name, limit in (
        ("websockets, asyncio", 0.5),
        ("aiohttp, asyncio", 1.0),
        ("jsonrpcserver, asyncio", 0.05),
    ):
        if name in found:
            goals.append(at_most(f"CPU of {name}", ours / found[name].median, limit))
    return goals
