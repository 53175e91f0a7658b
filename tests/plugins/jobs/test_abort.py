"""Abort: at once for what waits, honest for what runs."""

import errno
from typing import Any

import anyio
import pytest
from jobs_stage import USERS, World, running_world
from jobs_wire import PATIENCE, Wire, WireError

from middlewared import Plugin
from middlewared_jobs import Job, job


async def test_waiting_job_is_aborted_at_once(world: World, admin: Wire) -> None:
    """A job behind a lock that another holds ends ABORTED without ever starting."""
    holder = await admin.start("t.deaf", "a")
    await world.stage["a"].wait_entered()
    job = await admin.start("t.deaf", "b")
    assert await admin.call("core.job_abort", job) is None
    final = await admin.final(job)
    assert final["state"] == "ABORTED"
    assert final["time_started"] is None
    assert final["time_finished"] is not None
    assert admin.moves(job) == ["WAITING", "ABORTED"]
    assert len(admin.events(job)) == 2
    assert (await admin.call("job.get", holder))["state"] == "RUNNING"


async def test_waiting_job_that_is_not_abortable(world: World, admin: Wire) -> None:
    """Whether a method is abortable says nothing about jobs that wait."""
    await admin.start("t.shared", "a")
    job = await admin.start("t.neighbour", "b")
    assert not admin.events(job)[0]["fields"]["abortable"]
    await admin.call("core.job_abort", job)
    assert (await admin.final(job))["state"] == "ABORTED"


async def test_aborted_one_leaves_the_queue(world: World, admin: Wire) -> None:
    """Those behind an aborted waiting job keep their order and run."""
    jobs = [await admin.start("t.locked", name) for name in "abc"]
    await admin.call("core.job_abort", jobs[1])
    world.stage.open("a", "c")
    assert (await admin.final(jobs[2]))["state"] == "SUCCESS"
    assert world.stage.ran == ["a", "c"]


async def test_running_coroutine_is_aborted(world: World, admin: Wire) -> None:
    """A body that awaits is cancelled; its state turns when it has ended."""
    job = await admin.start("t.hold", "a")
    await world.stage["a"].wait_entered()
    await admin.call("core.job_abort", job)
    final = await admin.final(job)
    assert world.stage.inside == []
    assert final["state"] == "ABORTED"
    assert final["error"] is final["exception"] is final["exc_info"] is None
    assert final["result"] is None
    assert admin.moves(job) == ["WAITING", "RUNNING", "ABORTED"]


async def test_running_thread_that_looks_is_aborted(world: World, admin: Wire) -> None:
    """A thread that checks the flag ends ABORTED."""
    job = await admin.start("t.attentive", "a")
    await world.stage["a"].wait_entered()
    await admin.call("core.job_abort", job)
    final = await admin.final(job)
    assert (final["state"], final["error"]) == ("ABORTED", None)


async def test_thread_that_does_not_look_is_reported() -> None:
    """A thread that ignores the abort keeps its state and lock; it is reported."""
    async with running_world(abort_grace=0.05) as world, world.admin() as wire:
        job = await wire.start("t.deaf", "a")
        await world.stage["a"].wait_entered()
        behind = await wire.start("t.deaf", "b")
        await wire.call("core.job_abort", job)
        with anyio.fail_after(PATIENCE):
            while not (await wire.call("job.get", job))["abort"]["overdue"]:  # noqa: ASYNC110 - no event tells
                await anyio.sleep(0.01)
        record = await wire.call("job.get", job)
        assert record["state"] == "RUNNING"
        assert record["abort"]["by"]
        assert record["abort"]["at"]["$date"] >= record["time_started"]["$date"]
        assert (await wire.call("job.get", behind))["state"] == "WAITING"
        world.stage.open("a", "b")
        # It did its work to the end, so that is what is told.
        assert (await wire.final(job))["state"] == "SUCCESS"
        assert (await wire.final(behind))["state"] == "SUCCESS"


