"""The last events of a collection, for subscribers that were away for a moment."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

__all__ = ["MAX_BYTES", "MAX_EVENTS", "Numbered", "Ring"]

#: Events that a ring keeps, and bytes of their items.
MAX_EVENTS = 4096
MAX_BYTES = 8 * 2**20


class Numbered(Protocol):
    """An event as a ring sees it."""

    @property
    def seq(self) -> int | None:
        """Number of the event, None when it has none of its own."""
        ...

    @property
    def fields(self) -> bytes | None:
        """The item."""
        ...


N = TypeVar("N", bound=Numbered)


class Ring(Generic[N]):
    """The newest events, without a hole between them.

    Bounded by count and bytes: the oldest make room.

    Args:
        head: number of the last event that was published.

    Attributes:
        head: number of the last event that was published, kept or not.
        start: events with higher numbers are all here.
    """

    __slots__ = ("_events", "_max_bytes", "_max_events", "_size", "head", "start")

    def __init__(
        self, head: int, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.head = self.start = head
        self._events: deque[tuple[int, int, N]] = deque()
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._size = 0

    def __len__(self) -> int:
        return len(self._events)

    def push(self, seq: int, event: N) -> None:
        """Add the newest event; a number that does not follow the last is a hole.

        One that comes too late is not kept, and makes a hole, too.
        """
        if seq <= self.head:
            self.skip(self.head)
            return
        if seq != self.head + 1:
            self.skip(seq - 1)
        fields = event.fields
        size = 0 if fields is None else len(fields)
        self._events.append((seq, size, event))
        self._size += size
        self.head = seq
        while len(self._events) > self._max_events or self._size > self._max_bytes:
            self.start, gone, _ = self._events.popleft()
            self._size -= gone

    def skip(self, seq: int) -> None:
        """Note that events up to *seq* were published and are not here."""
        if self._events:
            self._events.clear()
            self._size = 0
        self.head = self.start = max(seq, self.head)

    def after(self, seq: int, limit: int) -> Sequence[N] | None:
        """Give the events that follow *seq*, the oldest *limit* of them.

        Returns:
            None when the ring does not reach back so far.
        """
        if seq < self.start:
            return None
        found = islice(self._events, seq - self.start, seq - self.start + limit)
        return [event for _, _, event in found]
