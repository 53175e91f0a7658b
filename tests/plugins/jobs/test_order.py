"""Events and answers of a job: complete, one per move, in order."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from jobs_stage import World, running_world
from jobs_wire import FINAL, Wire, is_event, same

#: The wire's keys in the wire's order (protocol page, 5.1).
KEYS = [
    *("id", "message_ids", "method", "arguments", "transient", "description"),
    *("abortable", "logs_path", "logs_excerpt", "progress", "result"),
    *("result_encoding_error", "error", "exception", "exc_info", "state"),
    *("time_started", "time_finished", "credentials"),
]


def shows(frame: Any, number: Any, *states: str) -> bool:
    """Tell whether a frame is an event of the job that a request started."""
    if not is_event(frame):
        return False
    fields = frame["params"]["fields"]
    known = any(same(one, number) for one in fields["message_ids"])
    return known and fields["state"] in states


@contextmanager
def blocked_commits(world: World) -> Iterator[None]:
    """Keep the server's database locked for the length of a block."""
    path = world.server.app.settings.data_path / "middlewared.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.rollback()


async def test_new_style_order(admin: Wire) -> None:
    """ADDED, RUNNING and the end are told before the answer with the result."""
    number = await admin.send("t.echo", ["hello"])
    assert await admin.result(number) == "hello"
    order = [
        "answer" if not is_event(f) else f["params"]["fields"]["state"]
        for f in admin.frames
        if is_event(f) or f.get("id") == number
    ]
    assert order == ["WAITING", "RUNNING", "SUCCESS", "answer"]
    assert [e["msg"] for e in admin.events()] == ["added", "changed", "changed"]


async def test_legacy_order(world: World) -> None:
    """ADDED comes before the answer with the id, and the job goes on after it."""
    async with world.admin(new_style=False) as wire:
        number = await wire.send("t.hold", ["g"])
        job = await wire.result(number)
        assert isinstance(job, int)
        added = wire.place(lambda f: shows(f, number, "WAITING"))
        answer = wire.place(lambda f: f.get("id") == number)
        assert added < answer
        assert wire.events(job)[0]["msg"] == "added"
        world.stage.open("g")
        assert (await wire.final(job))["result"] == "g"


async def test_pipelined_jobs_keep_their_order(world: World) -> None:
    """Of hundreds of calls sent at once, each is told of before it is answered."""
    async with world.admin(new_style=False) as wire:
        calls = [("t.echo", [i]) for i in range(300)]
        numbers = await wire.send_many(calls)
        jobs = [await wire.result(number) for number in numbers]
        assert jobs == sorted(set(jobs))
        for job in jobs:
            await wire.final(job)
        places: dict[Any, int] = {}
        for place, frame in enumerate(wire.frames):
            key = frame.get("id")
            if is_event(frame):
                fields = frame["params"]["fields"]
                key = (fields["id"], fields["state"])
            assert places.setdefault(key, place) == place
        for job, number in zip(jobs, numbers, strict=True):
            waiting, running = places[job, "WAITING"], places[job, "RUNNING"]
            assert waiting < places[number]
            assert waiting < running < places[job, "SUCCESS"]


@pytest.mark.parametrize("new_style", [True, False])
async def test_who_comes_before_the_commit_is_told(
    world: World, new_style: bool
) -> None:
    """A list that is too early for a job is made up for by its events."""
    async with (
        world.admin(watch=False) as watcher,
        world.admin(watch=False, new_style=new_style) as starter,
    ):
        with blocked_commits(world):
            await starter.send("t.hold", ["g"])
            await starter.call("core.ping")  # the job is accepted, and not committed
            await watcher.watch()
            assert await watcher.call("core.get_jobs") == []
        await world.stage["g"].wait_entered()
        (job,) = [item["id"] for item in await watcher.call("core.get_jobs")]
        assert [event["msg"] for event in watcher.events(job)] == ["added", "changed"]
        world.stage.open("g")
        assert (await watcher.final(job))["result"] == "g"


