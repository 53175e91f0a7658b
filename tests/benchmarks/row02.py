"""Row 2: calls with ten typed params and a result of 2 kB; batches of 20 pings."""

from benchmarks.load import call_text
from benchmarks.rpc import ALONE, HEAD, OURS, Work, absent, compare_servers, describe
from benchmarks.running import Bench
from benchmarks.samples import Series
from benchmarks.tables import Goal, Table
from benchmarks.work import PARAMS, PING, TYPED

CALLS, BATCHES, EACH = 10_000, 10_000, 20
IDS = range(100, 200)
C_BOUND = "picows"


async def run(bench: Bench) -> list[Table]:
    """Measure both."""
    calls, batches = bench.sized(CALLS, 500), bench.sized(BATCHES, 50)
    typed = Work("typed", [call_text(number, TYPED, PARAMS) for number in IDS])
    one = b"[%b]" % b",".join(call_text(number, PING, []) for number in IDS[:EACH])
    batch = Work("batch", [one], EACH)
    first = await compare_servers(bench, typed, calls)
    second = await compare_servers(bench, batch, batches)
    return [
        Table(
            2,
            "Ten typed params, a result of 2 kB",
            f"10 connections, 50 calls in flight each, {calls:,} calls a round. Ours "
            "checks each param; the handler is immediate.",
            HEAD,
            describe(first),
            _judge(first),
            absent(),
        ),
        Table(
            2,
            f"Batches of {EACH} `core.ping`",
            f"10 connections, {batches:,} batches a round.",
            HEAD,
            describe(second),
            _judge(second),
        ),
    ]


def _judge(found: dict[str, Series]) -> list[Goal]:
    """No peer shall be ahead; the one in C is shown as the bound."""
    ours = found[OURS].median
    peers = {
        name: one.median
        for name, one in found.items()
        if name not in (OURS, ALONE) and not name.startswith(C_BOUND)
    }
    if not peers:
        return []
    best = min(peers, key=lambda name: peers[name])
    share = ours / peers[best]
    return [Goal(f"no peer ahead; the best is {best}", f"{share:.2f} x", share <= 1)]
