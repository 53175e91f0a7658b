"""The pool of children: forked when needed, used again, recycled."""

import asyncio
import logging
import os
from collections.abc import Callable

import anyio
import msgspec

from middlewared import Context
from middlewared.plugin import Plugin
from middlewared.registry import Registry
from middlewared.tasks import Tasks
from middlewared_jobs.childprocess import ChildProcess
from middlewared_jobs.forkserver import ForkError, ForkServer
from middlewared_jobs.frames import Setup
from middlewared_jobs.outcome import WorkerLost
from middlewared_jobs.run import Run
from middlewared_jobs.settings import JobSettings

__all__ = ["Processes", "count_slots"]

logger = logging.getLogger(__name__)

#: Seconds that killed children may take to be gone when the server stops.
CLOSE_SECONDS = 5.0

#: Called once a job has its child, with None, or with the reason why it gets none.
Ready = Callable[[Exception | None], None]


def count_slots(settings: JobSettings) -> int:
    """Say how many process jobs run at one time."""
    return settings.process_jobs or len(os.sched_getaffinity(0))


class Processes:
    """Gives each process job a child of its own, while it runs.

    Nothing is started before the first process job. From then on some idle children
    are kept ready; what is beyond them ends after a time without work.
    """

    def __init__(self, context: Context, settings: JobSettings) -> None:
        self._settings = settings
        self._tasks = context.get(Tasks)
        self._loop = asyncio.get_running_loop()
        self._forks = ForkServer(context.settings.data_path)
        self._setup = Setup(
            context.settings,
            settings,
            _tables(context.get(Registry).plugins),
        )
        self._children: set[ChildProcess] = set()
        #: The one used last comes last.
        self._idle: list[ChildProcess] = []
        self._waiting: dict[Run, Ready] = {}
        self._modules: set[str] = set()
        self._forking = 0
        self._closing = False

    def equip(self, run: Run, ready: Ready) -> None:
        """Give a job a child, at once when one is idle, and call *ready*."""
        self._idle = [child for child in self._idle if child.fit]
        self._waiting[run] = ready
        if self._idle:
            self._hand_out(self._idle.pop())
        elif self._forking < len(self._waiting):
            self._start_fork()
        spare = len(self._idle) + self._forking - len(self._waiting)
        if spare < self._settings.process_warm:
            self._start_fork()

    @property
    def starting(self) -> int:
        """How many jobs wait for their child."""
        return len(self._waiting)

    def forget(self, run: Run) -> bool:
        """Give a job up that waits for its child; False when it does not."""
        return self._waiting.pop(run, None) is not None

    def release(self, run: Run) -> None:
        """Take back the child of a job, if it has one."""
        child, record = run.child, run.record
        if child is None and record.child_pid is None:
            return
        run.child = record.child_pid = record.child_started = None
        if isinstance(child, ChildProcess):
            self._modules |= child.modules
            self._keep(child)

    def _start_fork(self) -> None:
        self._forking += 1
        self._tasks.start(self._fork(), name="fork of a child")

    async def _fork(self) -> None:
        try:
            child = await self._make()
        except (ForkError, OSError, TypeError, ValueError) as exc:
            self._forking -= 1
            self._refuse(exc)
            return
        self._forking -= 1
        self._children.add(child)
        self._tasks.start(self._forget_gone(child), name=f"watch of child {child.pid}")
        self._keep(child, new=True)

    async def _make(self) -> ChildProcess:
        """Make a child that has imported what earlier jobs needed.

        Raises:
            ForkError: there is no child.
            ValueError: the settings cannot be sent to it.
        """
        setup = msgspec.structs.replace(self._setup, modules=tuple(self._modules))
        forked = await self._forks.fork()
        try:
            return await ChildProcess.connect(forked, self._forks, self._tasks, setup)
        except BaseException:
            forked.close()
            raise

    async def _forget_gone(self, child: ChildProcess) -> None:
        await child.gone.wait()
        self._children.discard(child)

    def _refuse(self, exc: Exception) -> None:
        """Tell a job that waits in vain that there is no child for it."""
        logger.error("%s", exc)
        if len(self._waiting) > self._forking:
            run = next(iter(self._waiting))
            self._waiting.pop(run)(WorkerLost(str(exc)))

    def _keep(self, child: ChildProcess, *, new: bool = False) -> None:
        """Give a child to who waits, or keep it for who comes."""
        worn = child.jobs >= self._settings.process_recycle
        if self._closing or worn or not child.fit:
            child.kill()
            if new:
                self._refuse(ForkError(f"child process {child.pid} ended at once"))
            elif len(self._waiting) > self._forking:
                self._start_fork()
        elif self._waiting:
            self._hand_out(child)
        else:
            self._idle.insert(0 if new else len(self._idle), child)
            seconds = self._settings.process_idle
            self._loop.call_later(seconds, self._trim, child, child.jobs)

    def _hand_out(self, child: ChildProcess) -> None:
        run = next(iter(self._waiting))
        ready = self._waiting.pop(run)
        run.child = child
        run.record.child_pid, run.record.child_started = child.pid, child.birth
        ready(None)

    def _trim(self, child: ChildProcess, jobs: int) -> None:
        """End a child that had no work for a time, unless it is kept ready."""
        if child.jobs != jobs or child not in self._idle:
            return
        if len(self._idle) > self._settings.process_warm:
            self._idle.remove(child)
            child.kill()

    async def close(self) -> None:
        """End every child and wait for it, for a time."""
        self._closing = True
        self._waiting.clear()
        with anyio.CancelScope(shield=True):
            for child in self._children:
                child.kill()
            with anyio.move_on_after(CLOSE_SECONDS):
                for child in list(self._children):
                    await child.gone.wait()
            await self._forks.close()


def _tables(plugins: tuple[Plugin, ...]) -> dict[str, str]:
    """Name the plugin of each settings struct."""
    return {
        f"{p.settings.__module__}.{p.settings.__qualname__}": p.name
        for p in plugins
        if p.settings is not None
    }