async def test_every_event_has_the_whole_item(admin: Wire) -> None:
    """Each event carries all keys of the wire, in its order, and no others."""
    job = (await admin.run("t.echo", 1))["id"]
    for event in admin.events(job):
        assert list(event) == ["msg", "collection", "id", "fields"]
        assert list(event["fields"]) == KEYS
        assert event["id"] == event["fields"]["id"] == job
        assert event["fields"]["method"] == "t.echo"
        assert event["fields"]["arguments"] == [1]


async def test_times_are_told_when_known(admin: Wire) -> None:
    """Start and end are null until they happen, then dates in their order."""
    job = (await admin.run("t.echo"))["id"]
    waiting, running, final = (e["fields"] for e in admin.events(job))
    assert waiting["time_started"] is None
    assert waiting["time_finished"] is running["time_finished"] is None
    assert running["time_started"] == final["time_started"]
    assert final["time_started"]["$date"] <= final["time_finished"]["$date"]
    record = await admin.call("job.get", job)
    assert record["time_created"]["$date"] <= final["time_started"]["$date"]


async def test_first_event_is_plain(admin: Wire) -> None:
    """A job that waits has the initial progress and nothing of an end."""
    number = await admin.send("t.echo", [])
    job = await admin.started(number)
    assert admin.events(job)[0]["fields"] | {"credentials": 0} == {
        "id": job,
        "message_ids": [number],
        "method": "t.echo",
        "arguments": [],
        "transient": False,
        "description": None,
        "abortable": False,
        "logs_path": None,
        "logs_excerpt": None,
        "progress": {"percent": 0, "description": "", "extra": None},
        "result": None,
        "result_encoding_error": None,
        "error": None,
        "exception": None,
        "exc_info": None,
        "state": "WAITING",
        "time_started": None,
        "time_finished": None,
        "credentials": 0,
    }


async def test_final_event_is_complete(admin: Wire) -> None:
    """The one final event of a success has result, excerpt, 100 % and the end."""
    final = await admin.run("demo.log", 3)
    assert final["state"] == "SUCCESS"
    assert final["result"] == 3
    assert final["progress"]["percent"] == 100
    assert final["logs_excerpt"].count("\n") == 3
    assert final["logs_path"]
    assert final["time_finished"] is not None
    assert [s for s in admin.states(final["id"]) if s in FINAL] == ["SUCCESS"]


async def test_final_event_of_a_failure_is_complete(admin: Wire) -> None:
    """The one final event of a failure has error, traceback and parts."""
    final = await admin.run("demo.fail", "no luck", 13)
    assert final["state"] == "FAILED"
    assert final["error"] == "[EACCES] no luck"
    assert "Traceback" in final["exception"]
    assert "no luck" in final["exception"]
    assert final["exc_info"] == {
        "repr": "CallError('no luck', 13, None)",
        "type": "CallError",
        "errno": 13,
        "extra": None,
    }
    assert final["result"] is None
    assert admin.moves(final["id"]) == ["WAITING", "RUNNING", "FAILED"]


async def test_item_is_the_same_everywhere(admin: Wire) -> None:
    """The final event, the list and the history show one and the same item."""
    final = await admin.run("demo.log", 2)
    assert await admin.call("core.get_jobs", [["id", "=", final["id"]]]) == [final]
    record = await admin.call("job.get", final["id"])
    assert {key: record[key] for key in KEYS} == final
    assert set(record) > set(KEYS)
    assert {"uid", "time_created", "attempt", "owner"} <= set(record)


async def test_two_subscriptions_give_one_copy(admin: Wire) -> None:
    """Subscribing twice to the list delivers each event once."""
    await admin.watch()
    job = (await admin.run("t.echo"))["id"]
    assert len(admin.events(job)) == 3


