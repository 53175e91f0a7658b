"""Process jobs in a running server: they do what thread jobs do, and harm nobody."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import jobs_in_children
import pytest
from jobs_in_children import RAISED
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire
from process_table import (
    children_of,
    is_running,
    state_of,
    wait_ended,
    wait_in_thread,
)

from middlewared import Plugin
from middlewared_jobs import Job, job

PLUGIN = jobs_in_children.plugin
SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Run a server that the tests of this module share."""
    settings: dict[str, Any] = {
        "abort_grace": 1.0,
        "max_result": 100_000,
        "process_jobs": 2,
    }
    async with running_world(PLUGIN, **settings) as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin that watches jobs, new answer style."""
    async with world.admin() as wire:
        yield wire


async def hold(wire: Wire, path: Path, how: str = "sleep", name: str = "x") -> int:
    """Start a job that goes on until it is ended; wait until it does."""
    number = await wire.start("p.hold", str(path), how, name)
    assert await wait_in_thread(path.exists), await wire.call("job.get", number)
    return number


# What a body is given.


async def test_a_child_knows_its_job(world: World, admin: Wire) -> None:
    """Id, attempt, rights and settings are there; the process is one of its own."""
    await world.add_user("ann")
    async with world.user("ann") as ann:
        found = await ann.call("p.given")
    settings = world.server.context.settings
    assert found["session"] == found["pid"] != os.getpid()
    assert found | {"pid": 0, "session": 0} == {
        "id": found["id"],
        "attempt": 1,
        "user": "ann",
        "full_admin": False,
        "pid": 0,
        "session": 0,
        "depth": 3,
        "data_dir": str(settings.data_path),
    }


async def test_services_live_in_the_server(admin: Wire) -> None:
    """A body that asks for a service is told where that lives."""
    item = await admin.run("p.services")
    assert item["error"] == (
        "Database lives in the server, a process job can reach settings only"
    )
    assert item["exc_info"]["type"] == "PluginError"


async def test_a_child_runs_many_jobs(admin: Wire) -> None:
    """One child is used again as long as it is fit."""
    first = await admin.call("p.pid")
    assert [await admin.call("p.pid") for _ in range(5)] == [first] * 5


@pytest.mark.parametrize(
    "value", [None, 0, "", "é\u2028", [1, {"a": None}], {"$date": 0}, {"$set": [1]}]
)
async def test_values_cross_unchanged(admin: Wire, value: Any) -> None:
    """What goes in comes out, in the answer and in the event."""
    assert await admin.call("p.echo", value) == value
    assert (await admin.run("p.echo", value))["result"] == value


# How a body ends.


# One that cannot say its text is an internal error in the answer of a thread's job.
@pytest.mark.parametrize("kind", sorted(RAISED.keys() - {"nasty"}))
async def test_errors_look_like_those_of_threads(admin: Wire, kind: str) -> None:
    """Item and answer say the same as for a job in a thread, but for the frames."""
    items, errors = [], []
    for method in ("p.fail", "p.fail_in_thread"):
        request = await admin.send(method, [kind])
        errors.append((await admin.answer(request))["error"])
        item = await admin.final(await admin.started(request))
        assert item["exception"].startswith(("Traceback", "  + Exc", "..."))
        items.append(item)
    one, other = items
    assert {key for key in one if one[key] != other[key]} <= {
        *("id", "method", "message_ids", "exception", "time_started", "time_finished")
    }
    assert one["exception"].splitlines()[-1] == other["exception"].splitlines()[-1]
    traces = [(error.get("data") or {}).pop("trace", None) or {} for error in errors]
    assert errors[0] == errors[1]
    for trace in traces:
        trace.pop("formatted", None)
    assert traces[0] == traces[1]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("segfault", "was killed by SIGSEGV"),
        ("abort", "was killed by SIGABRT"),
        ("kill", "was killed by SIGKILL"),
        ("os_exit", "ended with exit code 3"),
        ("os_exit_0", "ended with exit code 0"),
        ("take_over", "closed its pipe to the server"),
        ("close_everything", "closed its pipe to the server"),
    ],
)
async def test_a_dead_child_fails_its_job_only(
    admin: Wire, tmp_path: Path, kind: str, reason: str
) -> None:
    """The job says how its process ended, at once; another one goes on beside it."""
    other = await hold(admin, tmp_path / "other")
    item = await admin.run("p.badly", kind)
    assert (item["state"], item["exc_info"]["type"]) == ("FAILED", "WorkerLost")
    assert item["error"].startswith("the job's process ")
    assert item["error"].endswith(reason)
    assert await admin.call("p.echo", kind) == kind
    assert (await admin.call("job.get", other))["state"] == "RUNNING"
    await admin.call("job.abort", other)
    assert (await admin.final(other))["state"] == "ABORTED"


async def test_a_foreign_sigterm_is_no_abort(admin: Wire) -> None:
    """A job whose process somebody told to end is FAILED, not ABORTED by nobody."""
    item = await admin.run("p.badly", "term")
    assert item["state"] == "FAILED"
    assert item["error"] == "somebody sent SIGTERM to the job's process"


@pytest.mark.parametrize("kind", ["fork_and_stay", "thread", "stdout", "handler"])
async def test_what_a_body_leaves_ends_with_it(admin: Wire, kind: str) -> None:
    """A child that is not as it was runs no other job, and takes along what it has."""
    before = await admin.call("p.pid")
    assert (await admin.run("p.badly", kind))["state"] == "SUCCESS"
    assert not is_running(before)
    assert await admin.call("p.pid") != before


async def test_results_have_their_limit(admin: Wire) -> None:
    """A result over the limit, or without a form, does not cross; the job succeeds."""
    assert len(await admin.call("p.large", 90_000)) == 90_000
    item = await admin.run("p.large", 100_001)
    assert (item["state"], item["result"]) == ("SUCCESS", None)
    assert item["result_encoding_error"]["type"] == "TooLarge"
    item = await admin.run("p.unencodable")
    assert item["result_encoding_error"]["type"] == "EncodingError"


async def test_secrets_are_seen_by_the_caller_only(world: World, admin: Wire) -> None:
    """Result and log of a child are redacted for everybody but who called."""
    async with world.admin() as other:
        number = await admin.start("p.secrets", SECRET)
        item, seen = await admin.final(number), await other.final(number)
    assert item["result"] == {"name": "k", "key": f"result-{SECRET}"}
    assert seen["result"] == {"name": "k", "key": "********"}
    log = (await admin.call("job.read_log", number))["data"]
    words = ["logged", "printed", "written", "echoed", "raw"]
    assert sorted(line.split()[-2] for line in log.splitlines()) == sorted(words)
    assert SECRET not in log


async def test_output_goes_to_the_log(admin: Wire) -> None:
    """Lines, raw bytes, prints and what processes write are in the job's log."""
    item = await admin.run("p.chatty")
    log = await anyio.Path(item["logs_path"]).read_bytes()
    for part in (
        *(b"INFO from the logger\n", b"raw \xff bytes\n", b"printed\n"),
        *(b"to stderr\n", b"from a process\n", b"WARNING library: from a library\n"),
        *("WARNING é last\n".encode(), b"no newline at the end"),
    ):
        assert log.count(part) == 1
    assert "printed" in item["logs_excerpt"]


