"""A child, spoken to over its pipe as the server does."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import jobs_in_children
import msgspec
import pytest
from process_table import is_running, wait_ended, wait_until

from middlewared.settings import Settings
from middlewared_jobs.child import EXIT_NO_PIPE
from middlewared_jobs.forkserver import Forked, ForkServer
from middlewared_jobs.frames import (
    Begun,
    Frames,
    FromChild,
    Order,
    Quit,
    Raised,
    Returned,
    Setup,
    Update,
    encode,
)
from middlewared_jobs.record import CoreGetJobsItemProgress
from middlewared_jobs.settings import JobSettings

PATIENCE = 20.0
LIMITS = JobSettings(max_result=1000, max_progress_extra=200)


class Talk:
    """One child and the conversation with it."""

    def __init__(self, forked: Forked, data_dir: Path) -> None:
        self.pid = forked.pid
        self.forked = forked
        self._socket = forked.sock
        self._socket.settimeout(PATIENCE)
        self._frames = Frames(FromChild, LIMITS.max_result)
        self._heard: list[Any] = []
        self._count = 0
        self.say(Setup(Settings(data_dir=str(data_dir)), LIMITS, {}, ("json", "no")))

    def say(self, message: msgspec.Struct) -> None:
        """Send a message."""
        self._socket.sendall(encode(message))

    def hear(self) -> Any:
        """Wait for the next message; None when the child has closed its end."""
        while not self._heard:
            try:
                data = self._socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._heard += self._frames.feed(data)
        return self._heard.pop(0)

    def order(self, method: str, *values: Any, **changes: Any) -> int:
        """Order a job without waiting for it."""
        self._count += 1
        order = Order(
            id=self._count,
            attempt=1,
            method=method,
            module=jobs_in_children.__name__,
            attribute="plugin",
            values=msgspec.Raw(msgspec.json.encode(values)),
            progress=CoreGetJobsItemProgress(),
            description=None,
            shown=None,
            credentials=None,
            logs_path=None,
        )
        self.say(msgspec.structs.replace(order, **changes))
        return self._count

    def end(self) -> tuple[list[Update], Any]:
        """Wait until the job is over; give the updates, and how it ended."""
        updates = []
        while True:
            message = self.hear()
            if isinstance(message, Update):
                updates.append(message)
            elif not isinstance(message, Begun):
                return updates, message

    def run(self, method: str, *values: Any, **changes: Any) -> Any:
        """Run a job and give how it ended."""
        self.order(method, *values, **changes)
        return self.end()[1]

    def value(self, method: str, *values: Any) -> Any:
        """Run a job and give its result."""
        ended = self.run(method, *values)
        assert isinstance(ended, Returned), ended
        return msgspec.json.decode(ended.shown)

    def hold(self, path: Path, how: str) -> None:
        """Order a job that goes on until it is ended, and wait until it does."""
        self.order("p.hold", str(path), how)
        assert isinstance(self.hear(), Begun)
        assert wait_until(path.exists)

    def close(self) -> None:
        """Close the pipe."""
        self.forked.close()


@pytest.fixture(scope="module")
async def forks(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ForkServer]:
    """Give the fork server of this module."""
    found = ForkServer(tmp_path_factory.mktemp("data"))
    yield found
    await found.close()


@pytest.fixture
async def child(forks: ForkServer, tmp_path: Path) -> AsyncIterator[Talk]:
    """Give a new child."""
    talk = Talk(await forks.fork(), tmp_path)
    yield talk
    talk.close()
    with anyio.fail_after(PATIENCE):
        await talk.forked.end
    forks.reap(talk.pid)


async def exit_of(child: Talk) -> int | None:
    """Wait for the end of a child."""
    with anyio.fail_after(PATIENCE):
        return await child.forked.end


async def test_jobs_run_one_after_another_in_one_process(child: Talk) -> None:
    """Orders are run in their order, each is begun, ended, and leaves the child fit."""
    for number in (1, 2):
        assert child.order("p.pid") == number
        assert child.hear() == Begun(number)
        ended = child.hear()
        assert (ended.id, ended.fit) == (number, True)
        assert msgspec.json.decode(ended.shown) == child.pid


async def test_params_keep_their_types(child: Talk) -> None:
    """Extended values, defaults and keyword-only params arrive as in a thread."""
    date = {"$date": 1_800_000_000_000}
    assert child.value("p.echo", {"at": date}) == {"at": date}
    assert child.value("p.echo") is None
    assert child.value("p.echo", "x", 2) == ["x", "x"]
    wrong = child.run("p.echo", "x", "many")
    assert wrong.error.extra == [["times", "Expected `int`, got `str`", 22]]


async def test_the_end_names_what_cannot_be_sent(child: Talk) -> None:
    """A result over the limit, or without a form, ends the job with the reason."""
    assert child.value("p.large", 900) == "x" * 900
    assert child.run("p.large", 1001).failure.type == "TooLarge"
    assert child.run("p.unencodable").failure.type == "EncodingError"


async def test_a_module_that_is_not_there_fails_the_job(child: Talk) -> None:
    """What cannot be imported, or does not declare the method, is named."""
    found = child.run("p.pid", module="not_there")
    assert "module 'not_there': ModuleNotFoundError" in found.error.text
    assert found.fit
    found = child.run("p.pid", attribute="USERS")
    assert found.error.text == (
        "p.pid cannot be found in a child process: jobs_in_children.USERS does not "
        "declare it there"
    )
    assert child.value("p.pid") == child.pid


async def test_progress_is_coalesced(child: Talk) -> None:
    """However often a body sets it, few updates cross, and the last one does."""
    started = time.monotonic()
    child.order("p.storm", 40_000, 4)
    updates, ended = child.end()
    seconds = time.monotonic() - started
    assert isinstance(ended, Returned)
    assert updates[-1].latest.progress == CoreGetJobsItemProgress(
        99, "last", {"number": -1}
    )
    assert updates[-1].latest.description == "after the storm"
    assert 1 <= len(updates) <= 3 + 20 * seconds


async def test_an_extra_that_cannot_be_sent_costs_only_itself(child: Talk) -> None:
    """Progress without a form on the wire, or too large, comes without its extra."""
    child.order("p.odd_progress")
    updates, ended = child.end()
    assert isinstance(ended, Returned)
    assert updates[-1].latest.progress == CoreGetJobsItemProgress(
        30, "file \\udcff", None
    )


@pytest.mark.parametrize("how", ["sleep", "burn", "progress", "log", "wait", "process"])
async def test_sigterm_raises_in_the_body(
    child: Talk, tmp_path: Path, how: str
) -> None:
    """Wherever the body is, also in code of ours, it is raised there and nothing tears.

    A child that was asked to end is not fit for another job.
    """
    child.hold(tmp_path / "held", how)
    os.kill(child.pid, signal.SIGTERM)
    with contextlib.suppress(BrokenPipeError):  # the signal alone may be quick enough
        child.say(Quit(1))
    _, ended = child.end()
    assert isinstance(ended, Raised)
    assert (ended.aborted, ended.fit, ended.error.name) == (True, False, "JobAborted")


async def test_a_reminder_alone_is_enough(child: Talk, tmp_path: Path) -> None:
    """The message that comes with SIGTERM ends the body, too, but no other job's."""
    path = tmp_path / "held"
    child.hold(path, "clean")
    child.say(Quit(7))
    child.say(Quit(1))
    assert child.end()[1].aborted
    assert path.read_text() == "cleaned"


