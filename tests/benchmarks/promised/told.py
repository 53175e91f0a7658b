"""Fifth promise: who may see a job hears of it, and finds what was missed."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.commits import Job
from benchmarks.promised.audited import WHO
from benchmarks.promised.queued import Queued
from benchmarks.sketch import Send, encode, frame_of

from middlewared import Audience, Event
from middlewared.broadcast import Parcel
from middlewared.events import EventBus, Subscriber
from middlewared.frames import text_frame
from middlewared.ring import Ring
from middlewared.sendqueue import Importance

__all__ = ["ITEMS", "Told"]

ITEMS = "core.get_jobs"
#: Events that are in memory for short gaps; more would leave the caches before they
#: are let go. The table has the others.
NEWEST = 512
KEEP = Importance.KEEP

_audience = lru_cache(1024)(Audience)


class Member(Subscriber):
    """A client as the bus sees it, without a connection of our own.

    Args:
        send: sends to it.
    """

    credentials = WHO

    def __init__(self, send: Send) -> None:
        self.send = send

    @property
    def takes_parcels(self) -> bool:
        """Whether `send_parcel` may be used: always."""
        return True

    def send_parcel(self, parcel: Parcel) -> None:
        """Send the events of a tick."""
        self.send(parcel.joined)

    def send_event(self, event: Event) -> None:
        """Send an event of its own view."""
        self.send(event.frame_for(self))


class Told(Queued):
    """Clients hear of jobs in groups, those of a tick at once.

    Attributes:
        bus: who listens.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bus = EventBus()
        self._ring = Ring[Event](self.last_seq, max_events=NEWEST)
        self.bus.begin(ITEMS, lambda: self._ring.head)
        self.bus.rings[ITEMS] = self._ring
        self._members: dict[Send, Member] = {}

    def subscribe(self, caller: Any, number: bytes) -> None:
        """Tell a client of all jobs from now on."""
        self._members[caller] = member = Member(caller)
        self.bus.subscribe(ITEMS, member)
        self.send(caller, b'{"jsonrpc":"2.0","result":"1","id":%b}' % number)

    def accept(self, job: Job) -> None:
        """Write a job down."""
        owner = self.rights(job.caller).account_id
        job.audience = _audience(owner, job.spec.read_roles)
        super().accept(job)

    def event(self, job: Job, msg: str) -> Any:
        """Make what is published of a job as it is now."""
        fields = encode(job.item)
        event = Event(ITEMS, msg, job.id, fields, job.audience, KEEP)  # type: ignore[arg-type]  # one of three
        event.seq, event._frame = self.last_seq, frame_of(msg, job.id, fields)
        return event

    def tell_notes(self, job: Job) -> None:
        """Tell what a body noted; that has no number, and is not kept."""
        event = self.event(job, "changed")
        event.seq = event._frame = None
        self.publish(event)

    def publish(self, event: Any) -> None:
        """Tell who may see it."""
        bus = self.bus
        if bus._singly or bus._takers or event.seq is None:
            bus.publish(event)  # each of them has to be looked at
            return
        if ITEMS in bus.broadcast.names:
            bus.broadcast.add(event, event._frame)
        event._frame = None
        self._ring.push(event.seq, event, len(event.fields))

    def send(self, caller: Any, message: bytes) -> None:
        """Answer a client, after the events until now."""
        frame = text_frame(message)
        member = self._members.get(caller)
        if member is None or not self.bus.broadcast.insert(member, frame):
            caller(frame)
