"""Moves what a body noted into the record of its job, in a form that can be sent."""

import logging
import time
from typing import Any

import msgspec

from middlewared import ejson
from middlewared_jobs.notes import Notes
from middlewared_jobs.phase import Phase
from middlewared_jobs.record import CoreGetJobsItemProgress
from middlewared_jobs.run import Run
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.texts import sendable

__all__ = ["end_pause", "sendable_progress", "take_notes"]

logger = logging.getLogger(__name__)

#: Progress text of a job that stands paused.
PAUSED = "Paused"


def take_notes(run: Run, settings: JobSettings) -> None:
    """Move what the body noted last into the record.

    What has no form on the wire costs the progress its extra, never the job its end.

    Args:
        run: the job.
        settings: the limits.
    """
    latest = run.job._take_notes()
    if latest is None:
        return
    record = run.record
    description = latest.description
    record.description = None if description is None else sendable(description)
    progress = sendable_progress(
        record.id, latest.progress, settings.max_progress_extra
    )
    if run.paused_at is None:
        record.progress = progress
    else:
        run.doing = progress.description
    if latest.notes is not None:
        _apply(run, latest.notes, settings)


def _apply(run: Run, notes: Notes, settings: JobSettings) -> None:
    record = run.record
    for place, step in sorted(notes.steps.items()):
        record.steps[place : place + 1] = [step]
    if notes.messages:
        record.messages = [*record.messages, *notes.messages][-settings.max_messages :]
    if notes.item_errors_seen:
        record.item_errors = notes.item_errors_seen
        run.item_errors += notes.item_errors
    for name in ("counts", "scopes", "attributes", "checkpoint"):
        value = getattr(notes, name)
        if value is not None:
            setattr(record, name, value)
    if notes.exit is not None:
        run.exit = notes.exit
    if notes.paused is not None:
        _set_paused(run, paused=notes.paused)


def _set_paused(run: Run, *, paused: bool) -> None:
    """Note that the body came to the gate, or passed it."""
    record = run.record
    if paused and run.paused_at is None:
        run.paused_at, run.doing = time.monotonic(), record.progress.description
        record.progress = msgspec.structs.replace(record.progress, description=PAUSED)
        if record.phase is Phase.PAUSING:
            record.phase = Phase.PAUSED
    elif not paused:
        end_pause(run)
        if record.phase is Phase.RESUMING:
            record.phase = Phase.RESUMED


def end_pause(run: Run) -> None:
    """Count how long a job stood paused, and show again what it did before."""
    if run.paused_at is None:
        return
    seconds = time.monotonic() - run.paused_at
    run.paused_at = None
    run.paused += seconds
    record = run.record
    record.paused_ms += int(seconds * 1000)
    record.progress = msgspec.structs.replace(record.progress, description=run.doing)


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
        decoded = msgspec.json.decode(encoded)
    except (ejson.EncodingError, ValueError) as exc:
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
    return decoded