async def test_abort_that_is_honoured_is_not_overdue(world: World, admin: Wire) -> None:
    """The record of an aborted job says who asked and when, nothing more."""
    job = await admin.start("t.hold", "a")
    await admin.call("core.job_abort", job)
    await admin.final(job)
    abort = (await admin.call("job.get", job))["abort"]
    assert set(abort) == {"by", "at", "overdue", "reason"}
    assert abort["reason"] is None
    assert abort["overdue"] is False


async def test_first_abort_counts(world: World) -> None:
    """Who asks second does not take the name of who asked first."""
    await world.add_user("ann")
    async with world.user("ann") as ann, world.admin() as admin:
        job = await ann.start("t.deaf", "a")
        await world.stage["a"].wait_entered()
        await ann.call("core.job_abort", job)
        await admin.call("core.job_abort", job)
        assert (await admin.call("job.get", job))["abort"]["by"] == "ann"


async def test_not_abortable_is_refused(world: World, admin: Wire) -> None:
    """A running job of a method that is not abortable: EPERM, and it goes on."""
    job = await admin.start("t.fixed", "a")
    await world.stage["a"].wait_entered()
    for method, more in (("core.job_abort", []), ("job.abort", [{"force": False}])):
        error = await admin.fail(method, job, *more)
        assert (error.code, error.errno) == (-32001, errno.EPERM)
    assert (await admin.call("job.get", job))["abort"] is None
    world.stage.open("a")
    assert (await admin.final(job))["result"] == "a"


async def test_full_admin_forces(world: World, admin: Wire) -> None:
    """With force a full admin aborts what is not abortable; its owner may not."""
    await world.add_user("ann")
    async with world.user("ann") as ann:
        job = await ann.start("t.fixed", "a")
        await world.stage["a"].wait_entered()
        error = await ann.fail("job.abort", job, {"force": True})
        assert error.errno == errno.EPERM
        assert await admin.call("job.abort", job, {"force": True}) is None
        assert (await ann.final(job))["state"] == "ABORTED"


async def test_abort_of_a_final_job_does_nothing(world: World, admin: Wire) -> None:
    """Aborting what has ended is no error and no change."""
    for number in ((await admin.run("t.echo"))["id"], await aborted(world, admin)):
        before = await admin.call("job.get", number)
        assert await admin.call("core.job_abort", number) is None
        assert await admin.call("job.abort", number, {"force": True}) is None
        assert await admin.call("job.get", number) == before


async def aborted(world: World, wire: Wire) -> int:
    """Start a job and abort it; give its id."""
    number = await wire.start("t.hold", "aborted")
    await wire.call("core.job_abort", number)
    await wire.final(number)
    return number


BY_ID = ["core.job_abort", "job.abort", "job.get", "core.job_wait"]


@pytest.mark.parametrize("method", BY_ID)
async def test_unknown_ids_are_named(admin: Wire, method: str) -> None:
    """An id that names no job is -32602, with the text of the protocol."""
    for number in (77, 0, -1, 2**40):
        error = await admin.fail(method, number)
        found = (error.code, error.message, error.errno)
        assert found == (-32602, "Invalid params", 22)
        text = f"Job with id {number} does not exist"
        assert error.data["extra"] == [[None, text, 2]]


@pytest.mark.parametrize("method", BY_ID)
async def test_impossible_ids_are_refused(admin: Wire, method: str) -> None:
    """What cannot be an id is an error of the caller."""
    for number in (2**63, -(2**63) - 1, 2**100):
        assert (await admin.fail(method, number)).code == -32602
    wrong: list[Any] = ["1", None, 1.5, True, [1]]
    for value in wrong:
        error = await admin.fail(method, value)
        assert (error.code, error.data["extra"][0][0]) == (-32602, "id")


