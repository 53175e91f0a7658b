"""Events of jobs: one per move after its commit, progress at a bounded rate."""

import asyncio
from typing import NamedTuple

from middlewared import Event
from middlewared.events import EventBus, Message
from middlewared.sendqueue import Importance
from middlewared_jobs.ledger import Ledger
from middlewared_jobs.record import encode_item
from middlewared_jobs.recorder import take_notes
from middlewared_jobs.run import Run
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.states import State

__all__ = ["COLLECTION", "Announcement", "Announcer"]

COLLECTION = "core.get_jobs"


class Announcement(NamedTuple):
    """What is to be told of a job once it is committed.

    Attributes:
        event: the job as it was at its move; None when nobody listened then.
    """

    run: Run
    msg: Message
    importance: Importance
    event: Event | None


class Announcer:
    """Publishes what happens to jobs on the collection `COLLECTION`."""

    def __init__(self, bus: EventBus, ledger: Ledger, settings: JobSettings) -> None:
        self._bus = bus
        self._ledger = ledger
        self._settings = settings
        self._loop = asyncio.get_running_loop()

    def event(
        self, run: Run, msg: Message, importance: Importance = Importance.KEEP
    ) -> Announcement:
        """Encode the job as it is now, if somebody listens.

        The event is published later, after the commit, but shows this moment.
        """
        heard = self._bus.has_subscribers(COLLECTION)
        event = _event(run, msg, importance) if heard else None
        return Announcement(run, msg, importance, event)

    def publish(self, announcement: Announcement) -> None:
        """Send an event to who listens, or nothing when nobody does."""
        run, msg, importance, event = announcement
        if event is not None:
            self._bus.publish(event)
        elif self._bus.has_subscribers(COLLECTION):
            # Somebody came after the move and may have asked for the list before the
            # commit: then the job is not in it, and would be known to them from its
            # next move on only.
            self._bus.publish(_event(run, msg, importance))

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
        self.publish(self.event(run, "changed", Importance.NEWEST))
        self._ledger.write(run, None)


def _event(run: Run, msg: Message, importance: Importance) -> Event:
    clear = None
    if run.clear is not None and run.method.results.secret and run.insiders:
        clear = encode_item(run.record, result=run.clear)
    return Event(
        COLLECTION,
        msg,
        run.id,
        encode_item(run.record),
        audience=run.record.audience(run.spec.read_roles),
        importance=importance,
        clear=clear,
        clear_for=run.insiders,
    )
