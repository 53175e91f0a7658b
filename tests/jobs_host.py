"""The job manager over a store, without a server: started, stopped and crashed."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from middlewared import FULL_ADMIN, Context, Credentials, Plugin
from middlewared.audit import Trail
from middlewared.clock import Clock
from middlewared.context import Caller, Services
from middlewared.dispatch import Dispatcher
from middlewared.events import EventBus
from middlewared.registry import Registry
from middlewared.settings import Settings
from middlewared.shutdown import Shutdown
from middlewared.tasks import Tasks
from middlewared.testing import ManualClock
from middlewared_jobs import ItemError, JobRecord, Jobs, Seal
from middlewared_jobs import plugin as jobs_plugin
from middlewared_jobs.ids import JobIds
from middlewared_jobs.jobfiles import JobFiles
from middlewared_jobs.journal import Journal
from middlewared_jobs.recovery import recover
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.states import check_move
from middlewared_jobs.store import Departure, JobStore, Move, Saved

__all__ = ["Fuse", "Host"]

ROOT = Credentials(
    type="UNIX_SOCKET",
    account_id=None,
    username="root",
    roles=frozenset({FULL_ADMIN}),
    login_id="test",
    login_at=0,
)


class Fuse:
    """What one start of the server writes to the store, until the server dies.

    It looks at each write: moves are legal, attempts rise, what has ended stays so.

    Attributes:
        left: writes that still reach the store; None for any number.
        blown: the server is dead, nothing reaches the store or comes back.
    """

    def __init__(self, store: JobStore) -> None:
        self.left: int | None = None
        self.blown = False
        self._store = store
        self._last: dict[int, tuple[Any, int]] = {}

    def _passes(self) -> bool:
        if self.left is not None and not self.blown:
            self.left -= 1
            self.blown = self.left < 0
        return not self.blown

    def _answer(self, saved: Saved | None, exc: Exception | None) -> None:
        if saved is not None and not self.blown:
            saved(exc)

    def save(
        self,
        record: JobRecord,
        params: bytes | None,
        saved: Saved | None,
        errors: Sequence[ItemError] = (),
        moves: Sequence[Move] = (),
    ) -> None:
        """Write a job, and look whether it may be so."""
        if not self._passes():
            return
        before = self._last.get(record.id)
        if before is not None and before[0] is not record.state:
            check_move(before[0], record.state)
        if before is not None:
            assert before[1] <= record.attempt
        self._last[record.id] = record.state, record.attempt
        answer = partial(self._answer, saved)
        self._store.save(record, params, answer, errors, moves)

    def reserve_ids(self, first: int, saved: Saved | None) -> None:
        """Write the mark."""
        if self._passes():
            self._store.reserve_ids(first, partial(self._answer, saved))

    def flush(self, saved: Saved) -> None:
        """Call back once everything is answered."""
        if not self.blown:
            self._store.flush(partial(self._answer, saved))

    def delete(
        self,
        numbers: Sequence[int],
        saved: Saved | None,
        departures: Sequence[Departure] = (),
    ) -> None:
        """Remove ended jobs."""
        if self._passes():
            self._store.delete(numbers, partial(self._answer, saved), departures)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Host:
    """One start after another of the job manager, over one store.

    Args:
        store: outlives crashes.
        clock: of all starts.
        plugin: with the job methods.
        folder: data directory.
        settings: of the jobs.
    """

    def __init__(
        self,
        store: JobStore,
        clock: ManualClock,
        plugin: Plugin,
        folder: Path,
        settings: JobSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._registry = Registry([jobs_plugin, plugin])
        self._folder = folder
        self._settings = settings
        self.fuse = Fuse(store)

    async def start(self) -> None:
        """Start the job manager, as the server's start does."""
        self.fuse = Fuse(self._store)
        store: Any = self.fuse
        services = Services()
        services.provide(Shutdown, Shutdown())
        services.provide(Settings, Settings(data_dir=str(self._folder)))
        services.provide(Clock, self._clock)  # type: ignore[type-abstract]  # by protocol
        services.provide(Registry, self._registry)
        services.provide(EventBus, EventBus())
        services.provide(JobSettings, self._settings)
        services.provide(Trail, Trail(self._clock))
        self._tasks = Tasks()
        services.provide(Tasks, self._tasks)
        dispatcher = Dispatcher(services)
        services.provide(Caller, dispatcher)  # type: ignore[type-abstract]  # by protocol
        self._context = Context(services, credentials=ROOT)
        seal = Seal(self._folder / "jobs.key")
        kept = await store.kept_range()
        journal = Journal(store, self._registry, self._clock, self._settings, kept)
        self.jobs = Jobs(
            self._context,
            store,
            journal,
            self._settings,
            JobIds(await store.first_id()),
            seal,
            JobFiles(self._folder),
        )
        services.provide(Jobs, self.jobs)
        self._registry.runner = self.jobs
        self._waiting = await recover(
            store,
            journal,
            self._registry,
            seal,
            self._settings,
            self._folder,
            self._clock.time_ms(),
        )

    def resume(self) -> None:
        """Let what waits run."""
        self.jobs.resume(self._waiting)

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method as root does over the unix socket."""
        return await self._context.call(method, *params)

    async def left(self) -> dict[int, JobRecord]:
        """Give all jobs as they are in the store."""
        found = await self.call("job.query", [], {"select": ["id"], "limit": 10_000})
        numbers = [item["id"] for item in found]
        numbers += [stored.record.id for stored in await self._store.unfinished()]
        records = [await self._store.get(number) for number in sorted(set(numbers))]
        return {record.id: record for record in records if record is not None}

    def tick(self) -> None:
        """Look at the clock, which somebody has driven."""
        self.jobs._attempts._timetable._look()

    async def stop(self) -> bool:
        """End as after SIGTERM with no time to give."""
        clean = await self.jobs.drain(0.0)
        await self._leave()
        return clean

    async def crash(self) -> None:
        """Die: nothing that is not committed is kept."""
        self.fuse.blown = True
        await self._leave()

    async def _leave(self) -> None:
        self.jobs._attempts.close()
        answered = asyncio.Event()
        self._store.flush(lambda _: answered.set())
        await answered.wait()
        self.fuse.blown = True
        await self._tasks.close(deadline=5.0)
