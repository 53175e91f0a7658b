"""The whole record over the wire: steps, notes, attempts, options, pauses."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from jobs_richly import rich_plugin
from jobs_stage import Stage, World, running_world
from jobs_wire import Wire


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with these jobs."""
    stage = Stage()
    plugin = rich_plugin(stage)
    async with running_world(plugin, stage=stage, progress_interval=0.01) as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect as a full admin."""
    async with world.admin() as wire:
        yield wire


async def shown(wire: Wire, number: int) -> dict[str, Any]:
    """Give the whole record of a job."""
    found: dict[str, Any] = await wire.call("job.get", number)
    return found


async def test_notes_are_in_the_record(admin: Wire) -> None:
    """Whatever a body notes is there when the job has ended."""
    final = await admin.run("r.notes")
    record = await shown(admin, final["id"])
    assert [(m["seq"], m["code"], m["text"]) for m in record["messages"]] == [
        (1, None, "plain"),
        (2, 7, "with code"),
    ]
    assert record["counts"] == {"a": 4}
    assert record["scopes"] == ["one", "two"]
    assert record["attributes"] == {"mission": {"id": 5}}
    assert record["exit"] == {
        "kind": "COMPLETED",
        "code": "DONE_WELL",
        "message": "all of it",
    }
    assert record["item_errors"] == 1
    (error,) = await admin.call("job.item_errors", final["id"])
    assert (error["item"], error["code"], error["key"]) == ("disk 3", "E-7", "404")
    assert (record["phase"], record["instance"]) == ("finished", record["id"])


async def test_steps_are_followed(world: World, admin: Wire) -> None:
    """Declared steps are there from the start, and move one after the other."""
    job = await admin.start("r.scrub", "x")
    await world.stage["x.scan"].wait_entered()
    scan, repair = (await shown(admin, job))["steps"]
    assert (scan["name"], scan["state"]) == ("scan", "RUNNING")
    assert (repair["name"], repair["state"]) == ("repair", "WAITING")
    world.stage.open("x.scan", "x.repair")
    await admin.final(job)
    record = await shown(admin, job)
    assert [step["state"] for step in record["steps"]] == ["SUCCESS", "SUCCESS"]
    assert record["steps"][0]["percent"] == 100
    assert record["steps"][0]["exit"]["code"] == "OK"
    assert record["counts"] == {"blocks": 4, "bad": 0}


async def test_what_is_no_json_is_refused(admin: Wire) -> None:
    """Events are kept together: one that is spoiled would spoil the others."""
    final = await admin.run("r.garbles")
    record = await shown(admin, final["id"])
    assert record["result"] == 8
    assert record["checkpoint"] is None
    assert record["attributes"] == {}
    assert record["scopes"] == ["told"]
    assert record["progress"]["extra"] is None


async def test_restart_goes_on_where_it_failed(world: World, admin: Wire) -> None:
    """What succeeded is skipped, the checkpoint is there, the instance is the same."""
    world.stage.open("y.scan", "y.repair")
    first = (await admin.run("r.scrub", "y", "repair"))["id"]
    failed = await shown(admin, first)
    assert failed["exit"]["kind"] == "FAILED"
    assert [step["state"] for step in failed["steps"]] == ["SUCCESS", "FAILED"]
    second = await admin.call("job.restart", first)
    await admin.final(second)
    record = await shown(admin, second)
    assert record["result"] == {"done": ["repair"], "restart": True}
    assert (record["instance"], record["restart_of"]) == (first, first)
    assert [step["ran_in"] for step in record["steps"]] == [first, None]
    assert record["checkpoint"]["before"]["in"] == "repair"
    error = await admin.fail("job.restart", first)
    assert error.data["errname"] == "ESTALE"
    assert (await admin.fail("job.restart", second)).data["errname"] == "EALREADY"


async def test_pause_stands_between_steps(world: World, admin: Wire) -> None:
    """A paused job finishes its step, stands, and goes on."""
    job = await admin.start("r.scrub", "z")
    await world.stage["z.scan"].wait_entered()
    await admin.call("job.pause", job)
    assert (await shown(admin, job))["phase"] == "pausing"
    world.stage.open("z.scan")
    await admin.wait(
        lambda frame: (
            frame.get("method") == "collection_update"
            and frame["params"]["fields"]["progress"]["description"] == "Paused"
        )
    )
    assert (await shown(admin, job))["phase"] == "paused"
    await admin.call("job.resume", job)
    await world.stage["z.repair"].wait_entered()
    assert (await shown(admin, job))["phase"] in ("resuming", "resumed")
    world.stage.open("z.repair")
    final = await admin.final(job)
    assert final["progress"]["description"] != "Paused"
    assert (await admin.fail("job.pause", job)).data["errname"] == "EBUSY"


async def test_failed_attempts_are_followed_by_others(admin: Wire) -> None:
    """Each is kept, and the state goes back to WAITING in between."""
    job = (await admin.run("r.flaky", 3))["id"]
    record = await shown(admin, job)
    assert (record["state"], record["attempt"], record["result"]) == ("SUCCESS", 3, 3)
    assert [a["error"] for a in record["attempts"]] == [
        "[EIO] attempt 1",
        "[EIO] attempt 2",
    ]
    states = [
        event["fields"]["state"] for event in admin.events() if event["id"] == job
    ]
    assert states == ["WAITING", "RUNNING"] * 3 + ["SUCCESS"]
    failed = await admin.run("r.flaky", 9)
    assert (failed["state"], failed["error"]) == ("FAILED", "[EIO] attempt 3")


@pytest.mark.parametrize("method", ["r.slow", "r.silent"])
async def test_bodies_that_take_too_long_fail(admin: Wire, method: str) -> None:
    """They are asked to end as by an abort, and fail with ETIMEDOUT."""
    final = await admin.run(method)
    assert final["state"] == "FAILED"
    assert final["exc_info"]["errno"] == 110


async def test_priority_decides_among_those_that_could_start(
    world: World, admin: Wire
) -> None:
    """Over a limit, the highest priority goes first."""
    first = await admin.call("job.submit", "r.single", ["one"])
    low = await admin.call("job.submit", "r.single", ["low"], {"priority": -1})
    high = await admin.call("job.submit", "r.single", ["high"], {"priority": 5})
    world.stage.open("one", "low", "high")
    for number in (first, low, high):
        await admin.final(number)
    assert world.stage.ran == ["one", "high", "low"]


async def test_key_names_the_same_job(admin: Wire) -> None:
    """Running, ended, with other params: same job, same job, EEXIST."""
    options = {"key": "once"}
    first = await admin.call("job.submit", "t.echo", [1], options)
    await admin.final(first)
    assert await admin.call("job.submit", "t.echo", [1], options) == first
    error = await admin.fail("job.submit", "t.echo", [2], options)
    assert error.data["errname"] == "EEXIST"
    assert str(first) in error.reason


async def test_children_are_aborted_with_their_parent(
    world: World, admin: Wire
) -> None:
    """A job that a body called is its child."""
    parent = await admin.start("r.parent", "c")
    await world.stage["c"].wait_entered()
    (child,) = await admin.call("job.query", [["parent", "=", parent]])
    await admin.call("core.job_abort", parent)
    assert (await admin.final(parent))["state"] == "ABORTED"
    assert (await admin.final(child["id"]))["state"] == "ABORTED"


async def test_secrets_have_to_be_given_again(admin: Wire) -> None:
    """A retry asks for what is not kept, by name."""
    first = (await admin.run("r.keeps", "n", "pass"))["id"]
    error = await admin.fail("job.retry", first)
    assert error.data["extra"][0][0] == "secret"
    again = await admin.call("job.retry", first, {"params": {"secret": "longer"}})
    assert (await admin.final(again))["result"] == "n 6"


async def test_deleted_jobs_are_gone(admin: Wire) -> None:
    """Only those that have ended."""
    job = (await admin.run("r.notes"))["id"]
    await admin.call("job.delete", job)
    assert (await admin.fail("job.get", job)).code == -32602
    assert await admin.call("core.get_jobs", [["id", "=", job]]) == []
