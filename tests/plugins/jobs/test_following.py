"""The events of jobs for who was away, and the jobs there are for who comes new."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from jobs_stage import World, running_world
from jobs_wire import JOBS, Wire, WireError, open_wire

from middlewared import Context, Plugin, Secret
from middlewared.database import renew_epoch
from middlewared.events import EventBus
from middlewared_auth import JOB_USER
from middlewared_jobs import Job, job

RECORDS = "job.query"
extra = Plugin("extra", requires=("jobs",))


@extra.method(roles=[JOB_USER])
@job(retries=1, logs=True)
async def shaky(job: Job, fail: bool) -> str:
    """Fail the first time, or always."""
    job.log.info("attempt %d", job.attempt)
    if fail or job.attempt == 1:
        raise RuntimeError(f"attempt {job.attempt}")
    return "done"


@extra.method(roles=[JOB_USER])
@job
async def keeper(job: Job, secret: Secret[str]) -> Secret[str]:
    """Return the secret."""
    return secret


@extra.method(roles=[JOB_USER])
@job
async def slowly(job: Job, steps: int, name: str) -> int:
    """Make progress, and wait at the end for a gate of the test."""
    for step in range(steps):
        job.set_progress(step + 1, f"step {step + 1}")
        await anyio.sleep(0.01)
    if name in held:
        await held[name].wait()
    return steps


held: dict[str, anyio.Event] = {}


@extra.method(roles=[JOB_USER])
async def note(ctx: Context) -> None:
    """Do nothing, and be no job."""


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with running_world(extra, progress_interval=0.05) as running:
        yield running


def place(answer: dict[str, Any]) -> dict[str, Any]:
    """Say where a subscription began."""
    return {"epoch": answer["epoch"], "seq": answer["seq"]}


def kept(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what has no number, and the tag."""
    return [
        {key: value for key, value in event.items() if key != "tag"}
        for event in events
        if "seq" in event
    ]


async def lead_lives(world: World, wire: Wire, name: str) -> list[int]:
    """Run jobs that come to all kinds of ends; needs `watch`."""
    stage, (a, b, c) = world.stage, (f"{name} {letter}" for letter in "abc")
    jobs = [await wire.start("t.echo", "x" * 5), await wire.start("extra.shaky", False)]
    jobs += [await wire.start("extra.shaky", True)]
    jobs += [await wire.start("extra.keeper", "hush"), await wire.start("t.hold", a)]
    await stage[a].wait_entered()
    await wire.call("core.job_abort", jobs[-1])
    first = await wire.start("t.shared", b)
    await stage[b].wait_entered()
    waits = await wire.send("t.shared", [c])
    jobs += [first, await wire.started(waits)]
    joins = await wire.send("t.shared", [c])
    assert await wire.started(joins) == jobs[-1]
    jobs += [await wire.start("extra.slowly", 20, "free")]
    stage.open(b, c)
    for number in jobs:
        await wire.final(number)
    return jobs


# Replay.


@pytest.mark.parametrize("name", [JOBS, RECORDS])
async def test_replay_is_what_a_live_subscriber_got(world: World, name: str) -> None:
    """Event by event, byte for byte: from memory, and from the disk."""
    async with (
        world.admin() as caller,
        world.admin(watch=False) as wire,
        world.admin(watch=False) as other,
    ):
        before = await wire.follow("live", name, since=None, removed=True)
        jobs = await lead_lives(world, caller, name)
        memory = await other.follow("m", name, since=place(before), removed=True)
        live = kept(wire.tagged("live"))
        assert kept(other.tagged("m")) == live
        numbers = [event["seq"] for event in live]
        assert numbers == list(range(before["seq"] + 1, memory["seq"] + 1))
        world.server.app.services.get(EventBus).forget(name)
        await other.follow("d", name, since=place(before), removed=True)
        assert kept(other.tagged("d")) == live
        await caller.call("job.delete", jobs[0])
        await wire.until_tagged("live", lambda event: event["msg"] == "removed")
        answer = await other.follow("r", name, since=place(before), removed=True)
        assert answer["recovered"] is True
        left = [event for event in live if event["id"] != jobs[0]]
        *same, gone = kept(other.tagged("r"))
        assert same == left
        assert (gone["msg"], gone["id"]) == ("removed", jobs[0])


