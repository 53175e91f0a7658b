"""What is told of a job, from the moment it shows to the commit that lets it out."""

from typing import TYPE_CHECKING

import msgspec

from middlewared import Event
from middlewared.events import Message
from middlewared_jobs.record import JobRecord
from middlewared_jobs.removal import Removal
from middlewared_jobs.views import View

if TYPE_CHECKING:
    from middlewared_jobs.run import Run

__all__ = ["Announcement", "size_of"]


class Announcement(msgspec.Struct, eq=False):
    """One move of a job: its events, one for each collection somebody listens to.

    Attributes:
        job: the job.
        msg: what happened to it.
        heard: the shapes of jobs that somebody listened to when it was taken down.
        events: what is published, one for each of them.
        change: what differs from the job as it was made; None when its row says it.
        size: about how many bytes an event has.
        removal: of a job that is gone.
        run: of one that is here.
        seq: its number, once it is on its way to the disk; None when it has none.
    """

    job: int
    msg: Message
    heard: tuple[View, ...] = ()
    events: tuple[Event, ...] = ()
    change: bytes | None = None
    size: int = 0
    removal: Removal | None = None
    run: "Run | None" = None
    seq: int | None = None


def size_of(record: JobRecord, change: bytes | None) -> int:
    """Say about how many bytes a job has on the wire."""
    size = 512 + len(record.arguments)
    if change is not None:
        return size + len(change)
    for text in (record.exception, record.logs_excerpt, record.error):
        if text:
            size += len(text)
    return size + len(record.result)
