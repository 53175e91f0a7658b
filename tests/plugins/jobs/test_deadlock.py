"""Bodies that would wait for ever: they are refused, and nothing is stuck."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from jobs_stage import USERS, Stage, World, running_world
from jobs_wire import Wire

from middlewared import Context, Plugin
from middlewared_jobs import Job, Jobs, job


async def wait_in(job: Job, how: str, method: str, params: list[Any]) -> Any:
    """Start a job and wait for it, in one of the ways that there are."""
    context = job.context
    if how == "call":
        return await context.call(method, *params)
    if how == "bulk":
        (entry,) = await context.call("core.bulk", method, [params])
        if entry["error"]:
            raise RuntimeError(entry["error"])
        return entry["result"]
    number = await job.start(method, *params)
    if how == "job_wait":
        return await context.call("core.job_wait", number)
    return await job.wrap(number)


def deadly_plugin(stage: Stage) -> Plugin:
    """Declare jobs that hold something and wait for others, namespace ``d``."""
    plugin = Plugin("d", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(lock="l:{lock}", abortable=True)
    async def keeps(
        job: Job, lock: str, how: str, method: str, params: list[Any], gate: str = ""
    ) -> Any:
        """Hold a lock and wait for another job."""
        if gate:
            await stage.pass_gate(gate)
        return await wait_in(job, how, method, params)

    @plugin.method(roles=USERS)
    @job(lock="l:{lock}")
    def keeps_in_thread(job: Job, lock: str, method: str, params: list[Any]) -> Any:
        """Hold a lock in a thread and wait for another job."""
        return job.wrap_sync(job.start_sync(method, *params))

    @plugin.method(roles=USERS)
    @job
    async def between(job: Job, method: str, params: list[Any]) -> Any:
        """Hold nothing and wait for another job."""
        return await job.wrap(await job.start(method, *params))

    @plugin.method(roles=USERS)
    @job(limits={"k:{key}": 2}, abortable=True)
    async def bounded(job: Job, key: str, method: str, params: list[Any]) -> Any:
        """Hold a place of two and wait for another job."""
        return await job.wrap(await job.start(method, *params))

    @plugin.method(roles=USERS)
    @job(limits={"k:{key}": 2}, abortable=True)
    async def short(job: Job, key: str, gate: str) -> str:
        """Hold a place of two until a gate opens."""
        return await stage.pass_gate(gate)

    @plugin.method(roles=USERS)
    @job
    async def mirror(job: Job) -> Any:
        """Wait for itself."""
        return await job.wrap(job.id)

    @plugin.method(roles=USERS)
    async def waits_of(ctx: Context, id: int) -> int:  # noqa: A002 - the wire's word
        """Tell how many jobs a body waits for."""
        return len(ctx.get(Jobs).live[id].awaits)

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server."""
    stage = Stage()
    async with running_world(deadly_plugin(stage), stage=stage) as world:
        yield world


async def refused(wire: Wire, method: str, *params: Any) -> str:
    """Call a job that would wait for ever; give what is said."""
    item = await wire.run(method, *params)
    assert item["state"] == "FAILED", item
    assert "EDEADLOCK" in item["error"], item["error"]
    return str(item["error"])


@pytest.mark.parametrize("how", ["wrap", "call", "bulk", "job_wait"])
async def test_own_lock(world: World, admin: Wire, how: str) -> None:
    """The job that would never start is aborted, and the lock is free afterwards."""
    said = await refused(admin, "d.keeps", "x", how, "t.locked", ["a"])
    assert "lock 'l:x'" in said
    (child,) = await admin.call("job.query", [["method", "=", "t.locked"]])
    item = await admin.final(child["id"])
    assert item["state"] == "ABORTED"
    record = await admin.call("job.get", child["id"])
    assert record["abort"]["by"] == "system"
    assert record["abort"]["reason"]
    world.stage.open("b")
    assert await admin.call("t.locked", "b") == "b"
    assert world.stage.ran == ["b"]


async def test_own_lock_in_a_thread(admin: Wire) -> None:
    """As in the loop."""
    params = ["d.keeps", ["x", "wrap", "t.echo", [1]]]
    assert "lock" in await refused(admin, "d.keeps_in_thread", "x", *params)


async def test_lock_of_whoever_waits_above(admin: Wire) -> None:
    """However many jobs are between; the innermost is told."""
    params = ["d.between", ["d.between", ["t.locked", ["a"]]]]
    said = await refused(admin, "d.keeps", "x", "wrap", *params)
    assert "'l:x'" in said


async def test_two_that_wait_for_each_other(world: World, admin: Wire) -> None:
    """Who closes the circle is refused; the other one goes on."""
    first = await admin.send("d.keeps", ["x", "wrap", "t.locked", ["a", "y"], "first"])
    second = await admin.start("d.keeps", "y", "wrap", "t.locked", ["b", "x"], "second")
    await world.stage["second"].wait_entered()
    world.stage.open("first", "a", "b")
    outer = await admin.started(first)
    while not await admin.call("d.waits_of", outer):
        pass
    world.stage.open("second")
    item = await admin.final(second)
    assert f"until job {second} has ended" in item["error"]
    assert await admin.result(first) == "a"


async def test_itself(admin: Wire) -> None:
    """A job cannot wait for itself."""
    assert "wait for itself" in await refused(admin, "d.mirror")
    last = int((await admin.run("t.echo"))["id"])
    assert "wait for itself" in await refused(admin, "core.job_wait", last + 1)


async def test_a_lock_that_others_hold(world: World, admin: Wire) -> None:
    """Who only has to wait, waits: for a lock, and those before it in line."""
    held = await admin.start("t.locked", "a", "y")
    line = await admin.start("t.locked", "b", "y")
    call = await admin.send("d.keeps", ["x", "wrap", "t.locked", ["c", "y"]])
    outer = await admin.started(call)
    while not await admin.call("d.waits_of", outer):
        pass
    world.stage.open("a", "b", "c")
    assert await admin.result(call) == "c"
    for number in (held, line):
        assert (await admin.final(number))["state"] == "SUCCESS"
    assert world.stage.ran == ["a", "b", "c"]


async def test_a_limit(world: World, admin: Wire) -> None:
    """As long as one of those that hold it can end, it is waited for."""
    short = await admin.start("d.short", "k", "a")
    call = await admin.send("d.bounded", ["k", "d.short", ["k", "b"]])
    outer = await admin.started(call)
    while not await admin.call("d.waits_of", outer):
        pass
    world.stage.open("a", "b")
    assert await admin.result(call) == "b"
    assert (await admin.final(short))["state"] == "SUCCESS"
    inner = ["k", "d.bounded", ["k", "t.echo", [1]]]
    assert "a limit" in await refused(admin, "d.bounded", "k", "d.bounded", inner)


async def test_clients_may_wait_for_anything(world: World, admin: Wire) -> None:
    """Their waiting keeps nobody from ending."""
    held = await admin.start("t.locked", "a")
    behind = await admin.start("t.locked", "b")
    waits = [await admin.send("core.job_wait", [n]) for n in (behind, held)]
    world.stage.open("a", "b")
    assert [await admin.result(wait) for wait in waits] == ["b", "a"]
