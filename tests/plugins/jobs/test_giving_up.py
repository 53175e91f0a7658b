"""``$/cancelRequest``: the client gives up a call that waits for a job."""

import errno
import json
from typing import Any

import pytest
from jobs_stage import USERS, World
from jobs_wire import Wire, open_wire


async def give_up(wire: Wire, number: Any) -> None:
    """Send the notification, and a call whose answer says that it was handled."""
    note = {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": number}}
    await wire.socket.send(json.dumps(note))
    assert await wire.call("core.ping") == "pong"


@pytest.mark.parametrize("number", ["a string", "", 0, 7, "\N{SNOWMAN}\n"])
async def test_running_job_is_aborted(world: World, admin: Wire, number: Any) -> None:
    """By whom it is said; the call is answered, as after any abort."""
    await admin.send("t.hold", ["a"], id=number)
    await world.stage["a"].wait_entered()
    await give_up(admin, number)
    error = (await admin.answer(number))["error"]
    assert (error["code"], error["data"]["error"]) == (-32001, errno.ECANCELED)
    assert "aborted by" in error["data"]["reason"]
    assert (await admin.final(await admin.started(number)))["state"] == "ABORTED"


async def test_waiting_job_is_aborted(world: World, admin: Wire) -> None:
    """At once; the one that has the lock goes on."""
    first = await admin.send("t.locked", ["a"])
    second = await admin.send("t.locked", ["b"])
    await world.stage["a"].wait_entered()
    await give_up(admin, second)
    assert "error" in await admin.answer(second)
    world.stage.open("a")
    assert await admin.result(first) == "a"


async def test_it_may_come_in_one_piece_with_the_call(
    world: World, admin: Wire
) -> None:
    """Before the job is on disk: it then ends at once."""
    call = '{"jsonrpc":"2.0","method":"t.hold","params":["a"],"id":5}'
    note = '{"jsonrpc":"2.0","method":"$/cancelRequest","params":[5]}'
    named = '{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":5}}'
    await admin.socket.send(f"[{call},{note},{named}]")
    frame = await admin.wait(lambda frame: "batch" in frame)
    assert frame["batch"][0]["error"]["data"]["error"] == errno.ECANCELED
    del world


async def test_job_that_cannot_be_aborted_goes_on(world: World, admin: Wire) -> None:
    """Its call is answered with its result."""
    number = await admin.send("t.fixed", ["a"])
    await world.stage["a"].wait_entered()
    await give_up(admin, number)
    world.stage.open("a")
    assert await admin.result(number) == "a"


async def test_waiting_for_a_job_of_another_is_given_up_alone(
    world: World, admin: Wire
) -> None:
    """``core.job_wait`` is a job of its own: the one it waits for goes on."""
    job = await admin.start("t.hold", "a")
    number = await admin.send("core.job_wait", [job])
    await admin.started(number)
    await give_up(admin, number)
    assert (await admin.answer(number))["error"]["data"]["error"] == errno.ECANCELED
    world.stage.open("a")
    assert (await admin.final(job))["state"] == "SUCCESS"


async def test_only_ones_own_calls_are_given_up(world: World, admin: Wire) -> None:
    """Ids belong to a connection; unknown and answered ones are nothing."""
    number = await admin.send("t.hold", ["a"], id="mine")
    await world.stage["a"].wait_entered()
    await world.add_user("ann", *USERS)
    async with world.user("ann") as other:
        for unknown in ("mine", "nothing", 99):
            await give_up(other, unknown)
    async with open_wire(world.server.socket_path, new_style=False) as older:
        job = await older.call("t.hold", "b")
        await world.stage["b"].wait_entered()
        await give_up(older, "anything")
        assert (await older.call("job.get", job))["state"] == "RUNNING"
    world.stage.open("a", "b")
    assert await admin.result(number) == "a"