async def test_secrets_are_not_replayed(world: World) -> None:
    """The caller's session saw it; nobody else ever does, nor it once more."""
    async with world.admin() as wire:
        before = await wire.follow("live", since=None)
        final = await wire.run("extra.keeper", "hush")
        assert final["result"] == "hush"
        assert final["arguments"] == ["********"]
        (event,) = [e for e in wire.tagged("live") if e["fields"]["state"] == "SUCCESS"]
        assert event["fields"]["result"] == "hush"
        await wire.follow("again", since=place(before))
        assert "hush" not in str(wire.tagged("again"))
        assert wire.tagged("again")[-1]["fields"]["result"] == "********"


async def test_job_accepted_before_the_subscription_is_told_after_it(
    world: World,
) -> None:
    """Its move is committed later, so it is news: nothing falls between the two."""
    async with world.admin(watch=False) as wire:
        since = {"since": None, "tag": "t"}
        for _ in range(20):
            call, subscribe = await wire.send_many(
                [("t.echo", [1]), ("core.subscribe", [JOBS, since])]
            )
            answer = await wire.result(subscribe)
            await wire.result(call)

            def ended(event: dict[str, Any], call: Any = call) -> bool:
                fields = event["fields"]
                return call in fields["message_ids"] and fields["state"] == "SUCCESS"

            await wire.until_tagged("t", ended)
            mine = [e for e in wire.tagged("t") if call in e["fields"]["message_ids"]]
            numbers = [event["seq"] for event in mine]
            first = min(answer["seq"] + 1, numbers[0])
            assert numbers[-1] - first <= 2
            assert len(numbers) >= numbers[-1] - answer["seq"]
            await wire.call("core.unsubscribe", answer["id"])


async def test_progress_of_the_time_away_comes_last(world: World) -> None:
    """As it is now: one item, though there were many values."""
    held["p"] = anyio.Event()
    async with world.admin() as wire, world.admin(watch=False) as other:
        before = await other.follow("b", since=None)
        number = await wire.start("extra.slowly", 30, "p")
        await wire._until(
            lambda: (
                True
                if any(
                    e["fields"]["progress"]["percent"] == 30
                    for e in wire.events(number)
                )
                else None
            )
        )
        await other.follow("again", since=place(before))
        events = [e for e in other.tagged("again") if e["id"] == number]
        shown = [
            (e["fields"]["state"], e["fields"]["progress"]["percent"]) for e in events
        ]
        assert shown == [("WAITING", 0), ("RUNNING", 0), ("RUNNING", 30)]
        assert [e.get("snapshot") for e in events] == [None, None, True]
        held["p"].set()
        await other.until_tagged(
            "again",
            lambda e: e["id"] == number and e["fields"]["state"] == "SUCCESS",
        )


# Snapshot.


@pytest.mark.parametrize("name", [JOBS, RECORDS])
async def test_snapshot_shows_what_a_query_shows(world: World, name: str) -> None:
    """Jobs that have ended, then those that have not; with filters and a select."""
    async with world.admin() as wire:
        await wire.run("t.echo", "old")
        gate = f"snapshot of {name}"
        number = await wire.start("t.hold", gate)
        await world.stage[gate].wait_entered()
        answer = await wire.follow("s", name, snapshot=True)
        assert answer["recovered"] is True
        found = [event["fields"] for event in wire.tagged("s")]
        assert found == await wire.call(name)
        assert found[-1]["id"] == number
        assert all(event["msg"] == "added" for event in wire.tagged("s"))
        assert all("seq" not in event for event in wire.tagged("s"))
        echoes = [["method", "=", "t.echo"], ["arguments.0", "=", "old"]]
        await wire.follow(
            "f", name, snapshot=True, filters=echoes, select=["id", "method"]
        )
        wanted = await wire.call(name, echoes, {"select": ["id", "method"]})
        assert [event["fields"] for event in wire.tagged("f")] == wanted
        world.stage[gate].open()


async def test_snapshot_meets_a_busy_server(world: World) -> None:
    """Jobs that come, run and end meanwhile: each is known, and known to have ended."""
    async with world.admin() as busy, world.admin(watch=False) as wire:
        stop = asyncio.Event()
        started: list[int] = []

        async def keep_busy() -> None:
            while not stop.is_set():
                started.append(await busy.start("t.echo", "busy"))

        async with anyio.create_task_group() as group:
            group.start_soon(keep_busy)
            for round_ in range(10):
                await wire.follow(f"s{round_}", snapshot=True)
            stop.set()
        for number in started:
            await busy.final(number)
        for round_ in range(10):
            tag = f"s{round_}"
            await wire.until_tagged(
                tag,
                lambda e: e["id"] == started[-1] and e["fields"]["state"] == "SUCCESS",
            )
            last: dict[int, str] = {}
            order: dict[int, list[str]] = {}
            for event in wire.tagged(tag):
                last[event["id"]] = event["fields"]["state"]
                order.setdefault(event["id"], []).append(event["fields"]["state"])
            assert {last[number] for number in started} == {"SUCCESS"}
            life = ["WAITING", "RUNNING", "SUCCESS"]
            for states in order.values():
                places = [life.index(state) for state in states if state in life]
                assert places == sorted(places)


