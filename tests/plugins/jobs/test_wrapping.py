"""Bodies that start other jobs and wait for them, their progress shown as their own."""

import errno
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import pytest
from jobs_stage import USERS, Stage, World, running_world
from jobs_wire import Frame, Wire, is_event

from middlewared import CallError, Plugin
from middlewared_jobs import Job, job

plugin = Plugin("w", requires=("jobs",))
#: The methods of each kind of body.
BODIES = ["w.outer", "w.outer_sync"]


@plugin.method(roles=USERS)
@job(abortable=True)
async def outer(job: Job, method: str, params: list[Any]) -> Any:
    """Wrap a new job."""
    return await job.wrap(await job.start(method, *params))


@plugin.method(roles=USERS)
@job(abortable=True)
def outer_sync(job: Job, method: str, params: list[Any]) -> Any:
    """Wrap a new job, in a thread."""
    return job.wrap_sync(job.start_sync(method, *params))


@plugin.method(roles=USERS)
@job(abortable=True)
async def joined(job: Job, number: int) -> Any:
    """Wrap a job that is there."""
    return await job.wrap(number)


@plugin.method(roles=USERS)
@job(abortable=True)
def joined_sync(job: Job, number: int) -> Any:
    """Wrap a job that is there, in a thread."""
    return job.wrap_sync(number)


@plugin.method(roles=USERS)
@job(process=True)
def outside(job: Job) -> list[str]:
    """Try to start and wrap jobs in a child process."""
    found = []
    for do in (partial(job.start_sync, "t.echo"), partial(job.wrap_sync, 1)):
        with pytest.raises(CallError) as caught:
            do()
        found.append(str(caught.value))
    return found


@plugin.method(roles=USERS)
@job
async def patient(job: Job) -> list[Any]:
    """Wait for two at once."""
    found: dict[str, Any] = {}

    async def wait(name: str) -> None:
        found[name] = await job.wrap(await job.start("t.hold", name))

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "a")
        group.start_soon(wait, "b")
    return sorted(found.items())


@plugin.method(roles=USERS)
@job
async def calm(job: Job, method: str) -> str:
    """Survive the failure of another job."""
    try:
        return str(await job.wrap(await job.start(method, "a")))
    except CallError as exc:
        return f"{exc.errno} {exc}"


