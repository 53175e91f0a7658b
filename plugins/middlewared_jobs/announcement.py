"""What is told of a job, from the moment it shows to the commit that lets it out."""

from typing import TYPE_CHECKING

import msgspec

from middlewared import Event
from middlewared.events import Message
from middlewared_jobs.record import JobRecord
from middlewared_jobs.removal import Removal
from middlewared_jobs.store import Move

if TYPE_CHECKING:
    from middlewared_jobs.run import Run

__all__ = ["Announcement", "size_of"]


class Announcement(msgspec.Struct, eq=False):
    """One move of a job: its events, one for each collection somebody listens to.

    Attributes:
        job: the job.
        msg: what happened to it.
        events: what is published, by collection; of one that nobody listened to when
            the move was taken down, there is none yet.
        change: what differs from the job as it was made; None when its row says it.
        size: about how many bytes an event has.
        removal: of a job that is gone.
        run: of one that is here.
        seq: its number, once it is on its way to the disk; None when it has none.
    """

    job: int
    msg: Message
    events: dict[str, Event]
    change: bytes | None = None
    size: int = 0
    removal: Removal | None = None
    run: "Run | None" = None
    seq: int | None = None

    def numbered(self, seq: int, at: int) -> Move:
        """Give it its number, and what is kept of it."""
        self.seq = seq
        for event in self.events.values():
            event.seq = seq
        gone = self.removal
        return Move(
            seq,
            at,
            self.job,
            self.msg,
            None if self.change is None else self.change.decode(),
            self.size,
            None if gone is None else gone.owner,
            None if gone is None else gone.method,
        )


def size_of(record: JobRecord, change: bytes | None) -> int:
    """Say about how many bytes a job has on the wire."""
    size = 512 + len(record.arguments)
    if change is not None:
        return size + len(change)
    texts = (record.exception, record.logs_excerpt, record.error)
    return size + len(record.result) + sum(len(text) for text in texts if text)
