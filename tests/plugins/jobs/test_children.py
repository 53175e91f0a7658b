"""What becomes of the jobs that a body started, when it does not come to a good end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from jobs_stage import USERS, Stage, World, running_world
from jobs_wire import PATIENCE, Wire

from middlewared import CallError, Plugin
from middlewared_jobs import Job, Jobs, job


def parents_plugin(stage: Stage) -> Plugin:
    """Declare jobs that start others and end in all ways, namespace ``p``."""
    plugin = Plugin("p", requires=("jobs",))
    _add_plain(plugin, stage)
    _add_asked(plugin, stage)
    return plugin


async def leave_two(job: Job, stage: Stage) -> None:
    """Start one that runs and cannot be aborted, and one that waits for it."""
    for name in ("one", "two"):
        await job.start("p.fixed", f"{name} {job.attempt}")
    await stage[f"one {job.attempt}"].wait_entered()


def _add_plain(plugin: Plugin, stage: Stage) -> None:
    @plugin.method(roles=USERS)
    @job(lock="fixed")
    async def fixed(job: Job, name: str) -> str:
        """Wait for a gate."""
        return await stage.pass_gate(name)

    @plugin.method(roles=USERS)
    @job
    async def returns(job: Job) -> None:
        """Leave two jobs behind."""
        await leave_two(job, stage)

    @plugin.method(roles=USERS)
    @job
    async def raises(job: Job) -> None:
        """Leave two jobs behind, and fail."""
        await leave_two(job, stage)
        raise CallError("no luck")

    @plugin.method(roles=USERS)
    @job(retries=1)
    async def tries(job: Job) -> None:
        """Leave two jobs behind in each attempt; the second one succeeds."""
        await leave_two(job, stage)
        if job.attempt == 1:
            raise CallError("no luck yet")


def _add_asked(plugin: Plugin, stage: Stage) -> None:
    @plugin.method(roles=USERS)
    @job(timeout=0.3)
    async def slow(job: Job) -> None:
        """Leave two jobs behind, and take too long."""
        await leave_two(job, stage)
        await anyio.sleep_forever()

    @plugin.method(roles=USERS)
    @job(abortable=True)
    async def stubborn(job: Job) -> None:
        """Start two jobs only when it is aborted."""
        try:
            await stage.pass_gate("stubborn")
        finally:
            with anyio.CancelScope(shield=True):
                await leave_two(job, stage)

    @plugin.method(roles=USERS)
    @job(on_worker_lost="requeue", abortable=True)
    async def lasting(job: Job) -> None:
        """Leave two jobs behind, and run again after a stop."""
        if job.attempt == 1:
            await leave_two(job, stage)
            await stage.pass_gate("lasting")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server."""
    stage = Stage()
    async with running_world(
        parents_plugin(stage), stage=stage, abort_grace=0.5
    ) as world:
        yield world


async def children(wire: Wire, parent: int) -> list[dict[str, Any]]:
    """Give the records of the children of a job, once they have ended."""
    mine = [["parent", "=", parent]]
    with anyio.fail_after(PATIENCE):
        while True:
            found: list[dict[str, Any]] = await wire.call("job.query", mine)
            if all(item["time_finished"] for item in found):
                return found


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("p.raises", "job {}, which started it, failed"),
        ("p.slow", "job {}, which started it, took too long"),
    ],
)
async def test_failure_aborts_them(
    world: World, admin: Wire, method: str, what: str
) -> None:
    """Also one that is not abortable; the record says by whom and why."""
    number = await admin.start(method)
    assert (await admin.final(number))["state"] == "FAILED"
    found = await children(admin, number)
    assert [child["state"] for child in found] == ["ABORTED", "ABORTED"]
    for child in found:
        assert child["abort"]["by"] == "system"
        assert child["abort"]["reason"] == what.format(number)
        error = await admin.fail("core.job_wait", child["id"])
        assert error.reason.endswith(what.format(number))
    assert world.stage.ran == ["one 1"]


async def test_abort_says_whose(admin: Wire, world: World) -> None:
    """Who aborts a job is who aborts its children."""
    number = await admin.start("p.lasting")
    await world.stage["lasting"].wait_entered()
    await admin.call("core.job_abort", number)
    record = await admin.call("job.get", number)
    for child in await children(admin, number):
        assert child["state"] == "ABORTED"
        assert child["abort"]["by"] == record["abort"]["by"]
        reason = f"job {number}, which started it, was aborted"
        assert child["abort"]["reason"] == reason


async def test_a_later_attempt_has_its_own(world: World, admin: Wire) -> None:
    """Those of an attempt that failed are aborted, those of a good one go on."""
    number = await admin.start("p.tries")
    assert (await admin.final(number))["state"] == "SUCCESS"
    world.stage.open("one 2", "two 2")
    found = await children(admin, number)
    assert [child["state"] for child in found] == [*["ABORTED"] * 2, *["SUCCESS"] * 2]
    assert world.stage.ran == ["one 1", "one 2", "two 2"]


async def test_success_leaves_them(world: World, admin: Wire) -> None:
    """What a body left behind on purpose goes on."""
    number = await admin.start("p.returns")
    assert (await admin.final(number))["state"] == "SUCCESS"
    world.stage.open("one 1", "two 1")
    found = await children(admin, number)
    assert [child["state"] for child in found] == ["SUCCESS", "SUCCESS"]


async def test_those_of_an_aborted_body(world: World, admin: Wire) -> None:
    """What it starts while it is being aborted does not go on without it."""
    number = await admin.start("p.stubborn")
    await world.stage["stubborn"].wait_entered()
    await admin.call("core.job_abort", number)
    assert (await admin.final(number))["state"] == "ABORTED"
    found = await children(admin, number)
    assert [child["state"] for child in found] == ["ABORTED", "ABORTED"]


async def test_a_stop_leaves_no_orphans(tmp_path: Path) -> None:
    """The next start aborts what waits of a body that runs again, or not at all."""
    stage = Stage()
    plugin = parents_plugin(stage)
    async with (
        running_world(plugin, data_dir=tmp_path, stage=stage) as world,
        world.admin() as wire,
    ):
        number = await wire.start("p.lasting")
        await stage["lasting"].wait_entered()
        assert await world.server.context.get(Jobs).drain(0)
    async with (
        running_world(parents_plugin(stage), data_dir=tmp_path, stage=stage) as world,
        world.admin() as wire,
    ):
        await wire.call("core.job_wait", number)
        one, two = await children(wire, number)
        assert one["exc_info"]["type"] == "ServerStopped"
        assert two["state"] == "ABORTED"
        reason = f"the server ended while job {number}, which started it, ran"
        assert two["abort"]["reason"] == reason
    assert stage.ran == ["one 1", "lasting"]
