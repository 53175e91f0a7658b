"""A job that has not ended: its record, its body, and who waits for it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import msgspec

from middlewared import Audience, Credentials, Date
from middlewared.context import Context
from middlewared.errors import CallError
from middlewared.plugin import Method
from middlewared_jobs.announcement import Announcement
from middlewared_jobs.current_job import Job
from middlewared_jobs.ending import Ended
from middlewared_jobs.insiders import Insiders
from middlewared_jobs.notes import Exit, ItemError
from middlewared_jobs.plumbing import Plumbing
from middlewared_jobs.record import JobRecord
from middlewared_jobs.spec import JobSpec, Kind

if TYPE_CHECKING:
    from middlewared_jobs.submission import Submission

__all__ = ["AdoptedChild", "Child", "Offspring", "Run"]


def _settled(exc: Exception | None) -> None:
    """Stand in for `Run.accepting` once it was called, or is not needed."""


class Offspring(Protocol):
    """A child process of a job, as those who end jobs see it."""

    def ask(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """Kill it, and its process group with it."""
        ...


class Child(Offspring, Protocol):
    """The child process that runs the body of a job."""

    async def perform(self, run: "Run") -> Ended:
        """Run the body of a job."""
        ...

    def pause(self, *, paused: bool) -> None:
        """Let the body wait before its next step, or go on."""
        ...


class AdoptedChild(Offspring, Protocol):
    """A child process that the body started.

    Attributes:
        pid: its number.
        grace: seconds that it has after an abort; None for ``abort_grace``.
    """

    pid: int
    grace: float | None

    def let_go(self) -> None:
        """Kill what is left of its session, and forget its number."""
        ...


class Run(msgspec.Struct, eq=False, kw_only=True):
    """One unfinished job in memory; the truth about it until its end is committed.

    Attributes:
        record: what is stored and shown.
        method: the method, and with it the handler.
        spec: how its jobs are run.
        values: bound params.
        params: the params as they are stored.
        audience: who may see it.
        limits: keys that it counts against while it runs, with their limits.
        who: with whose rights the body runs.
        make_job: makes what the body sees.
        queued: it is in the queue of those that could start.
        accepted: its first row is committed, so its id may be known outside.
        accepting: to call with the outcome of the write of its first row; does nothing
            when that was settled.
        waiters: to call once its end is committed.
        watchers: to call when its progress has changed.
        awaits: jobs that its body waits for, which use its slot meanwhile.
        joining: wishes that share it as soon as it is accepted.
        insiders: sessions whose call created or joined it, and see the secrets in its
            result; None when its results have none.
        scope: cancels an async body, while it runs.
        waits: cancel what its body waits for.
        child: runs the body of a process job; its own from before it is RUNNING.
        adopted: a child process that the body started.
        plumbing: its pipes, None when it has none.
        error: the exception that its body raised.
        expired: why the body was asked to end, when it took too long.
        clear: the encoded result with its secrets.
        exit: how it comes out, as the body chose.
        item_errors: noted and not written yet; of a transient job, all of them.
        began: when this attempt began, by the monotonic clock, if it may take too long.
        started_at: when this attempt began.
        log_start: where its lines begin in the log, bytes.
        paused_at: since when it stands paused, by the monotonic clock.
        paused: seconds that this attempt stood paused before.
        doing: its progress text before it was paused.
        untold: moves that the next write is to number and keep.
        told: what its last event showed, as `change_of` says it, when that is known.
        loose_at: when something was told of it last that has no number, by the loop.
        over: its end is committed.
    """

    record: JobRecord
    method: Method
    spec: JobSpec
    values: list[Any]
    limits: tuple[tuple[str, int], ...]
    id: int
    lock: str | None
    priority: int
    kind: Kind
    audience: Audience
    who: Credentials | None
    make_job: "Callable[[Run], Job]"
    params: bytes | None = None
    queued: bool = False
    accepted: bool = False
    accepting: Callable[[Exception | None], None] = _settled
    joining: "tuple[Submission, ...]" = ()
    waiters: tuple[Callable[[], None], ...] = ()
    watchers: tuple[Callable[[], None], ...] = ()
    awaits: "tuple[Run, ...]" = ()
    insiders: Insiders | None = None
    scope: anyio.CancelScope | None = None
    waits: tuple[anyio.CancelScope, ...] = ()
    child: Child | None = None
    adopted: AdoptedChild | None = None
    plumbing: Plumbing | None = None
    error: BaseException | None = None
    expired: CallError | None = None
    clear: bytes | None = None
    exit: Exit | None = None
    item_errors: list[ItemError] = []
    began: float = 0.0
    started_at: Date | None = None
    log_start: int = 0
    paused_at: float | None = None
    paused: float = 0.0
    doing: str | None = None
    progress_due: bool = False
    urgent_due: bool = False
    progress_at: float = 0.0
    untold: tuple[Announcement, ...] = ()
    told: bytes | None = None
    loose_at: float = 0.0
    over: bool = False
    _job: Job | None = None
    _ended: asyncio.Future[JobRecord] | None = None

    @property
    def job(self) -> Job:
        """What the body sees; made when it is needed, anew for each attempt."""
        if self._job is None:
            self._job = self.make_job(self)
        return self._job

    def drop_job(self) -> None:
        """Let the next attempt have a new one: what the old one says is not heard."""
        self._job = None

    @property
    def ended(self) -> asyncio.Future[JobRecord]:
        """Resolved with the record when the end is committed; made when asked for."""
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
            if self.over:
                self._ended.set_result(self.record)
        return self._ended

    def finish(self) -> None:
        """Take note that the end is committed; let go of what the body saw.

        The two know each other, and would wait for the garbage collector.
        """
        self.over, self._job = True, None
        if self._ended is not None:
            self._ended.set_result(self.record)

    @property
    def offspring(self) -> list[Offspring]:
        """The child processes that end with the job."""
        return [child for child in (self.child, self.adopted) if child is not None]

    @property
    def context(self) -> Context:
        """The rights that the body runs with."""
        return self.job.context

    def settle(self) -> None:
        """Let go of `accepting`: it is called once, and holds the run."""
        self.accepting = _settled
