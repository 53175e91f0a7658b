"""A drained server serves everybody, accepts nothing, and lets what runs end."""

import errno
import functools
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from jobs_stage import USERS, Stage, World, running_world
from jobs_wire import PATIENCE, Wire

from middlewared import Plugin
from middlewared.shutdown import Shutdown
from middlewared_jobs import Job, Jobs, job


def family_plugin(stage: Stage) -> Plugin:
    """Declare a job that starts another one and waits for it."""
    plugin = Plugin("family", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job
    async def parent(job: Job) -> str:
        """Wait for a gate, then for a child."""
        await stage.pass_gate("parent")
        number = await job.context.call("job.submit", "t.echo", ["from the child"])
        record = await job.context.get(Jobs).wait(number)
        assert record is not None
        return bytes(record.result).decode()

    @plugin.method(roles=USERS)
    @job
    async def wraps(job: Job, method: str, params: list[Any]) -> Any:
        """Wait for a gate, then for a child with a lock or a limit."""
        await stage.pass_gate("wraps")
        return await job.wrap(await job.start(method, *params))

    @plugin.method(roles=USERS)
    @job
    async def joins(job: Job, number: int) -> Any:
        """Wait for a job that is no child."""
        return await job.wrap(number)

    @plugin.method(roles=USERS)
    @job(limits={"k": 1})
    async def bounded(job: Job, name: str) -> str:
        """Wait for a gate; one at a time."""
        return await stage.pass_gate(name)

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server for three jobs at a time."""
    stage = Stage()
    async with running_world(family_plugin(stage), stage=stage, async_jobs=3) as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin that watches jobs."""
    async with world.admin() as wire:
        yield wire


async def health(world: World) -> tuple[int, str]:
    """Ask for the health."""
    get = functools.partial(httpx.get, f"{world.server.url}/healthz", trust_env=False)
    answer = await anyio.to_thread.run_sync(get)
    return answer.status_code, answer.json()["status"]


async def test_draining(world: World, admin: Wire) -> None:
    """What runs ends, what waits stays, what comes is refused; and back again."""
    running = await admin.start("t.locked", "one")
    waiting = await admin.start("t.locked", "two")
    await admin.event(running, "RUNNING")
    state = await admin.call("job.drain")
    assert state == {"draining": True, "running": 1, "waiting": 1}
    assert await health(world) == (503, "draining")
    error = await admin.fail("t.echo", 1)
    assert (error.errno, "drained" in error.reason) == (errno.EBUSY, True)
    assert await admin.call("core.ping") == "pong"
    waits = await admin.send("core.job_wait", [running])
    idle = await admin.send("job.drain", [{"wait": True}])
    world.stage.open("one", "two")
    assert await admin.result(waits) == "one"
    assert await admin.result(idle) == {"draining": True, "running": 0, "waiting": 1}
    assert (await admin.call("job.get", waiting))["state"] == "WAITING"
    assert (await admin.call("job.undrain"))["draining"] is False
    assert (await admin.final(waiting))["state"] == "SUCCESS"
    assert await admin.call("t.echo", 1) == 1
    assert await health(world) == (200, "ok")


async def test_children_of_running_jobs_run(world: World, admin: Wire) -> None:
    """A job that starts another one and waits for it comes to its end."""
    number = await admin.start("family.parent")
    await world.stage["parent"].wait_entered()
    for _ in range(2):
        held = await admin.start("t.hold", "slots")
        await admin.event(held, "RUNNING")
    blocked = await admin.start("t.hold", "slots")
    await admin.call("job.drain")
    world.stage.open("parent", "slots")
    item = await admin.final(number)
    assert item["result"] == '"from the child"'
    assert (await admin.call("job.get", blocked))["state"] == "WAITING"
    await admin.call("core.job_abort", blocked)


@pytest.mark.parametrize("method", ["t.locked", "family.bounded"])
async def test_children_pass_who_waits(world: World, admin: Wire, method: str) -> None:
    """What a running job needs does not wait for what is not started any more."""
    held = await admin.start(method, "held")
    await admin.event(held, "RUNNING")
    waiting = await admin.start(method, "waiting")
    call = await admin.send("family.wraps", [method, ["child"]])
    await world.stage["wraps"].wait_entered()
    idle = await admin.send("job.drain", [{"wait": True}])
    world.stage.open()
    world.stage.open("child", "waiting")
    assert await admin.result(call) == "child"
    assert await admin.result(idle) == {"draining": True, "running": 0, "waiting": 1}
    await admin.call("job.undrain")
    assert (await admin.final(waiting))["state"] == "SUCCESS"
    assert world.stage.ran == ["held", "wraps", "child", "waiting"]


async def test_what_running_jobs_wait_for_runs(world: World, admin: Wire) -> None:
    """Also when it is no child of theirs."""
    await admin.event(await admin.start("t.locked", "held"), "RUNNING")
    waiting = await admin.start("t.locked", "waiting")
    call = await admin.send("family.joins", [waiting])
    await admin.event(await admin.started(call), "RUNNING")
    await admin.call("job.drain")
    world.stage.open("held", "waiting")
    assert await admin.result(call) == "waiting"


async def test_draining_may_be_taken_back(world: World, admin: Wire) -> None:
    """Who waits for its end is answered, and no server is stopped."""
    await admin.event(await admin.start("t.hold", "long"), "RUNNING")
    idle = await admin.send("job.drain", [{"wait": True, "exit": True}])
    await admin.call("job.undrain")
    assert await admin.result(idle) == {"draining": False, "running": 1, "waiting": 0}
    world.stage.open("long")
    assert await admin.call("t.echo", 1) == 1


async def test_the_server_stops_when_idle(world: World, admin: Wire) -> None:
    """With ``exit`` it is told to, once nothing runs, as by SIGTERM."""
    shutdown = world.server.context.get(Shutdown)
    await admin.event(await admin.start("t.hold", "last"), "RUNNING")
    await admin.call("job.drain", {"exit": True})
    assert not shutdown.requested.is_set()
    world.stage.open("last")
    with anyio.fail_after(PATIENCE):
        await shutdown.requested.wait()


async def test_only_full_admins_drain(world: World) -> None:
    """Others are refused."""
    await world.add_user("eve")
    async with world.user("eve") as wire:
        for method in ("job.drain", "job.undrain"):
            assert (await wire.fail(method)).errno == errno.EACCES
