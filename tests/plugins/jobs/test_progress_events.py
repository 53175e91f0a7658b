"""Progress on the wire: few events, the newest value, never behind the end."""

import threading
import time

import anyio
import anyio.from_thread
from jobs_stage import USERS, running_world
from jobs_wire import Wire

from middlewared import Plugin
from middlewared_jobs import Job, job


def work(job: Job, number: int) -> None:
    """Set progress from one of many threads."""
    for turn in range(2000):
        job.set_progress(turn / 20, f"thread {number}", {"turn": turn})


def busy_plugin() -> Plugin:
    """Declare jobs that tell much."""
    plugin = Plugin("b", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job
    def flood(job: Job, seconds: float) -> int:
        """Set progress as fast as a thread can."""
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            count += 1
            job.set_progress(count % 100, f"call {count}", {"count": count})
        return count

    @plugin.method(roles=USERS)
    @job
    def crowd(job: Job) -> None:
        """Set progress from eight threads at once."""
        threads = [threading.Thread(target=work, args=(job, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        job.set_progress(42, "all came home", {"threads": 8})

    @plugin.method(roles=USERS)
    @job(description="first")
    async def tells(job: Job, fails: bool = False) -> None:
        """Set everything there is, once."""
        job.set_progress(30, "half way", {"items": [1]})
        job.set_description("second")
        await anyio.lowlevel.checkpoint()
        if fails:
            raise ValueError("no further")

    @plugin.method(roles=USERS)
    @job(abortable=True)
    async def pauses(job: Job) -> None:
        """Set progress, then wait for the abort."""
        job.set_progress(10, "one")
        job.set_progress(20, "two")
        job.set_progress(indeterminate=True)
        await anyio.sleep_forever()

    return plugin


PLUGIN = busy_plugin()


async def test_flood_of_progress_makes_few_events() -> None:
    """However often it is set, progress is told about four times a second."""
    async with running_world(PLUGIN) as world, world.admin() as wire:
        final = await wire.run("b.flood", 1.2)
        assert final["result"] > 50
        running = [s for s in wire.states(final["id"]) if s == "RUNNING"]
        assert 4 <= len(running) <= 8  # the move, and 1.2 s of progress
        count = final["result"]
        assert final["progress"] == {
            "percent": 100,
            "description": f"call {count}",
            "extra": {"count": count},
        }


async def test_progress_only_goes_on() -> None:
    """Each event shows a later moment than the one before."""
    async with (
        running_world(PLUGIN, progress_interval=0.02) as world,
        world.admin() as wire,
    ):
        final = await wire.run("b.flood", 0.3)
        extras = [e["fields"]["progress"]["extra"] for e in wire.events()]
        counts = [extra["count"] for extra in extras if extra]
        assert counts == sorted(counts)
        assert counts[-1] == final["result"]
        assert len(counts) > 5
        assert wire.moves(final["id"]) == ["WAITING", "RUNNING", "SUCCESS"]


async def test_eight_threads_set_progress() -> None:
    """Threads of a body may all set progress; the last value is what is shown."""
    async with running_world(PLUGIN) as world, world.admin() as wire:
        final = await wire.run("b.crowd")
        assert final["state"] == "SUCCESS"
        assert final["progress"] == {
            "percent": 100,
            "description": "all came home",
            "extra": {"threads": 8},
        }


async def test_last_value_is_in_the_end() -> None:
    """The end shows what was set last, 100 % only for a success."""
    async with running_world(PLUGIN) as world, world.admin() as wire:
        final = await wire.run("b.tells")
        progress = {"percent": 100, "description": "half way", "extra": {"items": [1]}}
        assert (final["progress"], final["description"]) == (progress, "second")
        final = await wire.run("b.tells", fails=True)
        assert final["progress"] == progress | {"percent": 30}
        assert final["description"] == "second"


async def test_newest_progress_is_told_while_nothing_moves() -> None:
    """A job that set something and then waits shows it within the interval."""
    async with running_world(PLUGIN) as world, world.admin() as wire:
        job = await wire.start("b.pauses")
        wanted = {"percent": None, "description": "two", "extra": None}
        await wire.wait(
            lambda f: (
                "params" in f
                and f["params"]["id"] == job
                and f["params"]["fields"]["progress"] == wanted
            )
        )
        assert (await wire.call("job.get", job))["progress"] == wanted
        await wire.call("core.job_abort", job)
        final = await wire.final(job)
        assert (final["state"], final["progress"]) == ("ABORTED", wanted)


async def test_progress_is_stored_in_the_list(admin: Wire) -> None:
    """A job that runs shows its progress to whoever asks, not only in events."""
    job = await admin.start("demo.sleep", 30, 3)
    await admin.event(job, "RUNNING")
    await admin.wait(
        lambda f: (
            "params" in f
            and f["params"]["fields"]["progress"]["description"] == "step 1 of 3"
        )
    )
    (item,) = await admin.call("core.get_jobs", [["state", "=", "RUNNING"]])
    assert item["progress"]["description"] == "step 1 of 3"
    await admin.call("core.job_abort", job)