# Whose jobs.


async def test_own_jobs_only(world: World) -> None:
    """In replay, snapshot and live; what a login may see now, not then."""
    await world.add_user("ann")
    await world.add_user("bob")
    async with world.user("ann") as ann, world.user("bob") as bob:
        before = await bob.follow("live", since=None, removed=True)
        mine = await ann.run("t.echo", "ann's")
        yours = await bob.run("t.echo", "bob's")
        for tag, options in (
            ("replay", {"since": place(before)}),
            ("snapshot", {"snapshot": True}),
            ("records", {"name": RECORDS, "since": place(before)}),
        ):
            await ann.follow(tag, **options)
            await bob.follow(tag, **options)
            assert mine["id"] in {e["id"] for e in ann.tagged(tag)}
            assert yours["id"] not in {e["id"] for e in ann.tagged(tag)}
            assert mine["id"] not in {e["id"] for e in bob.tagged(tag)}
        assert mine["id"] not in {e["id"] for e in bob.tagged("live")}
        async with world.admin(watch=False) as admin:
            await admin.call("job.delete", mine["id"])
            await admin.call("job.delete", yours["id"])
            await admin.follow("all", since=place(before), removed=True)
        await bob.until_tagged("live", lambda e: e["msg"] == "removed")
        gone = [e["id"] for e in bob.tagged("live") if e["msg"] == "removed"]
        assert gone == [yours["id"]]
        await bob.follow("late", since=place(before), removed=True)
        assert [e["id"] for e in bob.tagged("late")] == [yours["id"]]
        # Events of ann's deleted job are no loss of bob's, those of his own are.
        since = {"epoch": before["epoch"], "seq": before["seq"] + 3}
        assert (await bob.follow("x", since=since))["recovered"] is False
        assert (await bob.follow("y", since=place(before)))["recovered"] is False


async def test_login_that_changes_on_the_way(world: World) -> None:
    """What a subscription sends follows the login of its connection."""
    await world.add_user("cat")
    async with world.admin() as admin, world.user("cat") as cat:
        await cat.follow("c", since=None)
        first = await admin.run("t.echo", 1)
        key = await world.server.context.call(
            "user.create",
            {"username": "boss", "password": "pw", "roles": ["FULL_ADMIN"]},
        )
        assert key
        assert await cat.call("auth.login", "boss", "pw")
        second = await admin.run("t.echo", 2)
        await cat.until_tagged("c", lambda e: e["id"] == second["id"])
        assert first["id"] not in {e["id"] for e in cat.tagged("c")}


# Jobs that go.


async def test_removed_is_told_to_who_wants_it(world: World) -> None:
    """On ``job.query`` to all, on ``core.get_jobs`` to those who asked."""
    async with world.admin() as wire, world.admin(watch=False) as records:
        await records.call("core.subscribe", RECORDS)
        await wire.follow("asking", removed=True)
        await wire.follow("other", since=None)
        number = (await wire.run("t.echo", 1))["id"]
        await wire.call("job.delete", number)
        await wire.until_tagged("asking", lambda e: e["msg"] == "removed")
        told = [e["msg"] for e in wire.tagged("other") if e["id"] == number]
        assert told == ["added", "changed", "changed"]
        plain = await records.wait(
            lambda f: f.get("params", {}).get("msg") == "removed"
        )
        assert plain["params"] == {
            "msg": "removed",
            "collection": RECORDS,
            "id": number,
        }


async def test_transient_job_leaves_the_list() -> None:
    """It is told like any other while it lasts, without numbers, and then removed."""
    async with (
        running_world(transient_ttl=0.3) as world,
        world.admin() as wire,
        world.admin(watch=False) as late,
    ):
        before = await late.follow("b", since=None)
        await wire.follow("w", removed=True)
        number = await wire.start("t.fleeting", "f")
        await world.stage["f"].wait_entered()
        await late.follow("s", snapshot=True)
        assert [e["fields"]["state"] for e in late.tagged("s")] == ["RUNNING"]
        world.stage["f"].open()
        await wire.final(number)
        await late.follow("after", since=place(before))
        assert [e["fields"]["state"] for e in late.tagged("after")] == ["SUCCESS"]
        gone = await wire.until_tagged("w", lambda e: e["msg"] == "removed")
        assert gone == {"msg": "removed", "collection": JOBS, "id": number, "tag": "w"}
        assert all("seq" not in event for event in wire.tagged("w"))


