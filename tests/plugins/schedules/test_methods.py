"""The methods of schedules: what they take, refuse, show, and to whom."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jobs_stage import USERS
from jobs_wire import Wire
from schedules_stage import DAY, MIDNIGHT, MINUTE, ScheduleWorld, schedule_world

from middlewared import CallError, Plugin, Secret, ValidationErrors
from middlewared.errors import MiddlewareError
from middlewared.testing import ManualClock, running_server
from middlewared_jobs import Job, job

PASSWORD = "correct-horse-battery-staple"
STARS = "********"


def secret_plugin() -> Plugin:
    """Declare jobs with secrets and roles."""
    plugin = Plugin("s", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(logs=True)
    async def login(job: Job, user: str, password: Secret[str]) -> int:
        """Take a secret and tell its length."""
        job.log.info("%s says %s", user, password.get())
        return len(password.get())

    @plugin.method(roles=["POOL_WRITE"])
    @job(read_roles=["POOL_READ"])
    async def scrub(job: Job, pool: str = "tank") -> list[str]:
        """Tell which roles it has."""
        who = job.context.credentials
        return sorted(who.roles) if who else []

    @plugin.method
    @job(pipes=["input"])
    async def upload(job: Job) -> None:
        """Take an upload."""

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[ScheduleWorld]:
    """Run a server at midnight."""
    async with schedule_world(secret_plugin(), max_schedules=5) as found:
        yield found


def wrong(caught: pytest.ExceptionInfo[ValidationErrors]) -> dict[str, str]:
    """Give what is wrong with which value."""
    return {str(e.attribute): e.text for e in caught.value.errors}


GOOD: dict[str, Any] = {"name": "a", "method": "t.echo", "interval": 60}


@pytest.mark.parametrize(
    ("data", "attribute", "part"),
    [
        ({"name": ""}, "data.name", "expected one line of 1 to 100 characters"),
        ({"name": "x" * 101}, "data.name", "expected one line"),
        ({"name": "a\nb"}, "data.name", "expected one line"),
        ({"name": " a"}, "data.name", "expected one line"),
        ({"name": "17"}, "data.name", "could be taken for an id"),
        ({"method": "t.nothing"}, "data.method", "'t.nothing' does not exist"),
        ({"method": "core.ping"}, "data.method", "core.ping is no job method"),
        ({"method": "s.upload"}, "data.method", "needs an upload or a download"),
        ({"params": [1, 2]}, "data.params", "Too many arguments"),
        ({"params": {"x": 1}}, "data.params.x", "Unknown parameter"),
        ({"interval": 0}, "data.interval", "Expected `int` >= 1"),
        ({"interval": None}, "data.cron", "a cron expression or an interval"),
        ({"cron": "@daily"}, "data.cron", "a cron expression or an interval"),
        ({"timezone": "UTC"}, "data.timezone", "an interval has no time zone"),
        (
            {"interval": None, "cron": "61 * * * *"},
            "data.cron",
            "is '61 * * * *': bad minute",
        ),
        (
            {"interval": None, "cron": "@daily", "timezone": "Mars"},
            "data.timezone",
            "there is no time zone 'Mars'",
        ),
        ({"end": {"$date": MIDNIGHT}}, "data.end", "there is no time left"),
        ({"start": {"$date": -1}}, "data.start", "is -1, expected milliseconds"),
        ({"end": {"$date": 10**17}}, "data.end", "expected milliseconds"),
        (
            {"interval": None, "cron": "* * */20 * 1L"},
            "data.cron",
            "there is no time left",
        ),
        ({"jitter": -1}, "data.jitter", "Expected `float` >= 0"),
        ({"missed": "never"}, "data.missed", "Invalid enum value 'never'"),
        ({"options": {"key": "k"}}, "data.options", "unknown field `key`"),
        ({"options": {"priority": 5000}}, "data.options.priority", "<= 1000"),
        ({"nothing": 1}, "data", "unknown field `nothing`"),
    ],
)
async def test_bad_schedules(
    refusing: ScheduleWorld, data: dict[str, Any], attribute: str, part: str
) -> None:
    """One clear sentence about the value, and nothing is made; also in an update."""
    with pytest.raises(ValidationErrors) as caught:
        await refusing.call("schedule.create", GOOD | data)
    assert part in wrong(caught)[attribute]
    assert await refusing.call("schedule.query") == []


@pytest.fixture(scope="module")
async def refusing() -> AsyncIterator[ScheduleWorld]:
    """Run a server that no test changes."""
    async with schedule_world(secret_plugin()) as found:
        yield found


async def test_schedule_as_it_is_shown(world: ScheduleWorld) -> None:
    """What was said comes back, with defaults, the zone and the next time."""
    shown = await world.call(
        "schedule.create",
        {
            "name": "nightly",
            "method": "t.shared",
            "params": {"depth": 5, "name": "x"},
            "options": {"timeout": 60},
            "cron": " 0 2\t* * *\n",
            "end": {"$date": MIDNIGHT + 10 * DAY * 1000},
        },
    )
    expected = {
        "arguments": ["x", 5],
        "cron": "0 2 * * *",
        "timezone": "UTC",
        "when": "At 02:00 every day, UTC",
        "missed": "once",
    }
    assert shown == shown | expected
    assert shown["options"]["timeout"] == 60
    assert shown["next_run"] == {"$date": MIDNIGHT + 2 * 3600 * 1000}
    assert (shown["enabled"], shown["overlap"], shown["last_job"]) == (
        True,
        False,
        None,
    )
    assert await world.call("schedule.get", shown["id"]) == shown
    assert await world.call("schedule.query") == [shown]


async def test_update(world: ScheduleWorld) -> None:
    """What is given changes, the rest stays; other times are due from now on."""
    number = await world.create(params=["x"])
    world.clock.advance(30)

    async def update(**data: Any) -> dict[str, Any]:
        changed: dict[str, Any] = await world.call("schedule.update", number, data)
        return changed

    shown = await update(name="b", options={"priority": 3})
    assert (shown["name"], shown["arguments"]) == ("b", ["x"])
    assert shown["next_run"] == {"$date": MIDNIGHT + 60_000}
    assert shown["modified"] == {"$date": MIDNIGHT + 30_000}
    shown = await update(interval=20)
    assert shown["next_run"] == {"$date": MIDNIGHT + 40_000}
    shown = await update(cron="@hourly", timezone="Europe/Berlin")
    assert (shown["interval"], shown["timezone"]) == (None, "Europe/Berlin")
    shown = await update(cron="@daily")
    assert shown["timezone"] == "Europe/Berlin"
    shown = await update(interval=20)
    assert (shown["cron"], shown["timezone"]) == (None, None)
    shown = await update(cron="@daily")
    assert shown["timezone"] == "UTC"
    shown = await update(enabled=False)
    assert shown["next_run"] is None
    shown = await update(start={"$date": MIDNIGHT + 7}, interval=60)
    assert shown["next_run"] is None
    shown = await update(enabled=True, start=None)
    assert shown["next_run"] == {"$date": MIDNIGHT + 60_000}
    shown = await update(method="t.hold", params=["y"])
    assert (shown["method"], shown["arguments"]) == ("t.hold", ["y"])
    with pytest.raises(ValidationErrors) as caught:
        await update(method="t.locked")
    assert wrong(caught) == {"data.params.name": "Field required"}
    with pytest.raises(ValidationErrors) as caught:
        await update(cron="@daily", interval=5)
    assert "data.interval" in wrong(caught)
    with pytest.raises(ValidationErrors) as caught:
        await update(timezone="UTC")
    assert wrong(caught) == {"data.timezone": "an interval has no time zone"}
    with pytest.raises(ValidationErrors) as caught:
        await update(name="")
    assert await world.call("schedule.get", number) == shown


async def test_names_and_numbers(world: ScheduleWorld) -> None:
    """A name is taken once per owner, also by a change; there is a limit."""
    first, second = await world.create("a"), await world.create("b")
    for call in (
        ("schedule.create", GOOD),
        ("schedule.update", second, {"name": "a"}),
    ):
        with pytest.raises(ValidationErrors) as caught:
            await world.call(*call)
        assert wrong(caught) == {"data.name": "there is a schedule 'a' already"}
    await world.call("schedule.update", first, {"name": "c"})
    await world.create("a")
    await world.call("schedule.delete", first)
    for name in "cde":
        await world.create(name)
    with pytest.raises(CallError, match="There are 5 schedules already"):
        await world.create("f")
    for method in ("schedule.get", "schedule.delete", "schedule.run"):
        with pytest.raises(CallError, match="Schedule with id 99 does not exist"):
            await world.call(method, 99)
    with pytest.raises(CallError, match="Schedule with id 99 does not exist"):
        await world.call("schedule.update", 99, {})


async def test_queries(world: ScheduleWorld) -> None:
    """Filters and options are those of every query."""
    await world.create("a", cron="@daily")
    await world.create("b", enabled=False)
    names = {"select": ["name"], "order_by": ["-name"]}
    query = world.server.context
    assert await query.call("schedule.query", [], names) == [
        {"name": "b"},
        {"name": "a"},
    ]
    enabled = [["enabled", "=", True]]
    assert await query.call("schedule.query", enabled, {"count": True}) == 1


# Whose they are.


async def test_own_schedules_only(world: ScheduleWorld) -> None:
    """Others neither see nor change a schedule; a full admin does."""
    await world.add_user("ann")
    await world.add_user("bob")
    async with (
        world.user("ann") as ann,
        world.user("bob") as bob,
        world.admin() as admin,
    ):
        made = await ann.call("schedule.create", GOOD)
        number = made["id"]
        assert made["username"] == "ann"
        assert await bob.call("schedule.query") == []
        for call in (
            ("schedule.get", number),
            ("schedule.update", number, {"enabled": False}),
            ("schedule.run", number),
            ("schedule.delete", number),
        ):
            error = await bob.fail(*call)
            assert "belongs to somebody else" in error.reason
            assert error.errno == 1
        await bob.call("schedule.create", GOOD)  # the name is free for everybody
        assert len(await admin.call("schedule.query")) == 2
        await admin.call("schedule.update", number, {"missed": "all"})
        job_id = await admin.call("schedule.run", number)
        await ann.final(job_id)
        assert bob.events(job_id) == []
        record = await ann.call("job.get", job_id)
        assert record["owner"] == made["owner"]
        assert record["credentials"]["data"]["username"] == "ann"
        await admin.call("schedule.delete", number)


async def test_read_roles_show_schedules(world: ScheduleWorld) -> None:
    """Who may read the jobs of a method sees its schedules, and changes none."""
    await world.add_user("reader", "POOL_READ")
    number = await world.create(method="s.scrub")
    async with world.user("reader") as reader:
        (found,) = await reader.call("schedule.query")
        assert found["id"] == number
        error = await reader.fail("schedule.delete", number)
        assert error.errno == 1


async def test_rights_of_the_caller(world: ScheduleWorld) -> None:
    """Making, changing and running need what calling the method needs."""
    await world.add_user("ann")
    async with world.user("ann") as ann:
        error = await ann.fail("schedule.create", GOOD | {"method": "s.scrub"})
        assert error.errno == 13
        number = (await ann.call("schedule.create", GOOD))["id"]
        error = await ann.fail("schedule.update", number, {"method": "s.scrub"})
        assert error.errno == 13


async def test_owner_who_lost_the_role(world: ScheduleWorld) -> None:
    """The schedule is disabled and says why; nothing runs."""
    account = await world.add_user("ann", "POOL_WRITE", *USERS)
    async with world.user("ann") as ann:
        number = (await ann.call("schedule.create", GOOD | {"method": "s.scrub"}))["id"]
    await world.pass_time(MINUTE)
    await world.idle()
    (found,) = await world.jobs(number)
    assert found["result"] == sorted([*USERS, "POOL_WRITE"])
    await world.call("user.update", account, {"roles": list(USERS)})
    await world.pass_time(MINUTE)
    shown = await world.get(number)
    assert shown["enabled"] is False
    assert shown["last_error"] == "Disabled: 'ann' may not call s.scrub any more"
    assert await world.times(number) == [60]
    with pytest.raises(CallError, match="may not call"):
        await world.call("schedule.run", number)
    await world.call("user.update", account, {"roles": ["POOL_WRITE"]})
    shown = await world.call("schedule.update", number, {"enabled": True})
    assert shown["last_error"] is None
    await world.pass_time(MINUTE)
    await world.idle()
    assert await world.times(number) == [60, 180]


async def test_owner_who_was_removed(world: ScheduleWorld) -> None:
    """The schedule is disabled, keeps the name, and admins may remove it."""
    account = await world.add_user("ann")
    async with world.user("ann") as ann:
        number = (await ann.call("schedule.create", GOOD))["id"]
    await world.call("user.delete", account)
    await world.pass_time(MINUTE)
    shown = await world.get(number)
    assert shown["last_error"] == "Disabled: the account of 'ann' was removed"
    assert (shown["enabled"], shown["username"]) == (False, "ann")
    assert await world.jobs(number) == []
    await world.call("schedule.delete", number)


async def test_owner_who_is_locked(world: ScheduleWorld) -> None:
    """Nothing runs meanwhile, and it goes on when the account does."""
    account = await world.add_user("ann")
    async with world.user("ann") as ann:
        number = (await ann.call("schedule.create", GOOD))["id"]
    await world.call("user.update", account, {"locked": True})
    await world.pass_time(MINUTE)
    shown = await world.get(number)
    assert (shown["enabled"], shown["last_error"]) == (
        True,
        "The account 'ann' is locked",
    )
    await world.call("user.update", account, {"locked": False})
    await world.pass_time(MINUTE)
    await world.idle()
    assert await world.times(number) == [120]


async def test_key_with_fewer_roles(world: ScheduleWorld) -> None:
    """A schedule of a key may no more than the key, and others are not for it."""
    await world.add_user("ann", "POOL_WRITE", *USERS)
    keys = [
        await world.call("api_key.create", {"username": "ann", "name": n, "roles": r})
        for n, r in (("one", ["POOL_WRITE"]), ("two", list(USERS)))
    ]
    async with world.user("ann") as ann, world.user("ann") as other:
        for wire, key in zip((ann, other), keys, strict=True):
            assert await wire.call("auth.login_with_api_key", key["key"])
        number = (await ann.call("schedule.create", GOOD | {"method": "s.scrub"}))["id"]
        error = await other.fail("schedule.update", number, {"missed": "all"})
        assert error.errno == 13
        error = await other.fail("schedule.run", number)
        assert error.errno == 13
    assert await roles_of_next_job(world, number) == ["POOL_WRITE"]
    async with world.user("ann") as ann:
        await ann.call("schedule.update", number, {"missed": "all"})
        assert await roles_of_next_job(world, number) == sorted([*USERS, "POOL_WRITE"])
        # Whoever changes it could have it do anything: the key is its measure again.
        assert await ann.call("auth.login_with_api_key", keys[0]["key"])
        await ann.call("schedule.update", number, {"params": ["dozer"]})
        assert await roles_of_next_job(world, number) == ["POOL_WRITE"]


async def roles_of_next_job(world: ScheduleWorld, number: int) -> list[str]:
    """Let a minute pass and give the roles that the job of it had."""
    await world.pass_time(MINUTE)
    await world.idle()
    roles: list[str] = (await world.jobs(number))[-1]["result"]
    return roles


# Secrets.


async def test_secret_params(tmp_path: Path) -> None:
    """They are sealed on disk, shown nowhere, and the job has them, after a restart."""
    clock = ManualClock(MIDNIGHT)
    plugin = secret_plugin()
    async with (
        schedule_world(plugin, data_dir=tmp_path, clock=clock) as world,
        world.admin() as wire,
    ):
        data = GOOD | {"method": "s.login", "params": ["ann", PASSWORD]}
        shown = await wire.call("schedule.create", data)
        assert shown["arguments"] == ["ann", STARS]
        number = shown["id"]
        shown = await wire.call("schedule.update", number, {"name": "b"})
        assert shown["arguments"] == ["ann", STARS]
        # Another method would show what is kept: it gets none of it.
        error = await wire.fail("schedule.update", number, {"method": "t.hold"})
        assert "Field required" in str(error)
    assert files_with(tmp_path, PASSWORD) == []
    async with schedule_world(plugin, data_dir=tmp_path, clock=clock) as world:
        await world.pass_time(MINUTE)
        await world.idle()
        (found,) = await world.jobs(number)
        assert found["result"] == len(PASSWORD)
        assert found["arguments"] == ["ann", STARS]
    assert files_with(tmp_path, PASSWORD) == []
    (tmp_path / "jobs.key").unlink()
    async with schedule_world(plugin, data_dir=tmp_path, clock=clock) as world:
        await world.pass_time(MINUTE)
        shown = await world.get(number)
        assert "were sealed with another key" in shown["last_error"]


def files_with(folder: Path, text: str) -> list[str]:
    """Name the files below a folder that hold a text."""
    found = [p for p in folder.rglob("*") if p.is_file()]
    return sorted(p.name for p in found if text.encode() in p.read_bytes())


# Events.


async def test_events(world: ScheduleWorld) -> None:
    """What happens is told to who may see it, from an ADDED to a REMOVED."""
    await world.add_user("ann")
    await world.add_user("bob")
    async with world.user("ann") as ann, world.user("bob") as bob:
        for wire in (ann, bob):
            await wire.call("core.subscribe", "schedule.query")
        number = (await ann.call("schedule.create", GOOD))["id"]
        await ann.call("schedule.update", number, {"name": "b"})
        await world.pass_time(MINUTE)
        await world.idle()
        await ann.call("schedule.delete", number)
        await bob.call("core.ping")
    events = told(ann)
    assert [event["msg"] for event in events] == [
        "added",
        "changed",
        "changed",
        "changed",
        "removed",
    ]
    assert [event["id"] for event in events] == [number] * 5
    assert events[1]["fields"]["name"] == "b"
    assert events[3]["fields"]["last_state"] == "SUCCESS"
    assert told(bob) == []


def told(wire: Wire) -> list[dict[str, Any]]:
    """Give the events of schedules that came."""
    found = (frame.get("params", {}) for frame in wire.frames)
    return [e for e in found if e.get("collection") == "schedule.query"]


async def test_snapshot(world: ScheduleWorld) -> None:
    """A subscription may begin with the schedules as they are."""
    await world.create("a")
    number = await world.create("b")
    async with world.admin() as wire:
        options = {"snapshot": True, "filters": [["name", "=", "b"]]}
        await wire.call("core.subscribe", "schedule.query", options)
    (event,) = told(wire)
    assert (event["id"], event["msg"], event["snapshot"]) == (number, "added", True)


# Settings.


async def test_default_zone() -> None:
    """An expression without a zone means the one of the settings when it is made."""
    async with schedule_world(timezone="Europe/Berlin") as world:
        shown = await world.get(await world.create(cron="0 2 * * *"))
        assert shown["timezone"] == "Europe/Berlin"
        assert shown["next_run"] == {"$date": MIDNIGHT + 3600 * 1000}


async def test_unknown_default_zone() -> None:
    """A server whose zone is none does not start, and says why."""
    with pytest.raises(MiddlewareError, match="no time zone 'Mars'"):
        async with running_server(tables={"schedules": {"timezone": "Mars"}}):
            pass


async def test_zone_that_is_gone(tmp_path: Path) -> None:
    """A schedule whose zone is not known any more says so, and can be changed."""
    clock = ManualClock(MIDNIGHT)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        number = await world.create(cron="0 2 * * *")
        sql = "UPDATE schedules SET timezone = 'Mars/Olympus'"
        await world.server.context.database.execute((sql, ()))
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        await world.pass_time(DAY)
        shown = await world.get(number)
        assert (shown["next_run"], shown["when"]) == (None, "")
        assert shown["last_error"] == (
            "there is no time zone 'Mars/Olympus', expected a name such as "
            "Europe/Berlin"
        )
        await world.call("schedule.update", number, {"timezone": "UTC"})
        await world.pass_time(DAY)
        await world.idle()
        assert len(await world.times(number)) == 1
        assert (await world.get(number))["last_error"] is None
