"""The server's end of one child: hands it jobs, asks it to end, learns how it ended."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys

import anyio
import anyio.to_thread
import msgspec

from middlewared import PluginError, ejson
from middlewared.plugin import Plugin
from middlewared.registry import Registry
from middlewared.tasks import Tasks
from middlewared_jobs.child import EXIT_NO_PIPE
from middlewared_jobs.ending import Aborted, Delivered, Ended, Failed
from middlewared_jobs.forkserver import Forked, ForkServer
from middlewared_jobs.frames import (
    Begun,
    FrameError,
    Frames,
    FromChild,
    Order,
    Pause,
    Quit,
    Raised,
    Returned,
    Setup,
    Update,
    encode,
)
from middlewared_jobs.outcome import EncodedResult, WorkerLost
from middlewared_jobs.plumbing import Plumbing
from middlewared_jobs.remote import rebuild
from middlewared_jobs.run import Run
from middlewared_jobs.survivors import end_session

__all__ = ["ChildProcess", "find_plugin"]

logger = logging.getLogger(__name__)

#: Seconds between the end of a child and that of its pipe, whichever comes first; a
#: process that left the session may hold the pipe, a child may go on without it.
PIPE_SECONDS = 1.0
#: Seconds that a killed process may take to be gone.
GONE_SECONDS = 5.0
#: Modules that cannot be imported by name in another process.
_UNNAMED = ("__main__", "__mp_main__")


class ChildProcess(asyncio.Protocol):
    """One child, as the server sees it; make it with `connect`.

    Attributes:
        pid: its number, also that of its session and process group.
        birth: tells it from later processes with this number.
        jobs: how many it was given.
        modules: what its jobs needed.
        fit: it may be given another one.
        gone: set when it has ended and its number may be used again.
    """

    def __init__(
        self, forked: Forked, forks: ForkServer, tasks: Tasks, setup: Setup
    ) -> None:
        self.pid = forked.pid
        self.birth = forked.birth
        self.jobs = 0
        self.modules: set[str] = set()
        self.fit = True
        self.gone = anyio.Event()
        self._forks = forks
        self._tasks = tasks
        self._setup = setup
        self._end = forked.end
        self._frames = Frames(FromChild, setup.limits.max_result)
        self._passage = forked.passage
        self._transport: asyncio.WriteTransport | None = None
        self._closed = anyio.Event()
        self._run: Run | None = None
        self._begun = False
        #: What the body did that made us kill it.
        self._blame: str | None = None
        self._outcome: asyncio.Future[Returned | Raised | None] | None = None
        self._end.add_done_callback(self._ended)

    @classmethod
    async def connect(
        cls, forked: Forked, forks: ForkServer, tasks: Tasks, setup: Setup
    ) -> "ChildProcess":
        """Take the pipe of a new child into the loop and set the child up."""
        loop = asyncio.get_running_loop()
        child = cls(forked, forks, tasks, setup)
        connected = await loop.create_unix_connection(lambda: child, sock=forked.sock)
        child._transport = connected[0]
        child._send(setup)
        return child

    # The pipe.

    def data_received(self, data: bytes) -> None:
        """Take what the child says."""
        try:
            for message in self._frames.feed(data):
                self._take(message)
        except FrameError as exc:
            self._blame = f"wrote to its pipe to the server: {exc}"
            self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the pipe; the end of the child is mostly told next."""
        self.fit = False
        self._closed.set()
        asyncio.get_running_loop().call_later(PIPE_SECONDS, self._cut_off)

    def _cut_off(self) -> None:
        """Kill a child that lives on but can no longer be talked to."""
        if not self._end.done():
            self._blame = self._blame or "closed its pipe to the server"
            self.kill()

    def _send(self, message: msgspec.Struct) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    def _take(self, message: Begun | Update | Returned | Raised) -> None:
        if self._run is None or message.id != self._run.id:
            return
        match message:
            case Begun():
                self._begun = True
            case Update():
                self._run.job._notebook.put(message.latest)
            case _:
                self._settle(message)

    def _settle(self, outcome: Returned | Raised | None) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(outcome)

    # Its end.

    def ask(self) -> None:
        """Ask it to end the body of its job."""
        self.fit = False
        if self._end.done():
            return
        if self._run is not None:
            self._send(Quit(self._run.id))
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def pause(self, *, paused: bool) -> None:
        """Let the body wait before its next step, or go on."""
        if self._run is not None:
            self._send(Pause(self._run.id, paused))

    def kill(self) -> None:
        """Kill it, and its process group with it."""
        self.fit = False
        if not self._end.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _ended(self, _: object) -> None:
        self.fit = False
        self._tasks.start(self._clear_away(), name=f"end of child {self.pid}")

    async def _clear_away(self) -> None:
        """Kill what it left, read what it said last, let its number go."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(end_session, self.pid)
            with anyio.move_on_after(PIPE_SECONDS):
                await self._closed.wait()
        if self._transport is not None:
            self._transport.abort()
        self._passage.close()
        self._forks.reap(self.pid)
        self.gone.set()
        self._settle(None)

    async def wait_gone(self) -> None:
        """Wait until it has ended, but not for ever: a dead disk may hold it."""
        with anyio.move_on_after(GONE_SECONDS, shield=True):
            await self.gone.wait()

    # A job.

    async def perform(self, run: Run) -> Ended:
        """Run the body of a job.

        When it is over, the child is fit for another one, or gone. Cancelling kills
        the child.
        """
        try:
            order = _order_of(run)
            self._pass_pipes(run.plumbing)
        except (PluginError, OSError) as exc:
            return Failed(exc)
        self.jobs += 1
        self.modules.add(order.module)
        self._run, self._begun = run, False
        self._outcome = asyncio.get_running_loop().create_future()
        if self.gone.is_set():
            self._settle(None)
        self._send(order)
        try:
            outcome = await self._outcome
        except BaseException:
            self.kill()
            raise
        self._run = None
        if outcome is None or not outcome.fit or not self.fit:
            self.kill()
            await self.wait_gone()
        return self._judge(run, outcome)

    def _pass_pipes(self, plumbing: Plumbing | None) -> None:
        """Send the descriptors of a job's pipes; the order that follows names them.

        Raises:
            OSError: the child is gone.
        """
        ends = {} if plumbing is None else plumbing.hand_over()
        try:
            if ends:
                socket.send_fds(self._passage, [b"."], list(ends.values()))
        finally:
            for descriptor in ends.values():
                os.close(descriptor)

    def _judge(self, run: Run, outcome: Returned | Raised | None) -> Ended:
        if isinstance(outcome, Returned):
            return Delivered(_result_of(outcome))
        if isinstance(outcome, Raised) and not outcome.aborted:
            return Failed(rebuild(outcome.error))
        if run.job.aborted:
            return Aborted()
        if outcome is not None:
            return Failed(WorkerLost("somebody sent SIGTERM to the job's process"))
        return Failed(WorkerLost(self._reason()))

    def _reason(self) -> str:
        """Say in words how it ended."""
        status = self._end.result() if self._end.done() else None
        when = "" if self._begun else ", before the body began"
        if status == EXIT_NO_PIPE:
            text = "closed its pipe to the server"
        elif self._blame is not None and status == -signal.SIGKILL:
            text = f"{self._blame}; it was killed"
        elif status is None:
            text = f"was lost{when}"
        elif status >= 0:
            text = f"ended with exit code {status}{when}"
        else:
            text = f"was killed by {_signal_name(-status)}{when}"
        return f"the job's process {self.pid} {text}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _result_of(returned: Returned) -> EncodedResult:
    if returned.failure is not None:
        return EncodedResult(None, None, returned.failure)
    shown = bytes(returned.shown)
    clear = bytes(returned.clear) if returned.secret else shown
    return EncodedResult(shown, clear, None)


def _order_of(run: Run) -> Order:
    """Say what the child needs to know of a job.

    Raises:
        PluginError: another process cannot find the handler.
    """
    registry, record = run.context.get(Registry), run.record
    plugin = next(p for p in registry.plugins if p.name == run.method.plugin)
    module, attribute = find_plugin(plugin, run.method.handler.__module__)
    progress, description = run.job._notebook.latest()
    return Order(
        id=run.id,
        attempt=record.attempt,
        method=record.method,
        module=module,
        attribute=attribute,
        values=msgspec.Raw(ejson.encode(run.values, clear=True)),
        progress=progress,
        description=description,
        shown=record.credentials,
        credentials=run.context.credentials,
        logs_path=record.logs_path,
        is_restart=record.is_restart,
        steps=record.steps,
        messages=record.messages[-1:],
        counts=record.counts,
        attributes=record.attributes,
        item_errors=record.item_errors,
        checkpoint=record.checkpoint,
        paused=run.job._gate.closed,
        pipes=() if run.plumbing is None else tuple(run.plumbing.waiting),
    )


def find_plugin(plugin: Plugin, hint: str) -> tuple[str, str]:
    """Find a module that has a plugin as a global, and its name there.

    Args:
        plugin: the plugin.
        hint: the module of a handler; it and the packages around it come first.

    Raises:
        PluginError: no module has it, or only one that cannot be imported by name.
    """
    parts = hint.split(".")
    near = [".".join(parts[: n + 1]) for n in range(len(parts))]
    for name in (*near, *sys.modules):
        module = sys.modules.get(name)
        if module is None or name in _UNNAMED:
            continue
        for attribute, value in list(vars(module).items()):
            if value is plugin:
                return name, attribute
    raise PluginError(
        f"plugin {plugin.name!r} is in no module that a child process can import, its "
        "process jobs cannot run"
    )
