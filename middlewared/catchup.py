"""The way of one subscription from what it missed to the live events, without a gap."""

import asyncio
import errno
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from middlewared.errors import CallError
from middlewared.events import Collection, Event, Wanted
from middlewared.feeds import Feed, Feeds, Member, Position, Subscribed
from middlewared.ring import Ring

__all__ = ["CatchUp", "Pace"]

#: Seconds that one client is served in a turn, and bytes that it is sent.
SLICE_SECONDS = 0.002
SLICE_BYTES = 256 * 1024
#: Events taken from the ring at a time.
BATCH = 512
#: Events that may follow at once when the rest is so short: a stream that never ends
#: would else keep a client from ever being live.
LAST = 64


class Pace(Protocol):
    """How far the client is behind with what it was sent."""

    async def wait_writable(self) -> None:
        """Wait until the client has taken most of what it was sent."""
        ...


class CatchUp:
    """Sends one subscriber the items there are, or the events it missed.

    Events come in the order of their numbers and only as fast as the client takes
    them, so nothing piles up. When the last one is sent the subscription is live, in
    the same tick of the loop.

    Args:
        feeds: where the subscription lives.
        feed: what it gets.
        member: the subscription.
        collection: None when no plugin declares it.
        context: the rights of the subscriber.
        pace: the way to its client.
    """

    def __init__(
        self,
        feeds: Feeds,
        feed: Feed,
        member: Member,
        collection: Collection | None,
        context: Any,
        pace: Pace,
    ) -> None:
        self._feeds = feeds
        self._feed = feed
        self._member = member
        self._snapshot = None if collection is None else collection.snapshot
        self._replay = None if collection is None else collection.replay
        self._context = context
        self._pace = pace
        self._ring: Ring[Event] | None = feeds.bus.rings.get(feed.name)
        self._cursor = 0 if self._ring is None else self._ring.head
        self._recovered = True
        self._loop = asyncio.get_running_loop()
        #: Since when the client may not know what no number tells; None: it does not
        #: want to.
        self._news_since: float | None = None
        #: Up to which number a snapshot has shown an item, by its id.
        self._shown: dict[Any, int] = {}
        #: Items that the client does not have, as far as that matters.
        self._absent: set[Any] = set()

    async def run(
        self, ident: str, since: Position | None, *, snapshot: bool
    ) -> Subscribed:
        """Catch up, and give the answer to the subscription.

        Cancelling it leaves the subscription without live events; drop it then.

        Args:
            ident: names the subscription.
            since: where the client is, None when it has nothing.
            snapshot: send the items when there is nothing to go on from.

        Raises:
            CallError: EOPNOTSUPP, the collection has no snapshot; what filters raise.
        """
        if snapshot and self._snapshot is None:
            raise CallError(f"{self._feed.name} has no snapshot", errno.EOPNOTSUPP)
        ring = self._ring
        if ring is None:
            # What is read now is not older than what is sent meanwhile.
            self._go_live()
            if snapshot:
                await self._send_snapshot()
            return Subscribed(ident, None, None, since is None)
        if since is not None:
            self._recovered = await self._begin_at(ring, since)
        if snapshot and (since is None or not self._recovered):
            await self._send_snapshot()
        await self._follow(ring, snapshot=snapshot)
        await self._send_news()
        return Subscribed(ident, self._feeds.epoch, self._cursor, self._recovered)

    async def _begin_at(self, ring: Ring[Event], since: Position) -> bool:
        """Go on at a position; False when what followed it is not there any more."""
        if since.epoch != self._feeds.epoch or since.seq > ring.head:
            return False
        kept = since.seq >= ring.start or await self._older(since.seq, ring.start)
        if kept is None:
            return False
        self._cursor, self._news_since = since.seq, 0.0
        return True

    async def _older(self, after: int, upto: int) -> Iterable[Event] | None:
        if self._replay is None:
            return None
        return await self._replay(self._context, after, upto)

    # From the past to the present.

    async def _follow(self, ring: Ring[Event], *, snapshot: bool) -> None:
        """Send what follows the cursor until the subscription is live."""
        while True:
            events = ring.after(self._cursor, BATCH)
            if events is None:
                await self._follow_older(ring, snapshot=snapshot)
            elif self._is_last(ring, events):
                for event in events:
                    self._send_event(event)
                self._cursor = ring.head
                self._go_live()
                return
            else:
                await self._send_paced(self._send_event, events)

    async def _follow_older(self, ring: Ring[Event], *, snapshot: bool) -> None:
        """Send what the ring no longer has, a part of it."""
        upto = ring.start
        events = await self._older(self._cursor, upto)
        if events is None:
            self._recovered = False
            self._cursor = ring.head
            if snapshot:
                await self._send_snapshot()
            return
        before = self._cursor
        await self._send_paced(self._send_event, events)
        if self._cursor == before:
            self._cursor = upto  # the numbers in between were never used

    def _is_last(self, ring: Ring[Event], events: Iterable[Event]) -> bool:
        """Tell whether so little is left that it may be sent in one go."""
        if ring.head - self._cursor > LAST:
            return False
        return sum(len(event.fields or b"") for event in events) <= SLICE_BYTES

    def _go_live(self) -> None:
        self._feed.members[self._member] = None
        for event in self._member.late:
            self._member.offer(event)
        self._member.late.clear()

    # What is sent.

    async def _send_snapshot(self) -> None:
        """Send the items as they are, and go on with what happens meanwhile."""
        self._news_since = self._loop.time()
        self._shown.clear()
        if self._ring is not None:
            self._cursor = self._ring.head
        await self._send_items(Wanted(self._feed.cut.filters))

    async def _send_news(self) -> None:
        """Send items whose news no numbered event tells, as they are now."""
        if self._news_since is not None and self._snapshot is not None:
            wanted = Wanted(self._feed.cut.filters, news_since=self._news_since)
            await self._send_items(wanted)

    async def _send_items(self, wanted: Wanted) -> None:
        assert self._snapshot is not None  # noqa: S101 - who calls has looked
        items = await self._snapshot(self._context, wanted)
        await self._send_paced(self._send_item, items)

    def _send_item(self, event: Event) -> int:
        if self._ring is not None:
            self._shown[event.id] = self._ring.head
        if not self._member.sees(event):
            return 0
        if not self._feed.shows(event):
            self._note(event.id, present=False)
            return 0
        return self._send(self._feed.show(event, snapshot=True))

    def _send_event(self, event: Event) -> int:
        assert event.seq is not None  # noqa: S101 - only those are kept
        self._cursor = event.seq
        if self._shown.get(event.id, -1) >= event.seq or not self._member.sees(event):
            return 0
        if event.fields is None and event.msg != "removed":
            # The item is gone. Who wants to know reads so in a later event.
            self._recovered = self._recovered and self._feed.cut.removed
            return 0
        if event.msg == "added":
            self._note(event.id, present=False)
        known = event.id not in self._absent
        shaped = self._feed.shape_kept(event, known=known)
        if shaped is None:
            return 0
        self._note(event.id, present=shaped.msg != "removed")
        return self._send(shaped)

    def _note(self, number: Any, *, present: bool) -> None:
        """Keep in mind whether the client has an item, when it may drop out."""
        if self._feed.cut.removed and self._feed.cut.filters:
            (self._absent.discard if present else self._absent.add)(number)

    def _send(self, shaped: Event) -> int:
        self._member.subscriber.send_as(shaped, (self._member, shaped.id))
        return len(shaped.fields or b"")

    async def _send_paced(
        self, send: Callable[[Event], int], events: Iterable[Event]
    ) -> None:
        """Send events in turns, a slice at a time, as fast as the client takes them."""
        slices = _sliced(map(send, events))
        more = True
        while more:
            async with self._feeds.turns:
                more = next(slices, False)
            await self._pace.wait_writable()


def _sliced(work: Iterator[int]) -> Iterator[bool]:
    """Do work until its time or its bytes are used up; True while there is more."""
    for first in work:
        until = time.perf_counter() + SLICE_SECONDS
        size = first
        for done in work:
            size += done
            if size > SLICE_BYTES or time.perf_counter() > until:
                break
        else:
            return
        yield True
