"""A job that has not ended: its record, its body, and who waits for it."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import anyio

from middlewared.context import Context
from middlewared.dispatch import Call
from middlewared.plugin import Method
from middlewared.session import ClientSession
from middlewared_jobs.current_job import Job
from middlewared_jobs.ending import Ended
from middlewared_jobs.record import JobRecord
from middlewared_jobs.spec import JobSpec

__all__ = ["AdoptedChild", "Child", "Offspring", "Run"]


def _unexpected(exc: Exception | None) -> None:
    """Stand in for a callback that a run from an earlier start never needs."""


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


class Run:
    """One unfinished job in memory; the truth about it until its end is committed.

    Attributes:
        record: what is stored and shown.
        method: the method, and with it the handler.
        spec: how its jobs are run.
        values: bound params.
        params: the params as they are stored.
        job: what the body sees.
        accepted: its first row is committed, so its id may be known outside.
        accepting: to call with the outcome of the write of its first row.
        calls: calls to answer when it ends.
        joining: calls that share it as soon as it is accepted.
        insiders: sessions whose call created or joined it; they see its secrets.
        scope: cancels an async body, while it runs.
        child: runs the body of a process job; its own from before it is RUNNING.
        adopted: a child process that the body started.
        ended: resolved with the error, or None, when the end is committed.
        error: the exception that its body raised.
        clear: the encoded result with its secrets.
    """

    __slots__ = (
        "accepted",
        "accepting",
        "adopted",
        "calls",
        "child",
        "clear",
        "ended",
        "error",
        "id",
        "insiders",
        "job",
        "joining",
        "kind",
        "lock",
        "method",
        "params",
        "progress_at",
        "progress_due",
        "record",
        "scope",
        "spec",
        "values",
    )

    def __init__(
        self,
        record: JobRecord,
        method: Method,
        spec: JobSpec,
        values: list[Any],
        params: bytes | None,
        job: Job,
    ) -> None:
        self.id = record.id
        self.lock = record.lock
        self.kind = spec.kind
        self.record = record
        self.method = method
        self.spec = spec
        self.values = values
        self.params = params
        self.job = job
        self.accepted = False
        self.accepting: Callable[[Exception | None], None] = _unexpected
        self.joining: list[Call] = []
        self.calls: list[Call] = []
        self.insiders: set[ClientSession] = set()
        self.scope: anyio.CancelScope | None = None
        self.child: Child | None = None
        self.adopted: AdoptedChild | None = None
        self.ended: asyncio.Future[JobRecord] = (
            asyncio.get_running_loop().create_future()
        )
        self.error: BaseException | None = None
        self.clear: bytes | None = None
        self.progress_due = False
        self.progress_at = 0.0

    @property
    def offspring(self) -> list[Offspring]:
        """The child processes that end with the job."""
        return [child for child in (self.child, self.adopted) if child is not None]

    @property
    def context(self) -> Context:
        """The rights that the body runs with."""
        return self.job.context