async def test_a_job_that_shall_end_before_it_began(child: Talk) -> None:
    """The message that overtakes the order ends its job, though no signal comes."""
    child.say(Quit(1))
    ended = child.run("p.hold", "nowhere", "sleep")
    assert isinstance(ended, Raised)
    assert (ended.aborted, ended.fit) == (True, False)


async def test_sigterm_without_a_job_ends_the_child(child: Talk) -> None:
    """A child that does nothing has nothing to clean."""
    assert child.value("p.pid") == child.pid
    os.kill(child.pid, signal.SIGTERM)
    assert child.hear() is None
    assert await exit_of(child) == 0


async def test_the_end_of_the_pipe_ends_everything(child: Talk, tmp_path: Path) -> None:
    """When the server goes, child and group are killed, whether they listen or not."""
    path = tmp_path / "family"
    child.order("p.family", str(path))
    assert wait_until(path.exists)
    pids = [int(text) for text in path.read_text().split()]
    assert child.pid in pids
    ours = [pid for pid in pids if os.getpgid(pid) == child.pid]
    child.close()
    assert await exit_of(child) == -signal.SIGKILL
    assert wait_ended(ours)
    for pid in filter(is_running, pids):
        os.kill(pid, signal.SIGKILL)  # a group of its own: the server's part to end


#: What becomes of a child whose body does this: exit status; None when it lives on.
ENDS = {
    "segfault": -signal.SIGSEGV,
    "os_exit": 3,
    "os_exit_0": 0,
    "kill": -signal.SIGKILL,
    "abort": -signal.SIGABRT,
    "take_over": EXIT_NO_PIPE,
    "close_everything": EXIT_NO_PIPE,
}


@pytest.mark.parametrize("kind", ENDS)
async def test_a_body_that_ends_its_process(child: Talk, kind: str) -> None:
    """The pipe ends without an outcome, and the exit status is the true one."""
    child.order("p.badly", kind)
    assert isinstance(child.hear(), Begun)
    assert child.hear() is None
    assert await exit_of(child) == ENDS[kind]


@pytest.mark.parametrize("kind", ["chdir", "umask", "environ", "no_stdout", "alarm"])
async def test_what_a_body_changes_is_put_back(child: Talk, kind: str) -> None:
    """The next job finds folder, umask, environment and output as they were."""
    before = child.value("p.state_of_child")
    assert child.run("p.badly", kind).fit
    assert child.value("p.state_of_child") == before


@pytest.mark.parametrize("kind", ["stdout", "thread", "handler", "fork_and_stay"])
async def test_what_cannot_be_put_back_makes_a_child_unfit(
    child: Talk, kind: str
) -> None:
    """The job itself ends well; the child says that it should run no other."""
    ended = child.run("p.badly", kind)
    assert isinstance(ended, Returned)
    assert not ended.fit


async def test_a_fork_of_the_body_is_not_the_job(child: Talk) -> None:
    """One outcome comes, though two processes returned from the body."""
    assert isinstance(child.run("p.badly", "fork_and_return"), Returned)
    assert child.value("p.pid") == child.pid


async def test_garbage_on_the_pipe_ends_the_child(child: Talk) -> None:
    """A server that does not keep to the frames is none."""
    assert isinstance(child.forked.sock, socket.socket)
    child.forked.sock.sendall(b"\xff" * 64)
    assert child.hear() is None
    assert await exit_of(child) == -signal.SIGKILL
