"""The real program is stopped and started again: what was, what waits, what ran."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from jobs_wire import Wire, open_wire
from server_process import ADMIN_PASSWORD, ServerProcess

# The program is started several times in each test, on a machine that others use.
pytestmark = pytest.mark.timeout(240)

ADMIN = ("admin", ADMIN_PASSWORD)
ANN = ("ann", "pw")
PASSWORD = "correct-horse-of-ann"
HISTORY = ["id", "uid", "state", "result", "error", "exception", "logs_excerpt"]

PLUGIN = '''
"""Jobs of a plugin that the server never saw; they write down that they ran."""

import os
import threading

import anyio

from middlewared import Plugin, Secret
from middlewared_auth import JOB_USER
from middlewared_jobs import Job, job

plugin = Plugin("diary", requires=("jobs",), version="3.1")


def note(job: Job, text: str) -> None:
    with open(os.environ["DIARY"], "a") as file:
        file.write(f"{job.id} {job.attempt} {text}\\n")


@plugin.method(roles=[JOB_USER])
@job(lock="diary", logs=True)
async def write(job: Job, text: str, seconds: float = 0.0) -> str:
    """Write a line and hold the lock."""
    note(job, text)
    job.log.info("wrote %s", text)
    await anyio.sleep(seconds)
    return text


@plugin.method(roles=[JOB_USER])
@job(lock="diary")
async def confess(job: Job, secret: Secret[str]) -> int:
    """Write how long a secret is."""
    note(job, str(len(secret.get())))
    return len(secret.get())


@plugin.method(roles=[JOB_USER])
@job
def stubborn(job: Job) -> None:
    """Never end."""
    note(job, "stubborn")
    threading.Event().wait()
'''


class Diary:
    """A program with the plugin above, and what its jobs wrote down."""

    def __init__(self, folder: Path) -> None:
        self.plugin = folder / "plugins" / "middlewared_diary.py"
        self.plugin.parent.mkdir()
        self.plugin.write_text(PLUGIN)
        self.path = folder / "diary"
        self.server = ServerProcess(
            folder / "data",
            arguments=("--plugins-dir", str(self.plugin.parent)),
            environment={"DIARY": str(self.path)},
        )

    def lines(self) -> list[str]:
        """Give the lines without the ids."""
        text = self.path.read_text() if self.path.exists() else ""
        return [line.partition(" ")[2] for line in text.splitlines()]

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the program while others go on."""
        return await anyio.to_thread.run_sync(self.server.stop, number)

    async def start(self) -> None:
        """Start the program again."""
        await anyio.to_thread.run_sync(self.server.start)


@pytest.fixture
def diary(tmp_path: Path) -> Iterator[Diary]:
    """Run the program with the plugin."""
    made = Diary(tmp_path)
    with made.server:
        yield made


async def add_ann(wire: Wire) -> None:
    """Make the account of a limited user."""
    account = {"username": "ann", "password": "pw", "roles": ["JOB_USER"]}
    await wire.call("user.create", account)


async def test_history_survives(diary: Diary) -> None:
    """Results, errors, tracebacks, excerpts and owners are there; ids go on."""
    url = diary.server.ws_url
    async with open_wire(url, login=ADMIN, watch=True) as admin:
        await add_ann(admin)
        async with open_wire(url, login=ANN, watch=True) as ann:
            done = await ann.run("demo.log", 40)
            failed = await ann.run("demo.fail", "no luck", 13)
            held = await ann.start("demo.sleep", 60)
            await ann.event(held, "RUNNING")
            await ann.call("core.job_abort", held)
            aborted = await ann.final(held)
        await admin.run("demo.transient", 0)
        before = await admin.call("core.get_jobs", [["transient", "=", False]])
        records = await admin.call("job.query", [["transient", "=", False]])
    assert await diary.stop() == 0
    await diary.start()
    async with open_wire(url, login=ADMIN, watch=True) as admin:
        assert await admin.call("core.get_jobs") == before
        assert await admin.call("job.query") == records
        assert [job["id"] for job in before] == [1, 2, 3]
        assert await admin.start("demo.noop") == 5
    async with open_wire(url, login=ANN, watch=True) as ann:
        assert await ann.call("core.get_jobs") == [done, failed, aborted]
        assert "... 20 more lines ..." in done["logs_excerpt"]
        assert await ann.call("core.job_wait", done["id"]) == 40
        error = await ann.fail("core.job_wait", failed["id"])
        assert (error.errno, error.reason) == (13, "[EACCES] no luck")
        assert (await ann.fail("core.job_wait", held)).errno == 125
        log = await ann.call("job.read_log", done["id"])
        assert log["data"].count("\n") == 40
        assert await ann.call("core.job_abort", held) is None
        mine = await ann.run("demo.noop", "more")
        assert mine["id"] > done["id"]