async def test_a_crash_says_where(admin: Wire) -> None:
    """The log of a job whose process crashed ends with the lines that it was in."""
    item = await admin.run("p.crash_with_log")
    assert item["error"].endswith("was killed by SIGSEGV")
    assert "Fatal Python error: Segmentation fault" in item["logs_excerpt"]
    assert "in crash_with_log" in item["logs_excerpt"]


async def test_progress_comes_through(admin: Wire) -> None:
    """A storm of progress becomes few events; the last one is complete."""
    number = await admin.start("p.storm", 20_000, 4)
    item = await admin.final(number)
    assert item["progress"]["description"] == "last"
    assert item["progress"]["extra"] == {"number": -1}
    assert item["description"] == "after the storm"
    assert len(admin.events(number)) < 60


# Who runs, and when.


async def test_slots_are_kept(admin: Wire, tmp_path: Path) -> None:
    """Beyond its slots a process job waits; aborted then, it is over at once."""
    held = [await hold(admin, tmp_path / str(n), name=str(n)) for n in (1, 2)]
    third = await admin.start("p.hold", str(tmp_path / "3"), "sleep", "3")
    await admin.event(third, "WAITING")
    assert (await admin.call("job.get", third))["child_pid"] is None
    await admin.call("core.job_abort", third)
    assert (await admin.final(third))["state"] == "ABORTED"
    assert admin.moves(third) == ["WAITING", "ABORTED"]
    for number in held:
        await admin.call("core.job_abort", number)
        assert (await admin.final(number))["state"] == "ABORTED"
    assert not (tmp_path / "3").exists()