async def test_unsubscribed_client_hears_nothing(world: World, admin: Wire) -> None:
    """After `core.unsubscribe` there are answers, but no events."""
    async with world.admin(watch=False) as wire:
        ident = await wire.watch()
        assert await wire.call("core.unsubscribe", ident) is None
        assert await wire.call("t.echo", 5) == 5
        assert wire.events() == []


@pytest.mark.parametrize("number", [0, "", 1, "a", -5, 2.5, "\u00fc\u20ac"])
async def test_message_ids_are_kept_as_sent(admin: Wire, number: Any) -> None:
    """A job knows the id of its request, whatever it is."""
    await admin.send("t.echo", ["x"], id=number)
    assert await admin.result(number) == "x"
    items = [event["fields"] for event in admin.events()]
    assert all(
        len(item["message_ids"]) == 1 and same(item["message_ids"][0], number)
        for item in items
    )
    assert len(items) == 3


async def test_notification_starts_a_job(admin: Wire) -> None:
    """A call without an id runs a job that nobody is answered for."""
    text = '{"jsonrpc":"2.0","method":"t.echo","params":["quiet"]}'
    before = len(admin.frames)
    await admin.socket.send(text)
    await admin.wait(lambda f: is_event(f) and f["params"]["fields"]["result"])
    await admin.call("core.ping")
    assert admin.events()[0]["fields"]["message_ids"] == []
    answers = [f for f in admin.frames[before:] if "id" in f]
    assert len(answers) == 1  # of the ping


async def test_batch_of_jobs(admin: Wire) -> None:
    """Jobs in a batch are told of before the batch is answered, each with its id."""
    batch = ",".join(
        f'{{"jsonrpc":"2.0","id":"b{i}","method":"t.echo","params":[{i}]}}'
        for i in range(3)
    )
    await admin.socket.send(f"[{batch}]")
    frame = await admin.wait(lambda f: "batch" in f)
    answers = {answer["id"]: answer["result"] for answer in frame["batch"]}
    assert answers == {"b0": 0, "b1": 1, "b2": 2}
    assert len(admin.events()) == 9


async def test_slot_that_comes_with_the_first_row() -> None:
    """A job whose turn comes while its first row is written is answered once."""
    async with (
        running_world(async_jobs=1) as world,
        world.admin(new_style=False) as wire,
    ):
        first = await wire.call("t.hold", "g")
        await world.stage["g"].wait_entered()
        with blocked_commits(world):
            world.stage.open("g")
            await wire.call("core.ping")  # its end is queued
            number = await wire.send("t.echo", ["next"])
            await wire.call("core.ping")
        await wire.final(first)
        job = await wire.result(number)
        assert (await wire.final(job))["result"] == "next"
        await wire.call("core.ping")
        assert sum(frame.get("id") == number for frame in wire.frames) == 1
        assert [event["msg"] for event in wire.events(job)].count("added") == 1
        assert wire.states(job) == ["WAITING", "RUNNING", "SUCCESS"]


async def test_slow_job_holds_no_call_slot() -> None:
    """Far more jobs than call slots can be waited for, and queries still pass."""
    async with running_world(kernel={"max_calls": 2}) as world, world.admin() as wire:
        numbers = await wire.send_many([("t.hold", ["slot"])] * 30)
        for number in numbers:
            await wire.started(number)
        assert len(await wire.call("core.get_jobs")) == 30
        world.stage.open("slot")
        for number in numbers:
            assert await wire.result(number) == "slot"


async def test_job_outlives_its_connection(world: World, admin: Wire) -> None:
    """A client that goes away leaves its job running, with its credentials."""
    async with world.admin() as other:
        job = await other.start("t.hold", "g")
        await world.stage["g"].wait_entered()
    world.stage.open("g")
    final = await admin.final(job)
    assert (final["state"], final["result"]) == ("SUCCESS", "g")
    assert final["credentials"]["type"] == "UNIX_SOCKET"
    assert set(final["credentials"]["data"]) >= {"username", "login_id", "login_at"}
