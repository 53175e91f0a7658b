"""Transient jobs: told like any other, stored nowhere, gone after a while."""

import errno
import sqlite3
from pathlib import Path

import anyio
from jobs_stage import USERS, running_world
from jobs_wire import PATIENCE, Wire

from middlewared import CallError, Plugin
from middlewared_jobs import Job, job

QUERY: list[object] = [["transient", "=", True]]


async def wait_gone(wire: Wire, job: int) -> None:
    """Wait until nothing knows a job any more."""
    with anyio.fail_after(PATIENCE):
        while await wire.call("core.get_jobs", [["id", "=", job]]):  # noqa: ASYNC110 - no event tells
            await anyio.sleep(0.01)


async def test_transient_job_is_told_and_stored_nowhere(tmp_path: Path) -> None:
    """Events and answer come as usual; the database has only the block of ids."""
    async with running_world(data_dir=tmp_path) as world, world.admin() as wire:
        job = await wire.start("t.fleeting", "g")
        await world.stage["g"].wait_entered()
        (item,) = await wire.call("core.get_jobs", QUERY)
        assert (item["id"], item["state"]) == (job, "RUNNING")
        assert item["transient"] is True
        world.stage.open("g")
        final = await wire.final(job)
        assert (final["state"], final["result"]) == ("SUCCESS", "g")
        assert wire.moves(job) == ["WAITING", "RUNNING", "SUCCESS"]
        assert wire.events(job)[0]["msg"] == "added"
        assert (await wire.call("job.get", job))["state"] == "SUCCESS"
    with sqlite3.connect(tmp_path / "middlewared.db") as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
        (following,) = database.execute("SELECT next FROM job_ids").fetchone()
        assert following > job
    database.close()


async def test_transient_job_leaves_the_list() -> None:
    """Once its time is over, no list and no id finds it."""
    async with running_world(transient_ttl=0.2) as world, world.admin() as wire:
        final = await wire.run("demo.transient", 0)
        job = final["id"]
        assert await wire.call("core.get_jobs", [["id", "=", job]]) == [final]
        await wait_gone(wire, job)
        error = await wire.fail("job.get", job)
        assert error.data["extra"] == [[None, f"Job with id {job} does not exist", 2]]


async def test_transient_ids_are_not_lent_again(tmp_path: Path) -> None:
    """The id of a transient job belongs to no other job, also after a restart."""
    async with running_world(data_dir=tmp_path) as world, world.admin() as wire:
        jobs = [(await wire.run("demo.transient", 0))["id"] for _ in range(3)]
        assert jobs == [1, 2, 3]
    async with running_world(data_dir=tmp_path) as world, world.admin() as wire:
        assert await wire.start("t.echo") == 4
        assert await wire.call("core.get_jobs", QUERY) == []


async def test_transient_jobs_are_answered_in_both_styles() -> None:
    """New-style calls get the result, others the id."""
    async with running_world() as world:
        async with world.admin() as wire:
            assert await wire.call("demo.transient", 0) is None
        async with world.admin(new_style=False) as wire:
            job = await wire.call("t.fleeting", "g")
            assert wire.events(job)[0]["msg"] == "added"
            world.stage.open("g")
            assert (await wire.final(job))["result"] == "g"


async def test_transient_job_can_be_aborted() -> None:
    """It ends ABORTED like any other, and its caller is told so."""
    async with running_world() as world, world.admin() as wire:
        number = await wire.send("t.fleeting", ["g"])
        job = await wire.started(number)
        await world.stage["g"].wait_entered()
        assert await wire.call("core.job_abort", job) is None
        assert (await wire.final(job))["state"] == "ABORTED"
        assert (await wire.answer(number))["error"]["data"]["error"] == 125


async def test_job_wait_is_a_transient_job(admin: Wire) -> None:
    """`core.job_wait` has an id, events and a place in the list, and no history."""
    target = (await admin.run("t.echo", 5))["id"]
    final = await admin.run("core.job_wait", target)
    assert final["transient"] is True
    assert final["result"] == 5
    assert admin.moves(final["id"]) == ["WAITING", "RUNNING", "SUCCESS"]


async def test_waiting_takes_no_slot_of_jobs() -> None:
    """However many wait for a job, it gets the slot that it needs to run."""
    async with running_world(async_jobs=1) as world, world.admin() as wire:
        first = await wire.start("t.locked", "first")
        second = await wire.start("t.locked", "second")
        numbers = await wire.send_many([("core.job_wait", [second])] * 5)
        for number in numbers:
            await wire.event(await wire.started(number), "RUNNING")
        world.stage.open("first", "second")
        assert (await wire.final(first))["state"] == "SUCCESS"
        for number in numbers:
            assert await wire.result(number) == "second"


def family_plugin() -> Plugin:
    """Declare a job and its transient child, which have one lock, namespace ``f``."""
    plugin = Plugin("f", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(transient=True, lock="f")
    async def child(job: Job) -> None:
        """Have the lock."""

    @plugin.method(roles=USERS)
    @job(lock="f")
    async def parent(job: Job) -> int:
        """Wait for a child that waits for the lock; give the error number."""
        try:
            await job.context.call("f.child")
        except CallError as exc:
            return exc.errno
        return 0

    return plugin


async def test_refused_child_does_not_come_back() -> None:
    """It is aborted when it is accepted, and does not wait for the lock any more."""
    async with running_world(family_plugin()) as world, world.admin() as wire:
        for _ in range(2):
            assert await wire.call("f.parent") == errno.EDEADLK
        assert (await wire.run("f.child"))["state"] == "SUCCESS"
