"""A child process that a body starts itself ends with its job."""

import errno
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.from_thread
import pytest
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire
from process_table import is_running, wait_ended, wait_in_thread

from middlewared import CallError, Plugin
from middlewared_jobs import CHILD_OF, Job, job
from middlewared_jobs.adopted import Adopted, adopt, release
from middlewared_jobs.jobs import Jobs

#: Says that it is there, and that it was told to end; a child of it ignores that.
FAMILY = """
(trap '' TERM; echo $(sh -c 'echo $PPID') > "$1/one"; exec sleep 60) &
trap 'echo told > "$1/told"; %s' TERM
while [ ! -s "$1/one" ]; do sleep 0.01; done
echo $$ > "$1/two"
while :; do sleep 0.01; done
"""
HEEDS = FAMILY % "exit 5"
IGNORES = FAMILY % ":"

#: Children that a body forgot.
LEFT: list[subprocess.Popen[bytes]] = []

plugin = Plugin("kin", requires=("jobs",))


def begin(script: str, folder: str, data_dir: object = "") -> subprocess.Popen[bytes]:
    """Start a shell with a session of its own."""
    environment = os.environ | {CHILD_OF: str(data_dir)}
    command = ["sh", "-c", script, "sh", folder]
    return subprocess.Popen(command, env=environment, start_new_session=True)


@plugin.method(roles=USERS)
@job(abortable=True, logs=True)
async def in_loop(job: Job, script: str, folder: str, grace: float = 0.2) -> int:
    """Run a shell in the loop."""
    process = begin(script, folder, job.context.settings.data_path)
    try:
        await job.adopt(process.pid, grace=grace)
        return await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(process.wait)


@plugin.method(roles=USERS)
@job(abortable=True, logs=True)
def in_thread(job: Job, script: str, folder: str, grace: float = 0.2) -> int:
    """Run a shell in a thread."""
    process = begin(script, folder, job.context.settings.data_path)

    async def adopt() -> None:
        await job.adopt(process.pid, grace=grace)

    anyio.from_thread.run(adopt)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    job.release()
    code = process.wait()
    job.check_aborted()
    return code


@plugin.method(roles=USERS)
@job
async def leave(job: Job, script: str, folder: str) -> None:
    """Start a shell and forget it."""
    LEFT.append(begin(script, folder))
    await job.adopt(LEFT[-1].pid)
    assert await wait_in_thread((Path(folder) / "two").exists)


@plugin.method(roles=USERS)
@job
async def badly(job: Job, kind: str) -> None:
    """Adopt what cannot be adopted."""
    process = begin("sleep 60", "/")
    try:
        if kind == "twice":
            await job.adopt(process.pid)
        wrong = {"twice": process.pid, "thread": os.getpid(), "gone": 2**22 + 1}
        await job.adopt(wrong[kind])
    finally:
        process.kill()
        process.wait()


@plugin.method(roles=USERS)
@job(process=True)
def in_process(job: Job) -> None:
    """Adopt where there is no row."""
    anyio.run(job.adopt, os.getpid())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running_world(plugin) as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    async with world.admin() as wire:
        yield wire


async def family(folder: Path) -> list[int]:
    """Wait until a family is there; give its numbers, the leader's last."""
    assert await wait_in_thread((folder / "two").exists)
    assert await wait_in_thread((folder / "two").read_text)
    return [int((folder / name).read_text()) for name in ("one", "two")]


@pytest.mark.parametrize("method", ["kin.in_loop", "kin.in_thread"])
async def test_an_abort_ends_the_group(
    admin: Wire, tmp_path: Path, method: str
) -> None:
    """SIGTERM goes to the whole group; what is left when the child ends is killed."""
    number = await admin.start(method, HEEDS, str(tmp_path), 30.0)
    pids = await family(tmp_path)
    shown = await admin.call("job.get", number)
    assert shown["child_pid"] == pids[1]
    assert shown["child_started"]
    await admin.call("job.abort", number)
    final = await admin.final(number)
    assert final["state"] == "ABORTED"
    assert (tmp_path / "told").exists()
    assert wait_ended(pids)
    assert (await admin.call("job.get", number))["child_pid"] is None


async def test_a_child_that_ignores_an_abort_is_killed(
    admin: Wire, tmp_path: Path
) -> None:
    """After the grace time that was asked for comes SIGKILL, and it is reported."""
    number = await admin.start("kin.in_thread", IGNORES, str(tmp_path))
    pids = await family(tmp_path)
    await admin.call("job.abort", number)
    final = await admin.final(number)
    assert final["state"] == "ABORTED"
    assert "not honoured for 0.2 s, its process is killed" in final["logs_excerpt"]
    assert not any(map(is_running, pids))


async def test_what_stands_still_hears_an_abort(admin: Wire, tmp_path: Path) -> None:
    """A stopped process is woken, so that it can end by itself."""
    number = await admin.start("kin.in_thread", HEEDS, str(tmp_path), 30.0)
    pids = await family(tmp_path)
    os.kill(pids[1], signal.SIGSTOP)
    await admin.call("job.abort", number)
    assert (await admin.final(number))["state"] == "ABORTED"


async def test_a_forgotten_child_ends_with_its_job(admin: Wire, tmp_path: Path) -> None:
    """A body that returns leaves nothing behind."""
    final = await admin.run("kin.leave", IGNORES, str(tmp_path))
    assert final["state"] == "SUCCESS"
    assert wait_ended(await family(tmp_path))
    assert LEFT.pop().wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("kind", "number"),
    [("twice", errno.EBUSY), ("thread", errno.EINVAL), ("gone", errno.EINVAL)],
)
async def test_what_cannot_be_adopted(admin: Wire, kind: str, number: int) -> None:
    """A second one, a process that leads no session, a number of nobody."""
    final = await admin.run("kin.badly", kind)
    assert final["exc_info"]["errno"] == number
    assert "adopted" in final["error"]


async def test_not_from_a_child_process(admin: Wire) -> None:
    """The body of a process job has no row to write: it ends with its own process."""
    final = await admin.run("kin.in_process")
    assert final["exc_info"]["errno"] == errno.EOPNOTSUPP


async def test_a_number_used_again_is_spared(world: World, tmp_path: Path) -> None:
    """After the child was waited for, nobody is signalled in its place."""
    process = begin("sleep 60", str(tmp_path))
    stranger = Adopted(process.pid, "another boot 1", tmp_path, None)
    for end in (stranger.ask, stranger.kill, stranger.let_go):
        end()
    assert is_running(process.pid)
    process.kill()
    process.wait()


async def test_a_row_that_cannot_be_written(tmp_path: Path) -> None:
    """The body hears that its child is not in the database, and may end it."""
    async with running_world(plugin) as world, world.admin() as admin:
        jobs = world.server.context.get(Jobs)
        number = await admin.start("t.hold", "x")
        run = jobs.live[number]
        process = begin("sleep 60", str(tmp_path))

        def save(run: object, saved: object) -> None:
            saved(OSError(errno.ENOSPC, "No space left"))  # type: ignore[operator]

        with pytest.raises(CallError, match="could not be written") as raised:
            await adopt(run, save, process.pid, None)
        assert raised.value.errno == errno.EIO
        release(run)
        assert process.wait() == -signal.SIGKILL
        world.stage.open("x")
        await admin.final(number)
