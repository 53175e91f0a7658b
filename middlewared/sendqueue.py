"""What waits for one client: ordered, bounded, and conflated when it is behind."""

from collections import deque
from collections.abc import Hashable
from enum import IntEnum

__all__ = ["Entry", "Importance", "SendQueue"]

CONTROL_KEY = "control"


class Importance(IntEnum):
    """How a waiting frame may be dropped for a newer one with the same key."""

    #: Gives way to the next frame of its key as soon as the client is behind.
    NEWEST = 0
    #: Gives way too, but only when the queue is over its limit.
    MOVE = 1
    #: Is always sent.
    KEEP = 2


class Entry:
    """One frame in the queue; its frame is empty once it was dropped."""

    __slots__ = ("frame", "importance", "key")

    def __init__(
        self, frame: bytes, key: Hashable | None, importance: Importance
    ) -> None:
        self.frame = frame
        self.key = key
        self.importance = importance


class SendQueue:
    """Frames on their way to one socket.

    Bounded by *limit* bytes: when it is reached, moves that a newer frame of the same
    key made obsolete are dropped; if that is not enough, `overflown` turns true and
    the owner must disconnect the client. Frames of one key never change their order.

    Attributes:
        size: bytes waiting.
        overflown: the limit could not be kept.
    """

    __slots__ = ("_entries", "_limit", "_newest", "overflown", "size")

    def __init__(self, limit: int) -> None:
        self._entries: deque[Entry] = deque()
        self._newest: dict[Hashable, Entry] = {}
        self._limit = limit
        self.size = 0
        self.overflown = False

    def __bool__(self) -> bool:
        return self.size > 0

    def put(
        self,
        frame: bytes,
        *,
        key: Hashable | None = None,
        importance: Importance = Importance.KEEP,
        behind: bool = False,
    ) -> None:
        """Add a frame at the end.

        Args:
            frame: bytes for the socket.
            key: what the frame is about, None when it stands for itself.
            importance: whether a newer frame of the same key may replace it.
            behind: the client does not keep up, so the newest progress is enough.
        """
        entry = Entry(frame, key, importance)
        self._entries.append(entry)
        self.size += len(frame)
        if key is not None:
            older = self._newest.get(key)
            if behind and older is not None and older.importance is Importance.NEWEST:
                self._drop(older)
            self._newest[key] = entry
        if self.size > self._limit:
            self._shrink()
            self.overflown = self.size > self._limit

    def take(self, size: int) -> bytes:
        """Remove and join frames from the front, at least one, up to *size* bytes."""
        taken: list[bytes] = []
        length = 0
        entries, newest = self._entries, self._newest
        while entries and length < size:
            entry = entries.popleft()
            if entry.key is not None and newest.get(entry.key) is entry:
                del newest[entry.key]
            if entry.frame:
                taken.append(entry.frame)
                length += len(entry.frame)
        self.size -= length
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._entries.clear()
        self._newest.clear()
        self.size = 0

    def _drop(self, entry: Entry) -> None:
        self.size -= len(entry.frame)
        entry.frame = b""

    def _shrink(self) -> None:
        """Drop every move and progress that a newer frame of its key follows."""
        for entry in self._entries:
            if (
                entry.importance is not Importance.KEEP
                and self._newest.get(entry.key) is not entry
            ):
                self._drop(entry)
        self._entries = deque(entry for entry in self._entries if entry.frame)
