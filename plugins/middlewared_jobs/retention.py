"""Lets old jobs go, with their logs and results."""

import logging
import time
from collections.abc import Awaitable, Callable, Container, Sequence

import anyio
import anyio.to_thread
import msgspec

from middlewared.clock import Clock
from middlewared_jobs.jobfiles import JobFiles
from middlewared_jobs.removal import Removal
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.states import FINAL, State
from middlewared_jobs.store import JobStore

__all__ = ["Retention"]

logger = logging.getLogger(__name__)

#: Seconds between two looks for old jobs, and for files that belong to no job.
LOOK_SECONDS, FILES_SECONDS = 60.0, 86400.0
#: Jobs that one write removes; files that one look into the database is for.
SLICE, FILES_SLICE = 100, 1000
#: After each slice the writer is left to others for so many times what it took.
REST = 9.0
DAY_MS = 24 * 60 * 60 * 1000


class Terms(msgspec.Struct, frozen=True):
    """How long ended jobs of one state are kept.

    Attributes:
        days: 0 for ever.
        jobs: how many at most, 0 for any number.
    """

    days: float
    jobs: int


def terms_of(settings: JobSettings, state: State) -> Terms:
    """Give what the settings say of a state."""
    days = getattr(settings, f"keep_{state.value.lower()}_days")
    jobs = getattr(settings, f"keep_{state.value.lower()}_jobs")
    return Terms(
        settings.keep_days if days is None else days,
        settings.keep_jobs if jobs is None else jobs,
    )


class Retention:
    """Removes ended jobs over the limits of the settings, those that ended first first.

    It does so in small slices with pauses between, so that jobs hardly notice.

    Args:
        store: where they are.
        remove: removes jobs with their files, and tells so.
        live: numbers of jobs that are not done with, whatever the store says.
        files: what they leave on disk.
        clock: for their age.
        settings: the limits.
    """

    def __init__(
        self,
        store: JobStore,
        remove: Callable[[Sequence[Removal]], Awaitable[None]],
        live: Container[int],
        files: JobFiles,
        clock: Clock,
        settings: JobSettings,
    ) -> None:
        self._store = store
        self._remove = remove
        self._live = live
        self._files = files
        self._clock = clock
        self._terms = {state: terms_of(settings, state) for state in sorted(FINAL)}

    async def keep_swept(self) -> None:
        """Look every now and then, first at once; until it is cancelled."""
        files_at = self._clock.monotonic()
        while True:
            try:
                if self._clock.monotonic() >= files_at:
                    files_at += FILES_SECONDS
                    await self.clear_files()
                await self.sweep()
            except Exception:
                logger.exception("old jobs stay for now")
            await anyio.sleep(LOOK_SECONDS)

    async def sweep(self) -> int:
        """Remove what is over the limits now; count the jobs.

        Raises:
            StoreError: the database cannot be read or written.
        """
        return sum([await self._sweep(s, terms) for s, terms in self._terms.items()])

    async def _sweep(self, state: State, terms: Terms) -> int:
        removed = 0
        if terms.jobs:
            surplus = await self._store.count_ended(state) - terms.jobs
            removed = await self._remove_oldest(state, None, max(0, surplus))
        if terms.days:
            before = self._clock.time_ms() - int(terms.days * DAY_MS)
            removed += await self._remove_oldest(state, before, None)
        if removed:
            logger.info("removed %d old jobs that were %s", removed, state)
        return removed

    async def _remove_oldest(
        self, state: State, before: int | None, most: int | None
    ) -> int:
        removed = 0
        while most is None or removed < most:
            began = time.perf_counter()
            limit = SLICE if most is None else min(SLICE, most - removed)
            found = await self._store.oldest(state, before, limit)
            gone = [removal for removal in found if removal.id not in self._live]
            if not gone:
                break
            await self._remove(gone)
            removed += len(gone)
            await anyio.sleep(REST * (time.perf_counter() - began))
        return removed

    async def clear_files(self) -> int:
        """Remove files that no job has any more; count the jobs that they were of.

        Raises:
            StoreError: the database cannot be read.
        """
        # First the files, then the jobs: a job is written before it has any.
        found = sorted(await anyio.to_thread.run_sync(self._files.find))
        removed = 0
        for first in range(0, len(found), FILES_SLICE):
            numbers = found[first : first + FILES_SLICE]
            known = await self._store.known(numbers)
            gone = [n for n in numbers if n not in known and n not in self._live]
            await anyio.to_thread.run_sync(self._files.remove, gone)
            removed += len(gone)
        if removed:
            logger.info("removed the files of %d jobs that are gone", removed)
        return removed
