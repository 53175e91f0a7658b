"""The fork server: children in milliseconds, whose end is always told."""

import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest
from process_table import (
    children_of,
    is_running,
    session_of,
    state_of,
    wait_ended,
    wait_in_thread,
    wait_until,
)

from middlewared_jobs.forkserver import Forked, ForkError, ForkServer
from middlewared_jobs.survivors import CHILD_OF, birth_of

PATIENCE = 20.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the data directory."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
async def forks(folder: Path) -> AsyncIterator[ForkServer]:
    """Give a fork server, which starts with the first fork."""
    found = ForkServer(folder)
    yield found
    await found.close()


async def end_of(forked: Forked) -> int | None:
    """Wait for the end of a child."""
    with anyio.fail_after(PATIENCE):
        return await forked.end


def is_named_child(comm: str) -> bool:
    """Tell whether a process goes by the name of a child."""
    return read(comm) == "mw-child\n"


def server_of(forked: Forked) -> int:
    """Give the number of the fork server that made a child."""
    text = Path(f"/proc/{forked.pid}/stat").read_text()
    return int(text.rpartition(")")[2].split()[1])


async def test_children_are_sessions_of_their_own(
    forks: ForkServer, folder: Path
) -> None:
    """A child leads its session, has its birth, our mark, a name, and dies first."""
    one, other = await forks.fork(), await forks.fork()
    assert one.pid != other.pid
    for forked in (one, other):
        assert session_of(forked.pid) == os.getpgid(forked.pid) == forked.pid
        assert birth_of(forked.pid) == forked.birth
        environment = read(f"/proc/{forked.pid}/environ").split("\0")
        assert f"{CHILD_OF}={folder}" in environment
        comm = f"/proc/{forked.pid}/comm"
        assert wait_until(partial(is_named_child, comm))
        assert int(read(f"/proc/{forked.pid}/oom_score_adj")) > 0
        forked.close()
        assert await end_of(forked) == -signal.SIGKILL
        forks.reap(forked.pid)


def is_named(pid: int, name: str) -> bool:
    """Tell whether a process shows this name."""
    return read(f"/proc/{pid}/comm") == f"{name}\n"


def read(path: str) -> str:
    """Read a text."""
    return Path(path).read_text()


def server_of_any(forks: ForkServer) -> int:
    """Give the number of the fork server."""
    assert forks._process is not None
    return forks._process.pid


async def test_the_end_of_a_child_is_told_before_its_number_is_free(
    forks: ForkServer,
) -> None:
    """It stays a zombie until it is reaped, so that no signal meets another process."""
    forked = await forks.fork()
    os.kill(forked.pid, signal.SIGSEGV)
    assert await end_of(forked) == -signal.SIGSEGV
    assert state_of(forked.pid) == "Z"
    forks.reap(forked.pid)
    assert await wait_in_thread(lambda: state_of(forked.pid) is None)
    forked.close()


async def test_a_dead_fork_server_takes_its_children_along(forks: ForkServer) -> None:
    """Children die with it, their end is told as unknown, the next fork works."""
    forked = await forks.fork()
    server = server_of(forked)
    os.kill(server, signal.SIGKILL)
    assert await end_of(forked) is None
    assert wait_ended([forked.pid, server])
    forked.close()
    again = await forks.fork()
    assert is_running(again.pid)
    assert server_of(again) != server
    again.close()


async def test_signals_to_all_do_not_end_it(forks: ForkServer) -> None:
    """Whoever tells all processes to stop leaves the decision to the server."""
    forked = await forks.fork()
    server = server_of(forked)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(server, number)
    (await forks.fork()).close()
    assert is_running(server)
    forked.close()


async def test_nothing_is_left(tmp_path: Path) -> None:
    """After `close` neither the fork server nor a child runs or is a zombie."""
    before = children_of(os.getpid())
    forks = ForkServer(tmp_path)
    pids = []
    for _ in range(3):
        forked = await forks.fork()
        pids.append(forked.pid)
        forked.close()
    pids.append(server_of_any(forks))
    await forks.close()
    await forks.close()
    assert wait_ended(pids)
    assert children_of(os.getpid()) == before


async def test_an_abandoned_fork_leaves_no_child(forks: ForkServer) -> None:
    """A child that nobody waits for any more ends by itself."""
    first = await forks.fork()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(forks.fork)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    second = await forks.fork()
    server = server_of(second)
    both = {first.pid, second.pid}
    assert await wait_in_thread(
        lambda: set(filter(is_running, children_of(server))) == both
    )
    for forked in (first, second):
        forked.close()


async def test_a_refused_fork_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that cannot be started, or cannot import us, is an error."""
    forks = ForkServer(folder)
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", "/nonexistent/python")
        with pytest.raises(ForkError, match="no child process could be started"):
            await forks.fork()
    with monkeypatch.context() as patch:
        patch.setattr("sys.path", ["/nonexistent"])
        with pytest.raises(ForkError, match="the fork server ended with code 1"):
            await forks.fork()
    forked = await forks.fork()
    assert is_running(forked.pid)
    forked.close()
    await forks.close()
