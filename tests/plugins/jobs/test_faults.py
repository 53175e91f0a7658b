"""What goes wrong around a job: its log's folder, the clock, and a slow disk."""

import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from jobs_logs import LINES, LogWorld, running_log_world
from jobs_stage import running_world

from middlewared.session import MAX_ENTRUSTED
from middlewared.testing import ManualClock
from middlewared_jobs.jobs import Jobs

PATIENCE = 10.0


@pytest.fixture
async def logged() -> AsyncIterator[LogWorld]:
    """Run a server with jobs that write logs."""
    async with running_log_world() as world:
        yield world


async def test_the_folder_of_logs_is_removed(logged: LogWorld) -> None:
    """The job that writes goes on and says what became of its log; the next has one."""
    async with logged.admin() as wire:
        number = await wire.start("w.pieces")
        await wire.event(number, "RUNNING")
        await logged.writer.send.send(b"before\n")
        path = Path((await wire.call("job.get", number))["logs_path"])
        size = 0
        while size == 0:
            size = (await wire.call("job.read_log", number))["size"]
        shutil.rmtree(path.parent)
        await logged.writer.send.send(b"after\n")
        error = await wire.fail("job.read_log", number)
        assert "Log file was removed" in error.reason
        logged.writer.send.close()
        item = await wire.final(number)
        assert (item["state"], item["logs_excerpt"]) == (
            "SUCCESS",
            "Log file was removed",
        )
        item = await wire.run("w.text", LINES)
        assert item["state"] == "SUCCESS"
        assert item["logs_excerpt"].startswith("line 0")


async def test_the_clock_is_set_back() -> None:
    """Jobs begin and end as ever; none is removed, and none starts early."""
    clock = ManualClock()
    async with running_world(kernel={"clock": clock}) as world, world.admin() as wire:
        before = await wire.run("t.echo", 1)
        running = await wire.start("t.hold", "back")
        await wire.event(running, "RUNNING")
        ahead = {"run_at": {"$date": clock.time_ms() + 60_000}}
        later = await wire.call("job.submit", "t.echo", [2], ahead)
        clock.advance(-3600)
        world.stage.open("back")
        item = await wire.final(running)
        assert item["state"] == "SUCCESS"
        started, finished = item["time_started"], item["time_finished"]
        assert finished["$date"] == started["$date"] - 3_600_000
        after = await wire.run("t.echo", 3)
        assert (after["state"], after["id"] > later) == ("SUCCESS", True)
        listed = await wire.call("core.get_jobs", [], {"order_by": ["-id"]})
        assert [job["id"] for job in listed] == [
            after["id"],
            later,
            running,
            before["id"],
        ]
        assert (await wire.call("job.get", later))["state"] == "WAITING"


async def test_the_disk_is_slow_and_a_client_is_not() -> None:
    """What it sends beyond the jobs that wait for the disk is not read yet."""
    async with (
        running_world() as world,
        world.admin() as wire,
        world.admin() as other,
    ):
        live = world.server.context.get(Jobs).live
        path = world.server.context.database.path
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as rival:
            rival.execute("BEGIN IMMEDIATE")
            numbers = [await wire.send("t.echo", [n]) for n in range(4 * MAX_ENTRUSTED)]
            with anyio.fail_after(PATIENCE):
                while len(live) < MAX_ENTRUSTED:
                    assert await other.call("core.ping") == "pong"
            for _ in range(10):
                await other.call("core.ping")
            assert len(live) == MAX_ENTRUSTED
            rival.execute("ROLLBACK")
        found = [await wire.result(number) for number in numbers]
        assert found == list(range(4 * MAX_ENTRUSTED))


async def test_refused_job_is_nowhere() -> None:
    """Not even when the write that follows, that it runs now, is not refused."""
    async with running_world(async_jobs=1) as world, world.admin() as wire:
        await wire.start("t.hold", "first")
        await world.stage["first"].wait_entered()
        live = world.server.context.get(Jobs).live
        path = world.server.context.database.path
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as rival:
            rival.execute(
                "CREATE TRIGGER full BEFORE INSERT ON jobs WHEN new.state = 'WAITING' "
                "BEGIN SELECT RAISE(ABORT, 'no space left'); END"
            )
            rival.execute("BEGIN IMMEDIATE")
            world.stage.open("first")
            with anyio.fail_after(PATIENCE):
                while not all(run.record.final for run in live.values()):
                    await wire.call("core.ping")
                number = await wire.send("t.echo", ["refused"])
                while len(live) < 2:
                    await wire.call("core.ping")
            rival.execute("ROLLBACK")
            assert "no space left" in str((await wire.answer(number))["error"])
            rival.execute("DROP TRIGGER full")
            last = await wire.run("t.echo", "taken")
            rows = rival.execute("SELECT id, state FROM jobs ORDER BY id").fetchall()
        assert rows == [(1, "SUCCESS"), (last["id"], "SUCCESS")]
        assert not live


async def test_refused_call_shares_no_job() -> None:
    """The job that it was to share shows nothing of it afterwards."""
    async with running_world() as world, world.admin() as wire:
        await wire.start("t.shared", "first")
        await world.stage["first"].wait_entered()
        job = await wire.start("t.shared", "second")
        path = world.server.context.database.path
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as rival:
            # Both, since it depends on what was written before how a row is.
            for how in ("INSERT", "UPDATE"):
                rival.execute(
                    f"CREATE TRIGGER full_{how} BEFORE {how} ON jobs "
                    "BEGIN SELECT RAISE(ABORT, 'no space left'); END"
                )
            number = await wire.send("t.shared", ["second"])
            assert "no space left" in str((await wire.answer(number))["error"])
            rival.execute("DROP TRIGGER full_INSERT")
            rival.execute("DROP TRIGGER full_UPDATE")
        taken = await wire.send("t.shared", ["second"])
        world.stage.open("first", "second")
        assert await wire.result(taken) == "second"
        ids = (await wire.final(job))["message_ids"]
        assert (number in ids, taken in ids, len(ids)) == (False, True, 2)