async def test_the_record_names_the_process(admin: Wire, tmp_path: Path) -> None:
    """While a job runs its record has number and start of its child, never the item."""
    path = tmp_path / "held"
    number = await hold(admin, path)
    record = await admin.call("job.get", number)
    assert record["child_pid"] == int(path.read_text())
    assert record["child_started"].count(" ") == 1
    await admin.call("core.job_abort", number)
    item = await admin.final(number)
    assert "child_pid" not in item
    record = await admin.call("job.get", number)
    assert (record["child_pid"], record["child_started"]) == (None, None)


@pytest.mark.parametrize(
    "how", ["sleep", "burn", "progress", "log", "wait", "process", "deaf", "native"]
)
async def test_abort_ends_the_process(admin: Wire, tmp_path: Path, how: str) -> None:
    """ABORTED comes when the process is gone, however the body takes it."""
    path = tmp_path / "held"
    number = await hold(admin, path, how)
    pid = int(path.read_text())
    await admin.call("core.job_abort", number)
    item = await admin.final(number)
    assert item["state"] == "ABORTED"
    assert not is_running(pid)
    record = await admin.call("job.get", number)
    assert record["abort"]["overdue"] is (how in ("deaf", "native"))


async def test_an_aborted_body_may_clean(admin: Wire, tmp_path: Path) -> None:
    """The body has its grace time to bring things in order."""
    path = tmp_path / "held"
    number = await hold(admin, path, "clean")
    await admin.call("core.job_abort", number)
    assert (await admin.final(number))["state"] == "ABORTED"
    assert path.read_text() == "cleaned"


async def test_abort_ends_the_whole_family(admin: Wire, tmp_path: Path) -> None:
    """What the body started dies, though it ignores SIGTERM or has its own group.

    Not even zombies are left.
    """
    path = tmp_path / "family"
    number = await admin.start("p.family", str(path))
    assert await wait_in_thread(path.exists)
    pids = [int(text) for text in path.read_text().split()]
    assert all(map(is_running, pids))
    await admin.call("core.job_abort", number)
    assert (await admin.final(number))["state"] == "ABORTED"
    assert not any(map(is_running, pids))
    assert await wait_in_thread(lambda: not any(map(state_of, pids)))


# The pool.


