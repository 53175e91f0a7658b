"""The record of jobs on disk: every change is written, and only then told."""

import logging
from collections.abc import Callable
from functools import partial

import anyio

from middlewared import Date
from middlewared.clock import Clock
from middlewared.tasks import Tasks
from middlewared_jobs.journal import Journal
from middlewared_jobs.run import Run
from middlewared_jobs.store import JobStore, Saved

__all__ = ["Ledger"]

logger = logging.getLogger(__name__)

#: Seconds before a write that failed is tried again; the job's end is not lost.
RETRY_SECONDS = 1.0


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
        errors, run.item_errors = run.item_errors, []
        untold, run.untold = run.untold, []

        def written(exc: Exception | None) -> None:
            if exc is not None:
                run.item_errors = errors + run.item_errors
                # They get other numbers: what is told later has higher ones.
                run.untold = untold + run.untold
            if saved is not None:
                saved(exc)

        moves = self._journal.number(untold)
        self._store.save(record, run.params, written, errors, moves)

    def insist(self, run: Run, written: Callable[[], None]) -> None:
        """Write a move that has happened; again and again, until it is committed."""
        # Without closures that know each other: such a circle waits for the collector.
        self.write(run, partial(self._insisted, run, written))

    def _insisted(
        self, run: Run, written: Callable[[], None], exc: Exception | None
    ) -> None:
        if exc is None:
            written()
            return
        logger.error("job %d could not be written: %s", run.id, exc)
        self._tasks.start(self._insist_later(run, written), name="retry of a write")

    async def _insist_later(self, run: Run, written: Callable[[], None]) -> None:
        await anyio.sleep(RETRY_SECONDS)
        self.insist(run, written)
