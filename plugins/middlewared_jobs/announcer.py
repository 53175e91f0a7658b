"""Events of jobs: one per move after its commit, progress at a bounded rate."""

import asyncio
import logging
from typing import Any

import msgspec

from middlewared import Event, ejson
from middlewared.events import EventBus, Message
from middlewared.sendqueue import Importance
from middlewared_jobs.record import CoreGetJobsItemProgress, encode_item
from middlewared_jobs.run import Run
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.states import State
from middlewared_jobs.store import JobStore
from middlewared_jobs.texts import sendable

__all__ = ["COLLECTION", "Announcer", "sendable_progress", "take_progress"]

logger = logging.getLogger(__name__)

COLLECTION = "core.get_jobs"


class Announcer:
    """Publishes what happens to jobs on the collection `COLLECTION`."""

    def __init__(self, bus: EventBus, store: JobStore, settings: JobSettings) -> None:
        self._bus = bus
        self._store = store
        self._settings = settings
        self._loop = asyncio.get_running_loop()

    def event(
        self, run: Run, msg: Message, importance: Importance = Importance.KEEP
    ) -> Event | None:
        """Encode the job as it is now; None when nobody listens.

        The event is published later, after the commit, but shows this moment.
        """
        if not self._bus.has_subscribers(COLLECTION):
            return None
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

    def publish(self, event: Event | None) -> None:
        """Send an event, if there is one."""
        if event is not None:
            self._bus.publish(event)

    def progress_changed(self, run: Run) -> None:
        """Note progress, from any thread; announce it when its time has come."""
        if not run.progress_due:
            run.progress_due = True
            self._loop.call_soon_threadsafe(self._schedule, run)

    def _schedule(self, run: Run) -> None:
        due = run.progress_at + self._settings.progress_interval
        if self._loop.time() >= due:
            self._announce_progress(run)
        else:
            self._loop.call_at(due, self._announce_progress, run)

    def _announce_progress(self, run: Run) -> None:
        # Cleared before the record is read: a change made meanwhile is announced next.
        run.progress_due = False
        if run.record.state is not State.RUNNING:
            return
        run.progress_at = self._loop.time()
        take_progress(run, self._settings.max_progress_extra)
        self.publish(self.event(run, "changed", Importance.NEWEST))
        if not run.record.transient:
            self._store.save(run.record, run.params, None)


def take_progress(run: Run, limit: int) -> None:
    """Move what the body set last into the record, in a form that can be sent.

    What has no such form costs the progress its extra, never the job its end.

    Args:
        run: the job.
        limit: bytes that the extra may have, encoded.
    """
    latest = run.job._take_latest()
    if latest is None:
        return
    progress, description = latest
    record = run.record
    record.description = None if description is None else sendable(description)
    record.progress = sendable_progress(record.id, progress, limit)


def sendable_progress(
    number: int, progress: CoreGetJobsItemProgress, limit: int
) -> CoreGetJobsItemProgress:
    """Give progress in a form that can be sent; what has none is left out.

    Args:
        number: the job, for the server's log.
        progress: as the body set it.
        limit: bytes that the extra may have, encoded.
    """
    text = progress.description
    return CoreGetJobsItemProgress(
        progress.percent,
        None if text is None else sendable(text),
        _plain_extra(number, progress.extra, limit),
    )


def _plain_extra(number: int, extra: Any, limit: int) -> Any:
    if extra is None:
        return None
    try:
        encoded = ejson.encode(extra)
    except ejson.EncodingError as exc:
        logger.warning("job %d: progress extra cannot be encoded: %s", number, exc)
        return None
    if len(encoded) > limit:
        logger.warning(
            "job %d: progress extra has %d bytes, the limit is %d",
            number,
            len(encoded),
            limit,
        )
        return None
    return msgspec.json.decode(encoded)
