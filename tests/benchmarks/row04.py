"""Row 4: jobs that do nothing, submitted over the socket, to SUCCESS on the disk."""

import contextlib
import tempfile
from collections.abc import Sequence
from functools import partial

from benchmarks.job_rivals import RIVALS, Missing
from benchmarks.load import Address, Frames, LoadClient, call_frame
from benchmarks.running import Bench, our_server, pid_of, rival
from benchmarks.samples import Run, Series, alternate, sample
from benchmarks.tables import Goal, Table, at_least, at_most

JOBS = 20_000
#: Smaller sizes; those are run again and again, until a round has enough jobs to tell.
SMALLER, ENOUGH = (2_000, 200), 4_000
#: Unfinished ones of a client that waits before it submits more.
SOME = 500
#: Rivals get fewer: what one of their jobs costs is the same, and they are slow.
RIVAL_JOBS = 2_000
#: Floors, see `benchmarks.sketch` and `benchmarks.promised`.
SKETCH, FLOOR = "sketch: the same work and nothing around it", "sketch with promises"
OURS, PACED = "middlewared", f", {SOME} unfinished at a time"
#: What the sketch is served with, each on top of those before it.
LAYERS = {
    "plain": SKETCH,
    "audit": "+ an entry in the audit log",
    "types": "+ rights, typed params, checked results, errors",
    "owner": "+ owner, name and cancel scope of the body, what it sees",
    "queue": "+ locks, limits, slots, legal moves",
    "events": "+ events by audience and group, the newest kept",
    "figures": "+ figures",
    "ids": "+ found by id: shared, waited for, aborted",
    "record": "+ the complete record: every field stored, shown, replayed",
    "connections": "+ our connections and sessions, bounded both ways",
}
ALL = "connections"
FLOORS = {"plain": SKETCH, ALL: FLOOR}
PACED_FLOORS = [f"{name}{PACED}" for name in FLOORS.values()]
#: In the second table only.
BETWEEN = [name for layer, name in LAYERS.items() if layer not in FLOORS]
HEAD = (
    "server",
    "CPU µs a job",
    "of it, main thread",
    "spread",
    "ours / it",
    "jobs a second",
    "load busy",
)


async def run_jobs(client: LoadClient, count: int, in_flight: int) -> int:
    """Submit jobs, so many unfinished at a time, and wait for each final event."""
    frames = Frames([call_frame(n, "demo.noop", [n]) for n in range(100, 1000)])
    sent = ended = 0

    def take(message: memoryview) -> None:
        nonlocal ended
        ended += b'"state":"SUCCESS"' in bytes(message)

    def ready() -> bool:
        nonlocal sent
        due = min(count, ended + in_flight) - sent
        if due > 0:
            sent += due
            client.write(frames.take(due))
        return ended >= count

    client.take = take
    await client.wait(ready)
    return count


async def run_again(client: LoadClient, count: int, times: int) -> int:
    """Submit so many jobs at once and wait for their end, so often."""
    for _ in range(times):
        await run_jobs(client, count, count)
    return count * times


