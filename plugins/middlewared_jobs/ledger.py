"""The record of jobs on disk: every change is written, and only then told."""

import logging
from collections.abc import Callable
from typing import TypeAlias

import anyio
import msgspec

from middlewared import Date
from middlewared.clock import Clock
from middlewared.tasks import Tasks
from middlewared_jobs.announcement import Announcement
from middlewared_jobs.journal import Journal
from middlewared_jobs.notes import ItemError
from middlewared_jobs.run import Run
from middlewared_jobs.store import JobStore, Saved

__all__ = ["Ledger"]

logger = logging.getLogger(__name__)

#: Seconds before a write that failed is tried again; the job's end is not lost.
RETRY_SECONDS = 1.0

#: What follows the commit of a move.
Then: TypeAlias = Callable[[Run, Announcement], None]


class Ledger:
    """Writes the records of runs; those of transient jobs go nowhere.

    Args:
        store: where to.
        journal: numbers the moves that are written with them.
        clock: for the time of each change.
        tasks: owner of what is tried again.
    """

    def __init__(
        self, store: JobStore, journal: Journal, clock: Clock, tasks: Tasks
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._tasks = tasks

    def write(self, run: Run, saved: Saved | None) -> None:
        """Write a job as it is now; *saved* gets None once it is committed."""
        record = run.record
        if not run.untold:
            record.time_modified = Date(self._clock.time_ms())
        if record.transient:
            if saved is not None:
                saved(None)
            return
        untold, run.untold = run.untold, ()
        errors: list[ItemError] = []
        if run.item_errors:
            errors, run.item_errors = run.item_errors, errors
        writing = _Writing(run, errors, untold, saved)
        moves = self._journal.number(untold)
        self._store.save(record, run.params, writing, errors, moves)

    def insist(self, run: Run, told: Announcement, then: Then) -> None:
        """Write a move that has happened; again and again, until it is committed.

        Args:
            run: the job.
            told: the move.
            then: called once it is committed.
        """
        self.write(run, _Insisting(self, run, told, then))

    def insist_later(self, run: Run, told: Announcement, then: Then) -> None:
        """Do so after a while."""
        work = self._insist_later(run, told, then)
        self._tasks.start(work, name="retry of a write")

    async def _insist_later(self, run: Run, told: Announcement, then: Then) -> None:
        await anyio.sleep(RETRY_SECONDS)
        self.insist(run, told, then)


class _Writing(msgspec.Struct, eq=False):
    """A write that is on its way, and what goes with it."""

    run: Run
    errors: list[ItemError]
    untold: tuple[Announcement, ...]
    saved: Saved | None

    def __call__(self, exc: Exception | None) -> None:
        run = self.run
        if exc is not None:
            run.item_errors = self.errors + run.item_errors
            # They get other numbers: what is told later has higher ones.
            run.untold = self.untold + run.untold
        if self.saved is not None:
            self.saved(exc)


class _Insisting(msgspec.Struct, eq=False):
    """A move that must come to the disk."""

    ledger: Ledger
    run: Run
    told: Announcement
    then: Then

    def __call__(self, exc: Exception | None) -> None:
        if exc is None:
            self.then(self.run, self.told)
            return
        logger.error("job %d could not be written: %s", self.run.id, exc)
        self.ledger.insist_later(self.run, self.told, self.then)