async def test_waiting_jobs_run_after_a_restart(diary: Diary) -> None:
    """What ran when the server stopped ends ServerStopped; what waited runs, in order.

    Also with secret params, which are nowhere in clear meanwhile, and with a client
    that waits for one of them.
    """
    url = diary.server.ws_url
    async with open_wire(url, login=ADMIN, watch=True) as admin:
        await add_ann(admin)
        async with open_wire(url, login=ANN, watch=True) as ann:
            number = await ann.send("diary.write", ["first", 60])
            running = await ann.started(number)
            await ann.event(running, "RUNNING")
            waiting = [await ann.start("diary.write", f"{n}") for n in range(3)]
            waiting.append(await ann.start("diary.confess", PASSWORD))
            helper = await ann.send("core.job_wait", [waiting[0]])
            await ann.event(await ann.started(helper), "RUNNING")
            assert await diary.stop() == 0
            final = await ann.final(running)
            assert final["state"] == "FAILED"
            assert final["exc_info"]["type"] == "ServerStopped"
            assert final["logs_excerpt"].endswith("wrote first\n")
            for unanswered in (number, helper):
                assert "error" in await ann.answer(unanswered)
            assert [ann.states(job) for job in waiting] == [["WAITING"]] * 4
            assert await ann.wait_closed() == 1012
    assert diary.lines() == ["1 first"]
    assert files_with(diary.server.data_dir, PASSWORD) == []
    await diary.start()
    async with open_wire(url, login=ANN, watch=True) as ann:
        for job in waiting:
            await ann.call("core.job_wait", job)
        items = await ann.call("core.get_jobs", [["id", "in", waiting]])
        assert [item["state"] for item in items] == ["SUCCESS"] * 4
        assert [item["result"] for item in items] == ["0", "1", "2", len(PASSWORD)]
        assert items[3]["arguments"] == ["********"]
        starts = [item["time_started"]["$date"] for item in items]
        assert starts == sorted(starts)
        stopped = await ann.call("job.get", running)
        assert (stopped["state"], stopped["abort"]) == ("FAILED", None)
        assert await ann.call("core.get_jobs", [["state", "=", "ABORTED"]]) == []
    wanted = ["1 first", "1 0", "1 1", "1 2", f"1 {len(PASSWORD)}"]
    assert diary.lines() == wanted
    assert files_with(diary.server.data_dir, PASSWORD) == []


def files_with(folder: Path, text: str) -> list[str]:
    """Name the files below a folder that hold a text."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in found if text.encode() in path.read_bytes()]


async def test_vanished_methods_fail(diary: Diary) -> None:
    """A waiting job whose method is gone ends FAILED and says which; others go on."""
    url = diary.server.ws_url
    async with open_wire(url, login=ADMIN, watch=True) as admin:
        await admin.start("diary.write", "first", 60)
        gone = await admin.start("diary.confess", PASSWORD)
        changed = await admin.start("diary.write", "x", 1.5)
        stays = await admin.start("diary.write", "stays")
        await diary.stop()
    text = PLUGIN.replace("async def confess", "async def repent")
    text = text.replace("seconds: float = 0.0", "seconds: int = 0")
    diary.plugin.write_text(text)
    await diary.start()
    async with open_wire(url, login=ADMIN, watch=True) as admin:
        found = {n: await admin.call("job.get", n) for n in (gone, changed)}
        assert all(job["state"] == "FAILED" for job in found.values())
        assert re.search(r"diary\.confess .*diary 3\.1", found[gone]["error"])
        assert re.search(r"diary\.write .*diary 3\.1", found[changed]["error"])
        assert "seconds" in found[changed]["error"]
        assert await admin.call("core.job_wait", stays) == "stays"
        assert (await admin.fail("diary.confess", "x")).code == -32601
    await diary.stop()
    diary.plugin.unlink()
    await diary.start()
    async with open_wire(url, login=ADMIN, watch=True) as admin:
        items = await admin.call("core.get_jobs", [["method", "^", "diary."]])
        assert len(items) == 4
        assert await admin.call("core.job_wait", stays) == "stays"


async def test_thread_that_never_ends_is_left_behind(diary: Diary) -> None:
    """A thread that ignores the stop is recorded and does not hold the process."""
    async with open_wire(diary.server.ws_url, login=ADMIN, watch=True) as admin:
        job = await admin.start("diary.stubborn")
        await admin.event(job, "RUNNING")
        assert await diary.stop() == 1
        final = await admin.final(job)
    await diary.start()
    async with open_wire(diary.server.ws_url, login=ADMIN) as admin:
        (item,) = await admin.call("core.get_jobs", [["id", "=", job]])
        assert item == final
        assert item["state"] == "FAILED"
        assert item["exc_info"]["type"] == "ServerStopped"
        assert "thread" in item["error"]


async def test_short_jobs_end_in_their_grace(diary: Diary) -> None:
    """A job that ends within the grace succeeds, and its client is told so."""
    async with open_wire(diary.server.ws_url, login=ADMIN, watch=True) as admin:
        number = await admin.send("diary.write", ["quick", 0.5])
        await admin.event(await admin.started(number), "RUNNING")
        async with anyio.create_task_group() as group:
            group.start_soon(diary.stop)
            assert await admin.result(number) == "quick"
            assert await admin.wait_closed() == 1012


async def test_stopping_server_takes_no_jobs(diary: Diary) -> None:
    """While the server stops, new jobs are EBUSY and connections still answer."""
    async with open_wire(diary.server.ws_url, login=ADMIN, watch=True) as admin:
        job = await admin.start("diary.write", "holds", 60)
        await admin.event(job, "RUNNING")
        assert diary.server.process is not None
        diary.server.process.send_signal(signal.SIGTERM)
        error: Any = None
        while error is None:
            answer = await admin.answer(await admin.send("demo.noop"))
            error = answer.get("error")
        assert error["data"]["errname"] == "EBUSY"
        assert await admin.call("core.ping") == "pong"
        assert (await admin.final(job))["exc_info"]["type"] == "ServerStopped"
        await admin.wait_closed()
