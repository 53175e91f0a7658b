"""Old jobs leave, with their logs, and in nobody's way."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from jobs_records import EPOCH, make_record
from jobs_stage import USERS, World, running_world

from middlewared import Date, Plugin
from middlewared.testing import ManualClock
from middlewared_jobs import Job, State, job
from middlewared_jobs.jobfiles import JobFiles
from middlewared_jobs.memory_store import MemoryStore
from middlewared_jobs.removal import Removal
from middlewared_jobs.retention import DAY_MS, SLICE, Retention
from middlewared_jobs.settings import JobSettings

DAY = 86400.0


class House:
    """A store with jobs that ended, and what keeps it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock(EPOCH)
        self.live: set[int] = set()
        self.slices: list[int] = []
        self.files = JobFiles(folder)
        self.retention = Retention(
            self.store,
            self._remove,
            self.live,
            self.files,
            self.clock,
            JobSettings(**settings),
        )

    async def _remove(self, gone: Sequence[Removal]) -> None:
        self.slices.append(len(gone))
        self.store.delete([removal.id for removal in gone], None)

    def add(self, number: int, state: State, days: float) -> None:
        """Add a job that ended so many days ago."""
        finished = Date(EPOCH - int(days * DAY_MS))
        self.store.save(
            make_record(number, state=state, time_finished=finished), None, None
        )

    async def left(self) -> set[int]:
        """Let old jobs go and say which are there."""
        await self.retention.sweep()
        return await self.store.known(range(1, 1000))


async def test_jobs_leave_after_thirty_days(tmp_path: Path) -> None:
    """By default, whatever their state; a job that waits never does."""
    house = House(tmp_path)
    for number, state in enumerate((State.SUCCESS, State.FAILED, State.ABORTED), 1):
        house.add(number, state, 30.1)
        house.add(number + 10, state, 29.9)
    house.store.save(make_record(20), None, None)
    assert await house.left() == {11, 12, 13, 20}
    house.clock.advance(DAY)
    assert await house.left() == {20}


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"keep_days": 0}, {1, 2, 3, 4, 5, 6}),
        ({"keep_failed_days": 0}, {1, 2, 4, 5, 6}),
        ({"keep_days": 0, "keep_success_days": 0.5}, {4, 5, 6}),
        ({"keep_jobs": 1}, {1, 6}),
        ({"keep_success_jobs": 2}, {1, 2, 5, 6}),
        ({"keep_jobs": 1, "keep_success_jobs": 0}, {1, 2, 6}),
        ({"keep_days": 1.5, "keep_failed_jobs": 9}, {1, 5, 6}),
    ],
)
async def test_each_state_has_its_terms(
    tmp_path: Path, settings: dict[str, Any], left: set[int]
) -> None:
    """By age and by number; 0 is no limit; what ended last stays."""
    house = House(tmp_path, **settings)
    house.add(1, State.SUCCESS, 1)
    house.add(2, State.SUCCESS, 2)
    house.add(3, State.SUCCESS, 31)
    house.add(4, State.FAILED, 31)
    house.add(5, State.FAILED, 1.1)
    house.add(6, State.FAILED, 0)
    assert await house.left() == left


async def test_they_leave_in_slices(tmp_path: Path) -> None:
    """No write removes many, and what is not told yet is left alone."""
    house = House(tmp_path, keep_jobs=5)
    for number in range(1, 2 * SLICE + 51):
        house.add(number, State.SUCCESS, 31)
    house.live.add(250)
    assert await house.left() == {250}
    assert max(house.slices) == SLICE
    assert sum(house.slices) == 2 * SLICE + 49


async def test_jobs_from_the_future_stay(tmp_path: Path) -> None:
    """A clock that is set back makes jobs younger, it removes none."""
    house = House(tmp_path)
    house.add(1, State.SUCCESS, 0)
    house.clock.advance(-365 * DAY)
    assert await house.left() == {1}
    house.clock.advance(365 * DAY)
    assert await house.left() == {1}


def files_in(folder: Path) -> set[str]:
    """Name the files in the folders of a folder."""
    return {str(path.relative_to(folder)) for path in folder.glob("*/*")}


async def test_files_of_nobody_leave(tmp_path: Path) -> None:
    """Logs and results without a job, and nothing else that lies there."""
    house = House(tmp_path)
    house.add(1, State.SUCCESS, 0)
    house.live.add(4)
    names = ["logs/1.log", "logs/2.log", "logs/4.log", "logs/x.log", "logs/02.log"]
    names += ["results/1.json", "results/3.json", "results/3.json.part"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert await house.retention.clear_files() == 2
    assert files_in(tmp_path) == {
        "logs/1.log",
        "logs/4.log",
        "logs/x.log",
        "logs/02.log",
        "results/1.json",
    }
    assert await house.retention.clear_files() == 0


async def test_what_cannot_be_removed_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in the server's log, and the others go."""
    house = House(tmp_path)
    (tmp_path / "logs" / "1.log").mkdir(parents=True)
    (tmp_path / "logs" / "2.log").touch()
    await house.retention.clear_files()
    assert files_in(tmp_path) == {"logs/1.log"}
    assert "1.log cannot be removed" in caplog.text


def speaking_plugin() -> Plugin:
    """Declare a job with a log."""
    plugin = Plugin("s", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(logs=True)
    async def speak(job: Job) -> None:
        """Write a line, and note an item."""
        job.log.info("hello")
        job.error_item("item", "E", "bad")

    return plugin


@pytest.fixture
async def clocked() -> AsyncIterator[tuple[World, ManualClock]]:
    """Run a server whose clock stands."""
    clock = ManualClock()
    async with running_world(speaking_plugin(), kernel={"clock": clock}) as world:
        yield world, clock


async def test_a_server_lets_them_go(clocked: tuple[World, ManualClock]) -> None:
    """Row, log and item errors are gone; followers are told, by the server's clock."""
    world, clock = clocked
    retention = world.server.context.get(Retention)
    async with world.admin() as wire:
        await wire.follow("gone", removed=True)
        number = (await wire.run("s.speak"))["id"]
        path = anyio.Path((await wire.call("job.get", number))["logs_path"])
        assert await path.exists()
        assert await retention.sweep() == 0
        clock.advance(30 * DAY)
        assert await retention.sweep() == 0
        clock.advance(1)
        assert await retention.sweep() == 1
        event = await wire.until_tagged("gone", lambda e: e["msg"] == "removed")
        assert event["id"] == number
        assert not await path.exists()
        error = await wire.fail("job.item_errors", number)
        assert "does not exist" in error.reason
        assert await wire.call("core.get_jobs", [["id", "=", number]]) == []
