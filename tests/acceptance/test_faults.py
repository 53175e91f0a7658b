"""A disk that is full, a database that somebody else holds: nothing is lost."""

import contextlib
import resource
import sqlite3
import time
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest
from jobs_wire import Wire, open_wire
from server_process import ServerProcess

EIO = 5
#: Seconds that another program holds the database: longer than the server waits twice,
#: so that a call is refused also when it has to wait behind something else.
HELD = 10.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run a server that the tests of this module share."""
    with ServerProcess(tmp_path_factory.mktemp("faults") / "data") as running:
        yield running


@contextlib.contextmanager
def full_disk(server: ServerProcess) -> Iterator[None]:
    """Let no file of the server grow, as a full disk does, for the block."""
    assert server.process is not None
    pid, kind = server.process.pid, resource.RLIMIT_FSIZE
    soft, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, (soft, hard))


async def states(wire: Wire) -> dict[int, str]:
    """Give the states of all jobs."""
    jobs = await wire.call("core.get_jobs")
    return {job["id"]: job["state"] for job in jobs}


async def fill_and_empty(server: ServerProcess) -> dict[int, str]:
    """Let the disk be full while a job runs and ends; give the states afterwards."""
    async with open_wire(server.socket_path, watch=True) as wire:
        before = (await wire.run("demo.sleep", 0))["id"]
        running = await wire.start("demo.sleep", 1)
        await wire.event(running, "RUNNING")
        with full_disk(server):
            error = await wire.fail("demo.sleep", 0)
            assert (error.code, error.errno) == (-32001, EIO)
            assert "could not be written" in error.reason
            await anyio.to_thread.run_sync(server.wait_line, f"job {running} could not")
            # Nobody is told of an end that is not on disk; reading goes on.
            assert "SUCCESS" not in wire.states(running)
            assert (await wire.call("job.get", before))["state"] == "SUCCESS"
            assert await wire.call("core.ping") == "pong"
        assert (await wire.final(running))["state"] == "SUCCESS"
        after = (await wire.run("demo.sleep", 0))["id"]
        found = await states(wire)
        assert found == dict.fromkeys([before, running, after], "SUCCESS")
        return found


def test_a_full_disk(server: ServerProcess) -> None:
    """Calls are refused, the end of a job waits for room, and all of it is there."""
    found = anyio.run(fill_and_empty, server)
    server.kill()
    server.start()

    async def look() -> dict[int, str]:
        async with open_wire(server.socket_path) as wire:
            return await states(wire)

    assert anyio.run(look) == found


async def hold_database(server: ServerProcess) -> None:
    """Hold the lock of the database while a job ends and another one is called."""
    path = server.data_dir / "middlewared.db"
    async with open_wire(server.socket_path, watch=True) as wire:
        before = await states(wire)
        running = await wire.start("demo.sleep", 0.5)
        await wire.event(running, "RUNNING")
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            calls: list[str] = []
            while time.monotonic() < began + HELD:
                if len(calls) <= time.monotonic() - began:
                    calls.append(await wire.send("demo.sleep", [0]))
                assert await wire.call("core.ping") == "pong"
                await anyio.sleep(0.1)
            other.execute("ROLLBACK")
        assert (await wire.final(running))["state"] == "SUCCESS"
        answers = [await wire.answer(call) for call in calls]
        errors = [answer["error"]["data"] for answer in answers if "error" in answer]
        # Too long for some: they are refused, and there are no such jobs.
        assert errors
        for error in errors:
            assert error["error"] == EIO
            assert "locked" in error["reason"]
        await wire.run("demo.sleep", 0)
        after = await states(wire)
        assert len(after) == len(before) + 2 + len(calls) - len(errors)
        assert before.items() <= after.items()
        assert set(after.values()) == {"SUCCESS"}


@pytest.mark.timeout(90)
def test_another_program_holds_the_database(server: ServerProcess) -> None:
    """What cannot wait is refused, what has happened is written afterwards."""
    anyio.run(hold_database, server)
