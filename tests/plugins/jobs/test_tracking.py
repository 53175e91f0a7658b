"""What is in memory of a job, and for how long."""

import gc
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

import pytest
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire

from middlewared import Plugin
from middlewared_jobs import Job, job
from middlewared_jobs.run import Run

caller = Plugin("c", requires=("jobs",))


@caller.method(roles=USERS)
@job
async def calls(job: Job, value: int) -> int:
    """Call another job and wait for its end."""
    return int(await job.context.call("t.echo", value))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server."""
    async with running_world(caller) as world:
        yield world


def runs_besides(others: Iterable[Run]) -> list[Run]:
    """Give the runs that something still refers to, without those of other tests."""
    known = {id(run) for run in others}
    # Not isinstance: that looks through weak proxies, into what is gone.
    found = (run for run in gc.get_objects() if type(run) is Run)
    return [run for run in found if id(run) not in known]


async def test_jobs_are_freed_when_they_have_ended(world: World, admin: Wire) -> None:
    """Nothing of a job that went well waits for the garbage collector."""
    world.stage.open("i")
    others = runs_besides(())
    gc.disable()
    try:
        for _ in range(5):
            await admin.run("t.echo", 1)
        last = await admin.run("t.attentive", "i")
        # The writer of the database remembers its last group until the next one.
        assert [run.id for run in runs_besides(others)] in ([], [last["id"]])
    finally:
        gc.enable()


@contextmanager
def left_behind() -> Iterator[list[object]]:
    """Collect nothing meanwhile; give what only the collector would have freed."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("legacy", [False, True])
async def test_calls_leave_no_circles(
    world: World, admin: Wire, *, legacy: bool
) -> None:
    """Neither do jobs, their calls and what is told of them."""
    await admin.call("core.set_options", {"legacy_jobs": legacy})
    await admin.run("t.echo", 0)
    note = {"jsonrpc": "2.0", "method": "t.echo", "params": ["nobody waits"]}
    with left_behind() as found:
        for number in range(1, 4):
            assert (await admin.run("t.echo", number))["result"] == number
            assert (await admin.run("c.calls", number))["result"] == number
            await admin.socket.send(json.dumps(note))
        assert (await admin.run("t.echo", 4))["result"] == 4
    kinds = [type(thing) for thing in found]
    assert [kind for kind in kinds if kind.__module__.startswith("middlewared")] == []