async def test_waiting_filter_tells_when_a_job_runs(world: World) -> None:
    """A list of running jobs stays true: who stops to match is removed."""
    async with world.admin() as wire:
        running = [["state", "=", "RUNNING"], ["method", "=", "t.hold"]]
        await wire.follow("r", RECORDS, filters=running, snapshot=True)
        number = await wire.start("t.hold", "leaves")
        await world.stage["leaves"].wait_entered()
        world.stage["leaves"].open()
        await wire.final(number)
        await wire.until_tagged("r", lambda e: e["msg"] == "removed")
        told = [e["msg"] for e in wire.tagged("r") if e["id"] == number]
        assert told == ["changed", "removed"]


# Rates.


async def test_rate_limits_progress_and_keeps_the_last(world: World) -> None:
    """Two a second at most about one job; every move comes, and the end."""
    held["r"] = anyio.Event()
    async with world.admin() as wire:
        await wire.follow("rate", max_rate=2)
        number = await wire.start("extra.slowly", 40, "r")
        await wire.until_tagged(
            "rate",
            lambda e: e["id"] == number and e["fields"]["progress"]["percent"] == 40,
        )
        held["r"].set()
        await wire.until_tagged(
            "rate",
            lambda e: e["id"] == number and e["fields"]["state"] == "SUCCESS",
        )
        mine = [e["fields"] for e in wire.tagged("rate") if e["id"] == number]
        states = [fields["state"] for fields in mine]
        assert states[:2] == ["WAITING", "RUNNING"]
        assert states.count("SUCCESS") == 1
        fast = [e for e in wire.events(number) if e["fields"]["state"] == "RUNNING"]
        assert states.count("RUNNING") < len(fast) / 2


# What is kept.


async def test_what_is_too_old_is_told(tmp_path: Path) -> None:
    """Also after a restart, where numbers go on."""
    async with (
        running_world(data_dir=tmp_path, kept_events=6) as world,
        world.admin() as wire,
    ):
        before = await wire.follow("b", since=None)
        for number in range(4):
            await wire.run("t.echo", number)
        seq = wire.tagged("b")[-1]["seq"]
        recent = {"epoch": before["epoch"], "seq": seq - 2}
        sql = "SELECT ? - (SELECT first FROM job_event_packs ORDER BY last LIMIT 1)"
        with anyio.fail_after(20):
            while (await world.server.context.database.read(sql, [seq]))[0][0] >= 7:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.02)
    async with (
        running_world(data_dir=tmp_path, kept_events=6) as world,
        world.admin(watch=False) as wire,
    ):
        assert (await wire.follow("old", since=place(before)))["recovered"] is False
        answer = await wire.follow("new", since=recent)
        assert (answer["recovered"], answer["seq"]) == (True, seq)
        assert [e["seq"] for e in wire.tagged("new")] == [seq - 1, seq]
        await wire.call("t.echo", "more")
        await wire.until_tagged("new", lambda e: e["seq"] == seq + 3)


async def test_restored_backup_is_another_past(tmp_path: Path) -> None:
    """Positions of before the restore are good no longer, whatever their number."""
    async with running_world(data_dir=tmp_path) as world, world.admin() as wire:
        await wire.run("t.echo", 1)
        before = await wire.follow("b", since=None)
    renewed = renew_epoch(tmp_path / "middlewared.db")
    async with running_world(data_dir=tmp_path) as world, world.admin() as wire:
        answer = await wire.follow("a", since=place(before))
        assert (answer["recovered"], answer["epoch"]) == (False, renewed)


async def test_wrong_filters_are_refused(world: World) -> None:
    """With the error of a query."""
    async with world.admin() as wire:
        with pytest.raises(WireError, match="unknown operator"):
            await wire.follow("x", filters=[["id", "?", 1]])


async def test_requests_go_on_behind_a_subscription(world: World) -> None:
    """The answer to a subscription that takes its time holds nobody up."""
    async with open_wire(world.server.socket_path) as wire:
        numbers = await wire.send_many(
            [("core.subscribe", [JOBS, {"snapshot": True}]), ("core.ping", [])]
        )
        assert await wire.result(numbers[1]) == "pong"
        assert (await wire.result(numbers[0]))["recovered"] is True
