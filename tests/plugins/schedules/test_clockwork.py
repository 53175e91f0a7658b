"""Jobs that start by themselves: what is due, missed, refused, and set back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jobs_stage import USERS, Stage
from schedules_stage import (
    DAY,
    HOUR,
    MIDNIGHT,
    MINUTE,
    ScheduleWorld,
    schedule_world,
)

from middlewared import CallError, Plugin
from middlewared.testing import ManualClock
from middlewared_jobs import Job, job
from middlewared_schedules.rows import update_row


@pytest.fixture
async def world() -> AsyncIterator[ScheduleWorld]:
    """Run a server at midnight."""
    async with schedule_world() as found:
        yield found


async def test_job_of_a_time(world: ScheduleWorld) -> None:
    """A job starts when it is due, belongs to the schedule, and is told of there."""
    number = await world.create(params=["hello"], options={"priority": 7})
    assert (await world.get(number))["next_run"] == {"$date": MIDNIGHT + 60_000}
    await world.pass_time(59.999)
    assert await world.jobs(number) == []
    await world.pass_time(0.001)
    await world.idle()
    (found,) = await world.jobs(number)
    assert found["schedule"] == number
    assert found["key"] == f"schedule:{number}:2026-11-26T00:01:00Z"
    assert found["result"] == "hello"
    assert found["priority"] == 7
    assert found["credentials"]["type"] == "SCHEDULE"
    shown = await world.get(number)
    assert shown["last_run"] == {"$date": MIDNIGHT + 60_000}
    assert shown["next_run"] == {"$date": MIDNIGHT + 120_000}
    assert (shown["last_job"], shown["last_state"]) == (found["id"], "SUCCESS")
    assert shown["last_error"] is None


async def test_cron_in_a_zone(world: ScheduleWorld) -> None:
    """An expression means the clock of its zone."""
    number = await world.create(cron="30 2 * * *", timezone="Europe/Berlin")
    await world.pass_time(DAY)
    await world.idle()
    assert await world.times(number) == [HOUR + 30 * MINUTE]
    assert (await world.get(number))["when"] == "At 02:30 every day, Europe/Berlin"


async def test_bounds(world: ScheduleWorld) -> None:
    """No time before the start counts, and none after the end."""
    bounds: dict[str, Any] = {
        "start": {"$date": MIDNIGHT + 90_000},
        "end": {"$date": MIDNIGHT + 210_000},
    }
    number = await world.create(missed="all", **bounds)
    await world.pass_time(HOUR)
    await world.idle()
    assert await world.times(number) == [90, 150, 210]
    assert (await world.get(number))["next_run"] is None


async def test_jitter_puts_all_times_off_alike(world: ScheduleWorld) -> None:
    """A schedule has one delay, below its jitter, and keeps it."""
    number = await world.create(jitter=30, missed="all")
    await world.pass_time(3 * MINUTE + 30)
    await world.idle()
    first, second, third = await world.times(number)
    assert second - first == third - second == MINUTE
    assert MINUTE <= first <= MINUTE + 30


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", []), ("once", [300]), ("all", [120, 180, 240, 300])],
)
async def test_missed_while_the_server_was_away(
    missed: str, expected: list[int], tmp_path: Path
) -> None:
    """What was missed is passed over, run once, or run each, after a restart."""
    clock = ManualClock(MIDNIGHT)
    async with schedule_world(data_dir=tmp_path, clock=clock, grace=5) as world:
        number = await world.create(missed=missed)
        await world.pass_time(MINUTE)
        await world.idle()
    clock.advance(4 * MINUTE + 10)
    async with schedule_world(data_dir=tmp_path, clock=clock, grace=5) as world:
        await world.idle()
        assert await world.times(number) == [60, *expected]
        shown = await world.get(number)
        assert shown["next_run"] == {"$date": MIDNIGHT + 360_000}
        passed = {"skip": 300, "once": 240, "all": None}[missed]
        date = passed and {"$date": MIDNIGHT + passed * 1000}
        assert shown["last_skipped"] == date


async def test_many_missed_times_have_a_bound(world: ScheduleWorld) -> None:
    """Of a year of missed minutes only the newest are made up for."""
    number = await world.create(missed="all", interval=60)
    await world.pass_time(365 * DAY)
    await world.idle()
    times = await world.times(number)
    assert len(times) == 100
    assert times[-1] == 365 * DAY
    shown = await world.get(number)
    passed = (365 * DAY - 100 * MINUTE) * 1000
    assert shown["last_skipped"] == {"$date": MIDNIGHT + passed}


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", [60, 300]), ("once", [60, 240]), ("all", [60, 120, 180, 240])],
)
async def test_one_at_a_time(
    world: ScheduleWorld, missed: str, expected: list[int]
) -> None:
    """While a job has not ended no other starts; what comes meanwhile is missed."""
    number = await world.create(method="t.hold", params=["x"], missed=missed)
    await world.pass_time(MINUTE)
    await world.stage["x"].wait_entered()
    for _ in range(3):
        await world.pass_time(MINUTE)
    assert await world.times(number) == [60]
    world.stage.open("x")
    await world.idle()
    if missed == "skip":
        await world.pass_time(MINUTE)
        await world.idle()
    assert await world.times(number) == expected


async def test_overlap(world: ScheduleWorld) -> None:
    """With overlap each time has its job, whatever became of the one before."""
    number = await world.create(method="t.hold", params=["x"], overlap=True)
    for _ in range(3):
        await world.pass_time(MINUTE)
    assert await world.times(number) == [60, 120, 180]
    states = {found["state"] for found in await world.jobs(number)}
    assert states == {"RUNNING"}
    await world.call("schedule.update", number, {"overlap": False})
    await world.pass_time(MINUTE)
    assert len(await world.jobs(number)) == 3


async def test_waiting_job_counts_as_running(world: ScheduleWorld) -> None:
    """A job that waits for its lock has not ended either, also over a restart."""
    number = await world.create(method="t.locked", params=["b"])
    async with world.admin() as wire:
        await wire.start("t.locked", "a")
        await world.stage["a"].wait_entered()
        for _ in range(3):
            await world.pass_time(MINUTE)
        assert await world.times(number) == [60]
        world.stage.open()
        world.stage["b"].open()
        await world.idle()
    assert await world.times(number) == [60, 180]


async def test_restart_waits_for_jobs_of_before(tmp_path: Path) -> None:
    """A job that waited over a restart still counts, and its end is noted."""
    clock = ManualClock(MIDNIGHT)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        number = await world.create()
        await world.call("job.submit", "t.locked", ["a"])
        await world.stage["a"].wait_entered()
        await world.call(
            "schedule.update", number, {"method": "t.locked", "params": ["b"]}
        )
        await world.pass_time(MINUTE)
        assert await world.times(number) == [60]
    clock.advance(MINUTE)
    stage = Stage()
    async with schedule_world(data_dir=tmp_path, clock=clock, stage=stage) as world:
        await stage["b"].wait_entered()
        await world.settle()
        assert await world.times(number) == [60]
        assert (await world.get(number))["last_state"] is None
        stage.open("b")
        await world.idle()
        assert await world.times(number) == [60, 120]
        await world.idle()
        assert (await world.get(number))["last_state"] == "SUCCESS"


async def test_run_now(world: ScheduleWorld) -> None:
    """A further job starts at once, and nothing else changes; not two at once."""
    number = await world.create(method="t.hold", params=["x"], enabled=False)
    job_id = await world.call("schedule.run", number)
    await world.stage["x"].wait_entered()
    (found,) = await world.jobs(number)
    assert (found["id"], found["key"]) == (job_id, None)
    with pytest.raises(CallError, match=f"Job {job_id} of schedule 's' has not ended"):
        await world.call("schedule.run", number)
    world.stage.open()
    await world.idle()
    shown = await world.get(number)
    assert shown["next_run"] is None
    assert (shown["last_job"], shown["last_state"]) == (job_id, "SUCCESS")
    await world.call("schedule.run", number)
    await world.idle()
    assert len(await world.jobs(number)) == 2


async def test_disabled_times_are_not_missed(world: ScheduleWorld) -> None:
    """A schedule that is paused has no times; it goes on with the next one."""
    number = await world.create(missed="all")
    await world.pass_time(MINUTE)
    await world.call("schedule.update", number, {"enabled": False})
    await world.pass_time(10 * MINUTE + 5)
    await world.call("schedule.update", number, {"enabled": True})
    await world.pass_time(MINUTE)
    await world.idle()
    assert await world.times(number) == [60, 12 * MINUTE]


async def test_removed_schedule_starts_nothing(world: ScheduleWorld) -> None:
    """Its jobs stay, and its id is not used again."""
    number = await world.create()
    await world.pass_time(MINUTE)
    await world.call("schedule.delete", number)
    await world.pass_time(MINUTE)
    await world.idle()
    assert await world.times(number) == [60]
    assert await world.create() == number + 1


# The clock.


async def test_clock_set_back_a_little(world: ScheduleWorld) -> None:
    """Nothing runs until the clock has passed what was run."""
    number = await world.create(interval=10)
    await world.pass_time(30)
    world.clock.set(MIDNIGHT + 5_000)
    await world.settle()
    await world.pass_time(24)
    await world.idle()
    assert await world.times(number) == [30]
    await world.pass_time(11)
    await world.idle()
    assert await world.times(number) == [30, 40]


async def test_clock_set_back_far(world: ScheduleWorld) -> None:
    """Times that had a job have none again; those that had none get theirs."""
    number = await world.create(missed="skip")
    for minutes in (1, 1, 3, 1):  # the third and the fourth minute are passed over
        await world.pass_time(minutes * MINUTE)
        await world.idle()
    assert await world.times(number) == [60, 120, 300, 360]
    world.clock.set(MIDNIGHT)
    for _ in range(7):
        await world.pass_time(MINUTE)
        await world.idle()
    assert sorted(await world.times(number)) == [n * 60 for n in range(1, 8)]


async def test_clock_that_was_wrong(world: ScheduleWorld) -> None:
    """A clock that was years ahead does not stop a schedule for years."""
    number = await world.create()
    world.clock.set(MIDNIGHT + 1000 * DAY * 1000)
    await world.settle()
    await world.idle()
    world.clock.set(MIDNIGHT)
    await world.settle()
    await world.pass_time(MINUTE)
    await world.idle()
    assert await world.times(number) == [1000 * DAY, 60]
    # And when it is set forward again, what was run then is not made up for.
    await world.pass_time(1000 * DAY)
    await world.idle()
    assert len(await world.times(number)) == 3


async def test_transient_jobs_do_not_come_again(world: ScheduleWorld) -> None:
    """They leave nothing that tells their time, so a time is not run again at all."""
    number = await world.create(method="t.fleeting", params=["x"])
    world.stage["x"].open()
    await world.pass_time(5 * MINUTE)
    await world.idle()
    assert world.stage.ran == ["x"]
    world.clock.set(MIDNIGHT)
    await world.settle()
    await world.pass_time(5 * MINUTE)
    await world.idle()
    assert world.stage.ran == ["x"]
    await world.pass_time(MINUTE)
    await world.idle()
    assert world.stage.ran == ["x", "x"]
    assert (await world.get(number))["last_state"] == "SUCCESS"


async def test_other_rules_of_a_zone(tmp_path: Path) -> None:
    """The next time is looked for at each start, as the zone has it then."""
    clock = ManualClock(MIDNIGHT)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        number = await world.create(cron="0 2 * * *", timezone="Europe/Berlin")
        sql = f"UPDATE schedules SET due = due + {HOUR * 1000}"  # noqa: S608 - ours
        await world.server.context.database.execute((sql, ()))
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        shown = await world.get(number)
        assert shown["next_run"] == {"$date": MIDNIGHT + HOUR * 1000}


# What cannot be started.


async def test_transient_job_is_lost_with_its_server(tmp_path: Path) -> None:
    """Nothing tells what became of it, so the schedule does not name it."""
    clock = ManualClock(MIDNIGHT)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        number = await world.create(method="t.fleeting", params=["x"])
        await world.pass_time(MINUTE)
        await world.stage["x"].wait_entered()
        entry = world.schedules.get(number)
        assert entry is not None
        before = update_row(entry.schedule)
        world.stage.open()
        await world.idle()
        await world.server.context.database.execute(before)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        shown = await world.get(number)
        assert (shown["last_job"], shown["last_state"]) == (None, None)
        assert shown["last_run"] == {"$date": MIDNIGHT + 60_000}


async def test_vanished_method(tmp_path: Path) -> None:
    """The schedule says so, keeps its history, and works when the method is back."""
    plugin, clock = Plugin("gone", requires=("jobs",)), ManualClock(MIDNIGHT)

    @plugin.method(roles=USERS)
    @job
    async def work(job: Job, name: str) -> str:
        """Return the name."""
        return name

    async with schedule_world(plugin, data_dir=tmp_path, clock=clock) as world:
        number = await world.create(method="gone.work", params=["x"])
        await world.pass_time(MINUTE)
        await world.idle()
    clock.advance(30)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        await world.pass_time(30)
        shown = await world.get(number)
        assert shown["last_error"] == "There is no job method gone.work"
        assert shown["enabled"] is True
        assert (shown["last_state"], len(await world.jobs(number))) == ("SUCCESS", 1)
        with pytest.raises(CallError, match="does not exist"):
            await world.call("schedule.run", number)
    async with schedule_world(plugin, data_dir=tmp_path, clock=clock) as world:
        await world.pass_time(MINUTE)
        await world.idle()
        assert await world.times(number) == [60, 180]
        assert (await world.get(number))["last_error"] is None


async def test_params_that_are_not_taken_any_more(tmp_path: Path) -> None:
    """A method that takes other params since is an error of the schedule."""

    def plugin_that_takes(kind: Any) -> Plugin:
        plugin = Plugin("changing", requires=("jobs",))

        @plugin.method
        @job
        async def work(job: Job, name: kind) -> Any:
            """Return the name."""
            return name

        return plugin

    clock = ManualClock(MIDNIGHT)
    text, number_ = plugin_that_takes(str), plugin_that_takes(int)
    async with schedule_world(text, data_dir=tmp_path, clock=clock) as world:
        number = await world.create(method="changing.work", params=["x"])
    async with schedule_world(number_, data_dir=tmp_path, clock=clock) as world:
        await world.pass_time(MINUTE)
        error = (await world.get(number))["last_error"]
        assert "changing.work does not take the params any more" in error
        assert "Expected `int`, got `str`" in error


@pytest.mark.parametrize(("missed", "expected"), [("skip", []), ("once", [HOUR])])
async def test_refusal_that_passes(
    world: ScheduleWorld, missed: str, expected: list[int]
) -> None:
    """A job that is refused for now is tried again, until its time is missed."""
    timing: dict[str, Any] = {"interval": HOUR, "missed": missed}
    number = await world.create(method="t.alone", params=["b"], **timing)
    world.stage["b"].open()
    async with world.admin() as wire:
        job_id = await wire.start("t.alone", "a")
        await world.stage["a"].wait_entered()
        await world.pass_time(HOUR)
        error = (await world.get(number))["last_error"]
        assert error == "This job is already being performed"
        await world.pass_time(55)
        world.stage.open("a")
        await wire.final(job_id)
    await world.pass_time(5)
    assert await world.times(number) == []  # it is not tried all the time
    await world.pass_time(5)
    await world.idle()
    assert await world.times(number) == expected
    shown = await world.get(number)
    assert shown["last_error"] == (None if expected else error)
    passed = {"$date": MIDNIGHT + HOUR * 1000}
    assert shown["last_skipped"] == (None if expected else passed)


async def test_full_disk(world: ScheduleWorld) -> None:
    """Nothing starts while no job can be written; no time is lost by that."""
    number = await world.create(params=["x" * 200_000], missed="all")
    writer = world.server.context.database._writer
    (pages,) = next(iter(await writer.execute_fetchall("PRAGMA page_count")))
    await writer.execute_fetchall(f"PRAGMA max_page_count={pages}")
    await world.pass_time(MINUTE)
    assert "could not be written" in (await world.get(number))["last_error"]
    assert await world.jobs(number) == []
    await writer.execute_fetchall("PRAGMA max_page_count=1000000")
    await world.pass_time(MINUTE)
    await world.idle()
    assert await world.times(number) == [60, 120]
    assert (await world.get(number))["last_error"] is None


async def test_stopping_server_starts_nothing(tmp_path: Path) -> None:
    """From the order to stop on nothing is started; it is after the next start."""
    clock = ManualClock(MIDNIGHT)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        number = await world.create()
        world.server.app.shutdown.request(0.1)
        await world.pass_time(MINUTE)
        assert await world.jobs(number) == []
        assert (await world.get(number))["last_error"] is None
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        await world.idle()
        assert await world.times(number) == [60]


async def test_crash_between_job_and_schedule(tmp_path: Path) -> None:
    """The time is due again after the next start, and finds the job that there is."""
    clock = ManualClock(MIDNIGHT)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        number = await world.create(missed="all")
        entry = world.schedules.get(number)
        assert entry is not None
        before = update_row(entry.schedule)
        await world.pass_time(MINUTE)
        await world.idle()
        assert await world.times(number) == [60]
        # What a crash leaves: the job is on disk, the schedule is as it was.
        await world.server.context.database.execute(before)
    async with schedule_world(data_dir=tmp_path, clock=clock) as world:
        await world.idle()
        assert await world.times(number) == [60]
        shown = await world.get(number)
        (found,) = await world.jobs(number)
        assert (shown["last_job"], shown["last_state"]) == (found["id"], "SUCCESS")
        await world.pass_time(MINUTE)
        await world.idle()
        assert await world.times(number) == [60, 120]