def moving_plugin(stage: Stage) -> Plugin:
    """Declare a job whose progress a test moves, namespace ``m``."""
    plugin = Plugin("m", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job
    async def move(job: Job) -> str:
        """Tell a number, then none, then fail."""
        job.set_progress(20, "first", {"at": 1})
        await stage.pass_gate("first")
        job.set_progress(None, "then", indeterminate=True)
        await stage.pass_gate("then")
        raise CallError("moved too far", errno.EDOM, {"by": 3})

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server where one job of each kind may run."""
    stage = Stage()
    async with running_world(
        plugin, moving_plugin(stage), stage=stage, async_jobs=1, thread_jobs=1
    ) as world:
        yield world


async def only_child(wire: Wire, parent: int) -> int:
    """Give the id of the only child of a job."""
    (child,) = await wire.call("job.query", [["parent", "=", parent]])
    return int(child["id"])


@pytest.mark.parametrize("method", BODIES)
async def test_result_is_that_of_the_other(admin: Wire, method: str) -> None:
    """As plain values; the other one is a child of the body's job."""
    value = {"a": [1, None, "x"]}
    outer = await admin.run(method, "t.echo", [value])
    assert outer["result"] == value
    child = await admin.call("job.get", await only_child(admin, outer["id"]))
    assert (child["method"], child["state"]) == ("t.echo", "SUCCESS")
    assert child["message_ids"] == []


@pytest.mark.parametrize("method", BODIES)
async def test_progress_is_that_of_the_other(
    world: World, admin: Wire, method: str
) -> None:
    """With all its parts, as it changes; its error is raised as it was."""
    number = await admin.send(method, ["m.move", []])
    outer = await admin.started(number)
    for name, percent in (("first", 20), ("then", None)):
        await admin.wait(progress_of(outer, name, percent))
        world.stage.open(name)
    error = (await admin.answer(number))["error"]["data"]
    assert (error["error"], error["reason"]) == (errno.EDOM, "[EDOM] moved too far")
    assert error["extra"] == {"by": 3}
    final = await admin.final(outer)
    assert final["progress"]["extra"] == {"at": 1}
    assert final["state"] == "FAILED"


def progress_of(
    job_id: int, description: str, percent: int | None
) -> Callable[[Frame], bool]:
    """Tell events that show a job at a place."""

    def shown(frame: Frame) -> bool:
        if not is_event(frame) or frame["params"]["id"] != job_id:
            return False
        progress = frame["params"]["fields"]["progress"]
        return (progress["description"], progress["percent"]) == (description, percent)

    return shown


@pytest.mark.parametrize("method", BODIES)
async def test_abort_ends_both(world: World, admin: Wire, method: str) -> None:
    """Whoever aborts a job aborts the one that it waits for."""
    number = await admin.send(method, ["t.hold", ["a"]])
    outer = await admin.started(number)
    await world.stage["a"].wait_entered()
    inner = await only_child(admin, outer)
    await admin.call("core.job_abort", outer)
    assert (await admin.answer(number))["error"]["data"]["error"] == errno.ECANCELED
    for job_id in (outer, inner):
        assert (await admin.final(job_id))["state"] == "ABORTED"


async def test_other_that_waits_is_aborted_too(world: World, admin: Wire) -> None:
    """Before it has begun: it never does."""
    await admin.start("t.deaf", "a")
    await world.stage["a"].wait_entered()
    outer = await admin.start("w.outer", "t.deaf", ["b"])
    await admin.event(outer, "RUNNING")
    await admin.wait(lambda frame: is_event(frame) and is_new(frame, "t.deaf", "b"))
    inner = await only_child(admin, outer)
    await admin.call("core.job_abort", outer)
    for job_id in (outer, inner):
        assert (await admin.final(job_id))["state"] == "ABORTED"
    assert not world.stage["b"].entered.is_set()


def is_new(frame: Frame, method: str, *params: Any) -> bool:
    """Tell whether an event shows a job as it is made."""
    fields = frame["params"]["fields"]
    return (fields["method"], fields["arguments"]) == (method, list(params))


async def test_abort_of_the_other_is_an_error(world: World, admin: Wire) -> None:
    """A body may go on after it, as after any failure."""
    outer = await admin.start("w.calm", "t.hold")
    await world.stage["a"].wait_entered()
    await admin.call("core.job_abort", await only_child(admin, outer))
    final = await admin.final(outer)
    assert final["state"] == "SUCCESS"
    assert final["result"].startswith(str(errno.ECANCELED))
    assert "aborted by" in final["result"]


@pytest.mark.parametrize("method", ["w.joined", "w.joined_sync"])
async def test_other_jobs_are_waited_for(
    world: World, admin: Wire, method: str
) -> None:
    """Jobs that are no children: they go on when the one that waits is aborted."""
    held = "t.attentive" if method == "w.joined" else "t.hold"
    other = await admin.start(held, "a")
    await world.stage["a"].wait_entered()
    outer = await admin.start(method, other)
    await admin.event(outer, "RUNNING")
    await admin.call("core.job_abort", outer)
    assert (await admin.final(outer))["state"] == "ABORTED"
    number = await admin.send(method, [other])
    await admin.event(await admin.started(number), "RUNNING")
    assert (await admin.call("job.get", other))["state"] == "RUNNING"
    world.stage.open("a")
    assert await admin.result(number) == "a"
    assert await admin.call(method, other) == "a"  # it has ended


async def test_jobs_of_others_are_not_waited_for(world: World, admin: Wire) -> None:
    """A body sees what its caller sees."""
    other = await admin.start("t.attentive", "a")
    await world.add_user("ann")
    async with world.user("ann") as ann:
        assert (await ann.fail("w.joined", other)).errno == errno.EPERM
        assert (await ann.fail("w.joined", 999)).code == -32602


@pytest.mark.parametrize("method", BODIES)
async def test_refused_starts_are_errors(admin: Wire, method: str) -> None:
    """No child is there; the error is that of the call."""
    for other, params in (("core.ping", []), ("t.nothing", []), ("t.echo", [1, 2])):
        assert (await admin.fail(method, other, params)).code == -32602


async def test_slots_are_lent(world: World, admin: Wire) -> None:
    """A body that waits for several has lent one slot; it returns when all end."""
    number = await admin.send("w.patient", [])
    await world.stage["a"].wait_entered()
    behind = await admin.start("t.hold", "c")
    assert world.stage.inside == ["a"]
    world.stage.open("a")
    await world.stage["b"].wait_entered()
    assert world.stage.inside == ["b"]
    world.stage.open("b", "c")
    assert await admin.result(number) == [["a", "a"], ["b", "b"]]
    await admin.final(behind)
    for name in ("x", "y"):  # there are as many slots as before
        await admin.send("t.hold", [name])
    await world.stage["x"].wait_entered()
    assert await admin.call("core.ping") == "pong"
    assert world.stage.inside == ["x"]


async def test_jobs_wrap_jobs_that_wrap_jobs(admin: Wire) -> None:
    """Any depth goes with one slot of each kind."""
    params: list[Any] = ["t.echo", [5]]
    for method in ("w.outer_sync", "w.outer", "w.outer_sync"):
        params = [method, params]
    assert await admin.call("w.outer", *params) == 5


async def test_process_jobs_cannot_wait(admin: Wire) -> None:
    """Jobs live in the server; the error says so."""
    for error in await admin.call("w.outside"):
        assert error.startswith("[ENOTSUP] A process job cannot start or wrap")