async def test_all_waiters_of_an_aborted_job_get_an_error(
    world: World, admin: Wire
) -> None:
    """Call and `core.job_wait`, early and late: -32001, ECANCELED, who and when."""
    number = await admin.send("t.hold", ["a"])
    job = await admin.started(number)
    early = await admin.send("core.job_wait", [job])
    await admin.event(await admin.started(early), "RUNNING")
    await admin.call("core.job_abort", job)
    found = [await admin.answer(number), await admin.answer(early)]
    found.append(await admin.answer(await admin.send("core.job_wait", [job])))
    by = (await admin.call("job.get", job))["abort"]["by"]
    for frame in found:
        error = WireError(frame["error"])
        assert (error.code, error.errno) == (-32001, errno.ECANCELED)
        assert error.data["errname"] == "ECANCELED"
        assert f"Job {job} was aborted by {by} at 20" in error.reason


async def test_failed_wait_does_not_abort_its_job(world: World, admin: Wire) -> None:
    """Aborting a wait ends the wait, not the job that it waited for."""
    job = await admin.start("t.hold", "a")
    number = await admin.send("core.job_wait", [job])
    waiting = await admin.started(number)
    await admin.event(waiting, "RUNNING")
    await admin.call("core.job_abort", waiting)
    assert (await admin.answer(number))["error"]["data"]["error"] == errno.ECANCELED
    world.stage.open("a")
    assert (await admin.final(job))["state"] == "SUCCESS"


def odd_plugin(gate: anyio.Event) -> Plugin:
    """Declare bodies that take an abort in their own way."""
    plugin = Plugin("o", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(abortable=True)
    async def cleans_up(job: Job) -> None:
        """Need a while to end."""
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await gate.wait()

    @plugin.method(roles=USERS)
    @job(abortable=True)
    async def fails_on_the_way(job: Job) -> None:
        """Fail while ending."""
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("cannot clean up")

    @plugin.method(roles=USERS)
    @job(abortable=True)
    async def returns_anyway(job: Job) -> str:
        """Have the result already when the abort comes."""
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return "done"

    return plugin


async def test_state_turns_when_the_body_has_ended() -> None:
    """A body that needs time to end is RUNNING until it did."""
    gate = anyio.Event()
    async with running_world(odd_plugin(gate)) as world, world.admin() as wire:
        job = await wire.start("o.cleans_up")
        await wire.event(job, "RUNNING")
        await wire.call("core.job_abort", job)
        assert (await wire.call("job.get", job))["state"] == "RUNNING"
        gate.set()
        assert (await wire.final(job))["state"] == "ABORTED"


async def test_body_that_fails_on_abort_failed() -> None:
    """What the body raises on its way out is told: it failed."""
    async with running_world(odd_plugin(anyio.Event())) as world, world.admin() as wire:
        job = await wire.start("o.fails_on_the_way")
        await wire.event(job, "RUNNING")
        await wire.call("core.job_abort", job)
        final = await wire.final(job)
        assert (final["state"], final["error"]) == ("FAILED", "cannot clean up")


async def test_body_that_was_done_succeeded() -> None:
    """A result that came before the abort could act is a result."""
    gate = anyio.Event()
    async with running_world(odd_plugin(gate)) as world, world.admin() as wire:
        job = await wire.start("o.returns_anyway")
        await wire.event(job, "RUNNING")
        await wire.call("core.job_abort", job)
        gate.set()
        final = await wire.final(job)
        assert (final["state"], final["result"]) == ("SUCCESS", "done")


async def test_aborts_race_with_ends(world: World, admin: Wire) -> None:
    """Aborting jobs that end at that very moment leaves each in one final state."""
    numbers = await admin.send_many([("t.locked", [f"n{i}"]) for i in range(60)])
    jobs = [await admin.started(number) for number in numbers]
    world.stage.open(*(f"n{i}" for i in range(60)))
    answers = await admin.send_many([("core.job_abort", [one]) for one in jobs])
    for answer in answers:
        assert await admin.result(answer) is None
    for one in jobs:
        final = await admin.final(one)
        assert final["state"] in ("SUCCESS", "ABORTED")
        moves = admin.moves(one)
        assert moves[0] == "WAITING"
        assert len(admin.events(one)) == len(moves)
        record = await admin.call("job.get", one)
        assert record["state"] == final["state"]
    assert await admin.call("t.echo", "alive") == "alive"
