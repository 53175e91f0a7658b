"""What a stop does to jobs, inside the process; the whole program: acceptance."""

import errno

import anyio
import anyio.abc
from jobs_stage import World, running_world
from jobs_wire import PATIENCE, Wire

from middlewared.shutdown import Shutdown


async def begin_stop(world: World, wire: Wire, group: anyio.abc.TaskGroup) -> None:
    """Order the stop, with a minute for what runs, and wait until it has begun."""
    shutdown = world.server.context.get(Shutdown)
    shutdown.request(60.0)
    group.start_soon(shutdown.drain)
    with anyio.fail_after(PATIENCE):
        while "error" not in await wire.answer(await wire.send("t.echo")):
            pass


async def test_nothing_new_is_accepted_or_started(world: World, admin: Wire) -> None:
    """While what runs gets its time, new calls are EBUSY and what waits, waits."""
    first = await admin.start("t.locked", "first")
    second = await admin.start("t.locked", "second")
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            await begin_stop(world, admin, group)
            error = await admin.fail("t.echo")
            assert (error.code, error.errno) == (-32001, errno.EBUSY)
            world.stage.open("first")
            assert (await admin.final(first))["state"] == "SUCCESS"
    assert admin.states(second) == ["WAITING"]
    assert world.stage.ran == ["first"]


async def test_waits_do_not_hold_up_a_stop(world: World, admin: Wire) -> None:
    """Who waits for a job that will not run is told, and costs no time."""
    await admin.start("t.locked", "first")
    second = await admin.start("t.locked", "second")
    number = await admin.send("core.job_wait", [second])
    await admin.event(await admin.started(number), "RUNNING")
    with anyio.fail_after(PATIENCE):  # much less than the minute
        async with anyio.create_task_group() as group:
            await begin_stop(world, admin, group)
            world.stage.open("first")
    error = (await admin.answer(number))["error"]
    assert error["data"]["trace"]["class"] == "ServerStopped"
    assert (await admin.call("job.get", second))["state"] == "WAITING"


async def test_waiting_job_can_be_aborted_during_a_stop(
    world: World, admin: Wire
) -> None:
    """Until the end clients may abort what waits, and it is recorded so."""
    await admin.start("t.locked", "first")
    second = await admin.start("t.locked", "second")
    async with anyio.create_task_group() as group:
        await begin_stop(world, admin, group)
        await admin.call("core.job_abort", second)
        assert (await admin.final(second))["state"] == "ABORTED"
        world.stage.open("first")


async def test_job_aborted_by_a_person_stays_so() -> None:
    """A stop does not take an abort for its own."""
    async with running_world() as world, world.admin() as wire:
        job = await wire.start("t.attentive", "a")
        await world.stage["a"].wait_entered()
        await wire.call("core.job_abort", job)
        async with anyio.create_task_group() as group:
            await begin_stop(world, wire, group)
        assert (await wire.final(job))["state"] == "ABORTED"


async def test_jobs_over_their_time_end_stopped() -> None:
    """Without a grace, bodies in loop and thread end FAILED with ServerStopped."""
    async with running_world() as world, world.admin() as wire:
        jobs = [
            await wire.start("t.hold", "a"),
            await wire.start("t.fixed", "b"),
            await wire.start("t.attentive", "c"),
        ]
        for name in "abc":
            await world.stage[name].wait_entered()
        shutdown = world.server.context.get(Shutdown)
        shutdown.request(0.01)
        assert await shutdown.drain() is True
        for job in jobs:
            final = await wire.final(job)
            assert final["state"] == "FAILED"
            assert final["exc_info"]["type"] == "ServerStopped"
            assert (await wire.call("job.get", job))["abort"] is None