async def test_children_are_recycled() -> None:
    """A child is replaced after as many jobs as the setting says."""
    async with (
        running_world(PLUGIN, process_recycle=2, process_warm=0) as world,
        world.admin() as admin,
    ):
        pids = [await admin.call("p.pid") for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert wait_ended(pids)


async def test_idle_children_end(tmp_path: Path) -> None:
    """What nobody needs any more ends after a time, but for those kept ready."""
    async with (
        running_world(PLUGIN, process_jobs=3, process_idle=0.05) as world,
        world.admin() as admin,
    ):
        numbers = [await hold(admin, tmp_path / str(n), name=str(n)) for n in range(3)]
        server = fork_server_of(tmp_path / "0")
        for number in numbers:
            await admin.call("core.job_abort", number)
            await admin.final(number)
        for _ in range(4):
            await admin.call("p.pid")
        assert await wait_in_thread(lambda: len(children_of(server)) == 1)
        assert await admin.call("p.pid") in children_of(server)


def fork_server_of(path: Path) -> int:
    """Give the fork server of the child whose number is in a file."""
    text = Path(f"/proc/{path.read_text()}/stat").read_text()
    return int(text.rpartition(")")[2].split()[1])


async def test_a_job_waits_for_its_child(tmp_path: Path) -> None:
    """Until it has a child a job is WAITING; aborted then, it leaves its lock."""
    async with (
        running_world(PLUGIN, process_warm=0, process_recycle=1) as world,
        world.admin() as admin,
    ):
        await hold(admin, tmp_path / "first", name="first")
        server = fork_server_of(tmp_path / "first")
        os.kill(server, signal.SIGSTOP)
        second = await admin.start("p.hold", str(tmp_path / "second"))
        assert (await admin.call("job.get", second))["state"] == "WAITING"
        await admin.call("core.job_abort", second)
        assert (await admin.final(second))["state"] == "ABORTED"
        third = await admin.start("p.hold", str(tmp_path / "third"))
        os.kill(server, signal.SIGCONT)
        await admin.event(third, "RUNNING")
        assert await wait_in_thread((tmp_path / "third").exists)
        await admin.call("core.job_abort", third)
        assert admin.moves(second) == ["WAITING", "ABORTED"]
    assert not (tmp_path / "second").exists()


async def test_a_dead_fork_server_is_replaced(admin: Wire, tmp_path: Path) -> None:
    """Its children die with it, their jobs say so, and the next job has a new one."""
    number = await hold(admin, tmp_path / "held")
    os.kill(fork_server_of(tmp_path / "held"), signal.SIGKILL)
    item = await admin.final(number)
    assert (item["state"], item["exc_info"]["type"]) == ("FAILED", "WorkerLost")
    assert item["error"].endswith("was lost")
    assert await admin.call("p.echo", 1) == 1


async def test_no_child_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job fails, also one that is tried again, and its slot is free."""
    async with running_world(PLUGIN, process_jobs=1) as world, world.admin() as admin:
        with monkeypatch.context() as patch:
            patch.setattr("sys.executable", "/nonexistent/python")
            item = await admin.run("p.echo", 1)
            assert item["exc_info"]["type"] == "WorkerLost"
            number = await admin.call("job.submit", "p.echo", [2], {"retries": 3})
            record = await admin.final(number)
            assert (record["state"], record["time_started"]) == ("FAILED", None)
        assert await admin.call("p.echo", 3) == 3


async def test_stop_ends_process_jobs(tmp_path: Path) -> None:
    """A stopping server records what did not end as ServerStopped, leaving nothing."""
    before = children_of(os.getpid())
    data, pids = tmp_path / "data", []
    async with running_world(PLUGIN, data_dir=data) as world, world.admin() as admin:
        for how in ("clean", "deaf"):
            await hold(admin, tmp_path / how, how, how)
            pids.append(int((tmp_path / how).read_text()))
        waiting = await admin.start("p.hold", str(tmp_path / "waiting"), "x", "deaf")
    assert (tmp_path / "clean").read_text() == "cleaned"
    assert wait_ended(pids)
    assert children_of(os.getpid()) == before
    async with running_world(PLUGIN, data_dir=data) as world, world.admin() as admin:
        for number in (1, 2):
            record = await admin.call("job.get", number)
            assert record["exc_info"]["type"] == "ServerStopped"
            assert record["child_pid"] is None
        assert (await admin.final(waiting))["state"] == "FAILED"  # no such way to hold


FRAGILE = '''
"""A plugin that the server can import and a child cannot."""

import os

if "MIDDLEWARED_CHILD_OF" in os.environ:
    raise RuntimeError("not here")

from middlewared import Plugin
from middlewared_jobs import Job, job

plugin = Plugin("fragile", requires=("jobs",))


@plugin.method
@job(process=True)
def run(job: Job) -> None:
    """Run."""
'''


async def test_a_handler_that_a_child_cannot_find_fails_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin in no module, or in one that fails to import, is named with the reason.

    The plugins folder is on the import path of children.
    """
    hidden = Plugin("hidden", requires=("jobs",))

    @hidden.method(roles=USERS)
    @job(process=True)
    def here(job: Job) -> None:
        """Be declared inside a function."""

    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "middlewared_fragile.py").write_text(FRAGILE)
    kernel = {"plugins_dir": str(tmp_path)}
    async with running_world(hidden, kernel=kernel) as world, world.admin() as admin:
        item = await admin.run("hidden.here")
        assert item["error"] == (
            "plugin 'hidden' is in no module that a child process can import, its "
            "process jobs cannot run"
        )
        item = await admin.run("fragile.run")
        assert item["exc_info"]["type"] == "PluginError"
        assert item["error"] == (
            "fragile.run cannot be imported in a child process: module "
            "'middlewared_fragile': RuntimeError: not here"
        )
    sys.modules.pop("middlewared_fragile")