async def run(bench: Bench) -> list[Table]:
    """Measure, and judge."""
    jobs, fewer = bench.sized(JOBS, 100), bench.sized(RIVAL_JOBS, 100)
    notes, runs = list[str](), dict[str, Run]()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(our_server())
        pids = [pid_of(server)]
        client = await _subscribed(server.socket_path)
        runs[OURS] = partial(sample, pids, partial(run_jobs, client, jobs, jobs))
        for size in SMALLER:
            some = bench.sized(size, 10)
            again = partial(run_again, client, some, bench.sized(ENOUGH // size))
            runs[f"{OURS}, {some:,} at once"] = partial(sample, pids, again)
        paced = partial(run_jobs, client, max(jobs // 4, 1), SOME)
        runs[f"{OURS}{PACED}"] = partial(sample, pids, paced)
        if bench.rivals:
            for layer in LAYERS:
                runs |= await _sketched(stack, layer, jobs)
        for name, start in RIVALS.items() if bench.rivals else ():
            try:
                other = stack.enter_context(start())
            except Missing as exc:
                notes.append(str(exc))
            else:
                submit = partial(other.run, fewer)
                runs[name] = partial(sample, other.pids, submit)
        found = await alternate(bench.rounds, runs)
    both = {
        f"{name} and who submits": found[name].with_load
        for name in RIVALS
        if name in found
    }
    table = Table(
        4,
        "Jobs that do nothing",
        f"{jobs:,} jobs a round ({fewer:,} for the rivals), all submitted at once "
        "where no other number is said, from the call to SUCCESS on the disk, one "
        "subscriber. Ours waits for the disk at each step, Huey and Celery's Redis "
        "never do. CPU of all processes on the server's side; who submits to Huey "
        "writes into its database itself, so that there is a line with both. The "
        "sketch (`tests/benchmarks/sketch.py`) has the same request, rows, indexes, "
        "commits, events and tasks, and nothing else; with promises, all that the next "
        "table lists.",
        HEAD,
        [
            _line(name, one, found[f"{OURS}{PACED}" if name in PACED_FLOORS else OURS])
            for name, one in (found | both).items()
            if name not in BETWEEN
        ],
        _judge(found),
        notes,
    )
    return [table, _layers(found)] if bench.rivals else [table]


async def _subscribed(address: Address) -> LoadClient:
    client = await LoadClient.open(address)
    await client.call("core.subscribe", "core.get_jobs")
    return client


async def _sketched(
    stack: contextlib.ExitStack, layer: str, jobs: int
) -> dict[str, Run]:
    """Start the sketch with some promises; give what is to be run on it."""
    folder = tempfile.TemporaryDirectory(prefix="middlewared-bench-")
    path = stack.enter_context(folder)
    sketch = stack.enter_context(rival("floor", path, layer))
    client = await _subscribed(sketch.address)
    paced = partial(run_jobs, client, max(jobs // 4, 1), SOME)
    works = {LAYERS[layer]: paced}
    if layer in FLOORS:
        name = FLOORS[layer]
        at_once = partial(run_jobs, client, jobs, jobs)
        works = {name: at_once, f"{name}{PACED}": paced}
    return {name: partial(sample, sketch.pids, work) for name, work in works.items()}


def _layers(found: dict[str, Series]) -> Table:
    """Show what each promise costs."""
    head = ("sketch", "CPU µs a job", "more", "main thread", "others", "spread")
    floors = {layer: f"{name}{PACED}" for layer, name in FLOORS.items()}
    runs = {name: floors.get(layer, name) for layer, name in LAYERS.items()}
    lines, before = list[Sequence[str]](), None
    for name, key in (runs | {OURS: f"{OURS}{PACED}"}).items():
        one = found[key]
        more = "" if before is None else f"{one.median - before:+.1f}"
        parts = one.in_main, one.median - one.in_main
        cells = (f"{one.median:.1f}", more, *(f"{part:.1f}" for part in parts))
        lines.append((name, *cells, one.spread))
        before = one.median
    return Table(
        4,
        "What the promises of a job cost",
        f"The sketch of the table above with one promise after another "
        f"(`tests/benchmarks/promised`), {SOME} jobs unfinished at a time. Each line "
        "keeps those before it, too, in the cheapest way known; the last line is ours.",
        head,
        lines,
    )


def _line(name: str, one: Series, ours: Series) -> Sequence[str]:
    return (
        name,
        f"{one.median:.1f}",
        f"{one.in_main:.1f}" if name.startswith((OURS, "sketch")) else "",
        one.spread,
        f"{ours.median / one.median:.3f}",
        f"{one.rate:,.0f}",
        f"{one.busy:.0%}",
    )


def _judge(found: dict[str, Series]) -> list[Goal]:
    ours = found[OURS].median
    goals = [at_least("jobs a CPU second", 1e6 / ours, 10_000, "jobs")]
    for name, limit in (("Huey", 0.25), ("Celery", 0.05)):
        if name in found:
            goals.append(at_most(f"CPU of {name}", ours / found[name].median, limit))
    return goals
