"""Events of jobs: one per move after its commit, progress at a bounded rate."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from middlewared import Audience, Date, Event
from middlewared.clock import Clock
from middlewared.events import EventBus, Message
from middlewared.registry import Registry
from middlewared.sendqueue import Importance
from middlewared_jobs.access import read_roles
from middlewared_jobs.announcement import Announcement, size_of
from middlewared_jobs.change import change_of, fixed_of, record_at
from middlewared_jobs.journal import Journal
from middlewared_jobs.ledger import Ledger
from middlewared_jobs.record import JobRecord
from middlewared_jobs.recorder import take_notes
from middlewared_jobs.removal import Removal
from middlewared_jobs.run import Run
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.states import FINAL, State
from middlewared_jobs.store import JobStore, Saved
from middlewared_jobs.views import VIEWS, View

__all__ = ["Announcer"]

# Looking a member up in its enum takes 0.1 us.
NEWEST, KEEP = Importance.NEWEST, Importance.KEEP


class Announcer:
    """Publishes what happens to jobs on the collections of `VIEWS`.

    Args:
        bus: where to.
        ledger: writes what progress changed.
        journal: numbers the moves.
        store: removes jobs.
        registry: says who may see the jobs of a method.
        clock: for the time of each move.
        settings: how often progress is told.
    """

    def __init__(
        self,
        bus: EventBus,
        ledger: Ledger,
        journal: Journal,
        store: JobStore,
        registry: Registry,
        clock: Clock,
        settings: JobSettings,
    ) -> None:
        self._bus = bus
        self._ledger = ledger
        self._journal = journal
        self._store = store
        self._registry = registry
        self._clock = clock
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        #: The shapes of jobs that somebody listens to.
        self._heard: tuple[View, ...] = ()
        self._followed = False
        self._looked = -1

    def event(
        self, run: Run, msg: Message, now: Date, importance: Importance = KEEP
    ) -> Announcement:
        """Take down the job as it is, to be published once it is committed.

        A move gets its number from the next write of the job, and is kept with it;
        progress, and all that happens to transient jobs, has none.

        Args:
            run: the job.
            msg: what happened to it.
            now: when.
            importance: whether a newer event may replace it.
        """
        if self._looked != self._bus.changes:
            self._look()
        record, followed, heard = run.record, self._followed, self._heard
        record.time_modified = now
        numbered = importance is not NEWEST and not record.transient
        change = None
        if (numbered or followed) and record.state not in FINAL:
            change = change_of(record)
        events: tuple[Event, ...] = ()
        for view in heard:
            before = run.told if followed else None
            events += (self._event(run, view, msg, importance, before),)
        if change is not None:
            run.told = change
        size = size_of(record, change) if numbered else 0
        told = Announcement(run.id, msg, heard, events, change, size, None, run)
        if not numbered:
            run.loose_at = self._loop.time()
        elif run.untold:
            run.untold += (told,)
        else:
            run.untold = (told,)
        return told

    def _look(self) -> None:
        """Look who listens; done again when somebody comes or goes."""
        bus = self._bus
        heard = tuple(view for view in VIEWS if bus.has_subscribers(view.collection))
        if heard != self._heard:
            self._heard = heard
        self._followed = any(bus.has_takers(view.collection) for view in VIEWS)
        self._looked = bus.changes

    def _event(
        self,
        run: Run,
        view: View,
        msg: Message,
        importance: Importance,
        before: bytes | None,
    ) -> Event:
        record, encode = run.record, view.encode  # not a method: quicker so
        fields = encode(record)
        event = Event(view.collection, msg, run.id, fields, run.audience, importance)
        if run.insiders:
            event.clear_for = run.insiders
            if run.clear is not None and run.method.results.secret:
                event.clear = view.encode_clear(record, run.clear)
        if before is not None:
            event.previous = partial(_as_told, view, record, before)
        return event

    def publish(self, told: Announcement) -> None:
        """Send the events of a move."""
        bus, journal, seq = self._bus, self._journal, told.seq
        if self._looked != bus.changes:
            self._look()
        for event in told.events:
            bus.publish(event)
        if told.heard is not self._heard:
            # Who came between the move and its commit has not seen the job yet.
            for view in self._heard:
                if view not in told.heard:
                    bus.publish(_late_event(told, view))
        if seq is not None and seq > journal.told:
            journal.told = seq

    def announce_removed(
        self, gone: Sequence[Removal], saved: Saved | None = None
    ) -> None:
        """Remove ended jobs from history, and tell so in the same transaction.

        Args:
            gone: the jobs.
            saved: called once it is committed and told, or refused.
        """
        told = [_removed(removal) for removal in gone]

        def removed(exc: Exception | None) -> None:
            if exc is None:
                self._forget_events()
                for announcement in told:
                    self._send_removed(announcement)
            if saved is not None:
                saved(exc)

        gone_at = self._clock.time_ms()
        departures = self._journal.number_removed(told, gone_at)
        self._store.delete([removal.id for removal in gone], removed, departures)

    def _forget_events(self) -> None:
        """Drop what is in memory of events: some of their jobs are gone."""
        self._journal.forget()
        for view in VIEWS:
            self._bus.forget(view.collection)

    def announce_forgotten(self, gone: Iterable[Removal]) -> None:
        """Tell that transient jobs are in no list any more; nothing is written."""
        for removal in gone:
            self._send_removed(_removed(removal))

    def _send_removed(self, told: Announcement) -> None:
        assert told.removal is not None  # noqa: S101 - made by `_removed`
        roles = read_roles(self._registry.methods.get(told.removal.method))
        audience = Audience(told.removal.owner, roles)
        for view in VIEWS:
            event = Event(
                view.collection,
                "removed",
                told.job,
                None,
                audience=audience,
                seq=told.seq,
            )
            self._bus.publish(event)

    def noted(self, run: Run, urgent: bool) -> None:
        """Take note that a body noted something, from any thread.

        It is announced when its time has come; what is urgent, in the next tick.
        """
        if urgent and not run.urgent_due:
            run.urgent_due = True
            self._loop.call_soon_threadsafe(self._announce_notes, run)
        elif not run.progress_due:
            run.progress_due = True
            self._loop.call_soon_threadsafe(self._schedule, run)

    def _schedule(self, run: Run) -> None:
        due = run.progress_at + self._settings.progress_interval
        if self._loop.time() >= due:
            self._announce_notes(run)
        else:
            self._loop.call_at(due, self._announce_notes, run)

    def _announce_notes(self, run: Run) -> None:
        # Cleared before the notes are read: what is noted meanwhile is announced next.
        run.progress_due = run.urgent_due = False
        if run.record.state is not State.RUNNING:
            return
        run.progress_at = self._loop.time()
        take_notes(run, self._settings)
        for watcher in run.watchers:
            watcher()
        now = Date(self._clock.time_ms())
        self.publish(self.event(run, "changed", now, NEWEST))
        self._ledger.write(run, None)


def _late_event(told: Announcement, view: View) -> Event:
    """Make the event of a move that nobody listened to when it was taken down."""
    run = told.run
    assert run is not None  # noqa: S101 - those without are never late
    record = run.record
    if told.change is not None:
        record = record_at(fixed_of(record), told.change)
    return Event(
        view.collection,
        told.msg,
        run.id,
        view.encode(record),
        audience=run.audience,
        seq=told.seq,
    )


def _removed(removal: Removal) -> Announcement:
    return Announcement(removal.id, "removed", removal=removal)


def _as_told(view: View, record: JobRecord, change: bytes) -> bytes:
    """Encode a job as an earlier event showed it."""
    return view.encode(record_at(fixed_of(record), change))
