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
        self._write(run, _Writing(self, run, run.untold, saved))

    def _write(self, run: Run, writing: "_Writing") -> None:
        record, untold = run.record, writing.untold
        if untold and record.time_modified is not None:
            at = record.time_modified.ms
        else:
            at = self._clock.time_ms()
            record.time_modified = Date(at)
        if record.transient:
            writing.done(None)
            return
        if untold:
            run.untold = ()
        if run.item_errors:
            writing.errors, run.item_errors = run.item_errors, []
        moves = self._journal.number(untold, at) if untold else ()
        self._store.save(record, run.params, writing.done, writing.errors, moves)

    def insist(self, run: Run, told: Announcement, then: Then) -> None:
        """Write a move that has happened; again and again, until it is committed.

        Args:
            run: the job.
            told: the move.
            then: called once it is committed.
        """
        self._write(run, _Writing(self, run, run.untold, None, told, then))

    def insist_later(self, run: Run, told: Announcement, then: Then) -> None:
        """Do so after a while."""
        work = self._insist_later(run, told, then)
        self._tasks.start(work, name="retry of a write")

    async def _insist_later(self, run: Run, told: Announcement, then: Then) -> None:
        await anyio.sleep(RETRY_SECONDS)
        self.insist(run, told, then)


class _Writing(msgspec.Struct, eq=False):
    """A write that is on its way, and what goes with it.

    Attributes:
        ledger: whose it is.
        run: the job.
        untold: the moves that go with it.
        saved: is told the outcome.
        told: a move that must come to the disk.
        then: is told that it has; it is tried until then.
        errors: the items that failed that go with it.
    """

    ledger: Ledger
    run: Run
    untold: tuple[Announcement, ...]
    saved: Saved | None
    told: Announcement | None = None
    then: Then | None = None
    errors: list[ItemError] = []

    def done(self, exc: Exception | None) -> None:
        """Hear whether it is committed."""
        run, told, then, saved = self.run, self.told, self.then, self.saved
        if exc is not None:
            run.item_errors = self.errors + run.item_errors
            # They get other numbers: what is told later has higher ones.
            run.untold = self.untold + run.untold
        if saved is not None:
            saved(exc)
        elif told is None or then is None:
            return
        elif exc is None:
            then(run, told)
        else:
            logger.error("job %d could not be written: %s", run.id, exc)
            self.ledger.insist_later(run, told, then)
