"""The last events of a collection, for subscribers that were away for a moment."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Generic, TypeVar

__all__ = ["MAX_BYTES", "MAX_EVENTS", "Ring"]

#: Events that a ring keeps, and bytes of their items. Each one that comes frees the
#: oldest: when there are so many that it has left the caches, that takes longer than
#: all the rest. What is older is read from where it is kept.
MAX_EVENTS = 512
MAX_BYTES = 8 * 2**20


N = TypeVar("N")


class Ring(Generic[N]):
    """The newest events, without a hole between them.

    Bounded by count and bytes: the oldest make room. Half of the bytes are for events
    so small that as many as there may be have room in it, which need not be weighed
    one by one; half are for the others.

    Args:
        head: number of the last event that was published.

    Attributes:
        head: number of the last event that was published, kept or not.
        start: events with higher numbers are all here.
    """

    __slots__ = (
        "_events",
        "_large",
        "_max_events",
        "_max_large",
        "_size",
        "_small",
        "head",
        "start",
    )

    def __init__(
        self, head: int, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.head = self.start = head
        #: Their numbers follow each other, from `start` on.
        self._events: deque[N] = deque(maxlen=max_events)
        #: Numbers and sizes of those that are not small, and their bytes.
        self._large: deque[tuple[int, int]] = deque()
        self._size = 0
        self._max_events = max_events
        self._max_large = max_bytes // 2
        self._small = self._max_large // max_events

    def __len__(self) -> int:
        return len(self._events)

    def push(self, seq: int, event: N, size: int) -> None:
        """Add the newest event; a number that does not follow the last is a hole.

        One that comes too late is not kept, and makes a hole, too.

        Args:
            seq: its number.
            event: the event.
            size: bytes of its item.
        """
        if seq != self.head + 1:
            if seq <= self.head:
                self.skip(self.head)
                return
            self.skip(seq - 1)
        events = self._events
        if len(events) == self._max_events:  # then the oldest falls out
            self.start += 1
        events.append(event)
        self.head = seq
        if size > self._small or self._large:
            self._weigh(seq, size)

    def _weigh(self, seq: int, size: int) -> None:
        """Let go of the oldest until large events have no more bytes than they may."""
        events, large = self._events, self._large
        if size > self._small:
            large.append((seq, size))
            self._size += size
        while large and (large[0][0] <= self.start or self._size > self._max_large):
            number, gone = large.popleft()
            self._size -= gone
            while self.start < number:
                events.popleft()
                self.start += 1

    def skip(self, seq: int) -> None:
        """Note that events up to *seq* were published and are not here."""
        if self._events:
            self._events.clear()
            self._large.clear()
            self._size = 0
        self.head = max(self.head, seq)
        self.start = self.head

    def after(self, seq: int, limit: int) -> Sequence[N] | None:
        """Give the events that follow *seq*, the oldest *limit* of them.

        Returns:
            None when the ring does not reach back so far.
        """
        if seq < self.start:
            return None
        first = seq - self.start
        return list(islice(self._events, first, first + limit))
