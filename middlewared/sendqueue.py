"""What waits for one client: ordered, bounded, and conflated when it is behind."""

from collections import deque
from collections.abc import Hashable
from enum import IntEnum

import msgspec

__all__ = ["Entry", "Importance", "SendQueue"]

#: Dropped entries that may stand in a queue, besides as many as wait there.
MAX_DROPPED = 256


class Importance(IntEnum):
    """How a waiting frame may be dropped for a newer one with the same key."""

    #: Gives way to the next frame of its key as soon as the client is behind.
    NEWEST = 0
    #: Gives way too, but only when the queue is over its limit.
    MOVE = 1
    #: Is always sent.
    KEEP = 2


class Entry(msgspec.Struct, eq=False):
    """One frame in the queue; its frame is empty once it was dropped."""

    frame: bytes
    key: Hashable
    importance: Importance


class SendQueue:
    """Frames on their way to one socket.

    Bounded by *limit* bytes: when it is reached, moves that a newer frame of the same
    key made obsolete are dropped; if that is not enough, `overflown` turns true and
    the owner must disconnect the client. Frames of one key never change their order.
    Once the limit was reached, moves give way at once until half of it is free again.

    Attributes:
        size: bytes waiting.
        conflated: frames that gave way so far.
        overflown: the limit could not be kept.
    """

    __slots__ = (
        "_dropped",
        "_entries",
        "_limit",
        "_newest",
        "_tight",
        "conflated",
        "overflown",
        "size",
    )

    def __init__(self, limit: int) -> None:
        #: Frames without a key stand for themselves.
        self._entries: deque[Entry | bytes] = deque()
        self._newest: dict[Hashable, Entry] = {}
        self._limit = limit
        self._dropped = 0
        self._tight = False
        self.size = 0
        self.conflated = 0
        self.overflown = False

    def __bool__(self) -> bool:
        return self.size > 0

    def add(self, frame: bytes) -> None:
        """Add a frame that stands for itself at the end."""
        self._entries.append(frame)
        self.size += len(frame)
        if self.size > self._limit:
            self._hold_limit()

    def put(
        self,
        frame: bytes,
        *,
        key: Hashable,
        importance: Importance = Importance.KEEP,
        behind: bool = False,
    ) -> None:
        """Add a frame with a key at the end.

        Args:
            frame: bytes for the socket.
            key: what the frame is about.
            importance: whether a newer frame of the same key may replace it.
            behind: the client does not keep up, so the newest progress is enough.
        """
        self.size += len(frame)
        entry = Entry(frame, key, importance)
        self._entries.append(entry)
        older = self._newest.get(key)
        if older is not None and self._gives_way(older, behind=behind):
            self._drop(older)
            if self._dropped > MAX_DROPPED + len(self._entries) // 2:
                self._sweep()
        self._newest[key] = entry
        if self.size > self._limit:
            self._hold_limit()

    def _hold_limit(self) -> None:
        if not self._tight:
            self._shrink()
        self.overflown = self.size > self._limit

    def _gives_way(self, older: Entry, *, behind: bool) -> bool:
        """Tell whether an entry may go now that a newer one of its key comes."""
        if older.importance is Importance.KEEP:
            return False
        return self._tight or (behind and older.importance is Importance.NEWEST)

    def take(self, size: int) -> bytes:
        """Remove and join frames from the front, at least one, up to *size* bytes."""
        entries, newest = self._entries, self._newest
        if not newest and self.size <= size:
            # None has a key, so these are bytes, and all of them are wanted.
            frames: list[bytes] = list(entries)  # type: ignore[arg-type]  # see above
            entries.clear()
            self.size, self._tight = 0, False
            return frames[0] if len(frames) == 1 else b"".join(frames)
        taken: list[bytes] = []
        length = 0
        while entries and length < size:
            entry = entries.popleft()
            if isinstance(entry, bytes):
                taken.append(entry)
                length += len(entry)
                continue
            if newest.get(entry.key) is entry:
                del newest[entry.key]
            if entry.frame:
                taken.append(entry.frame)
                length += len(entry.frame)
            else:
                self._dropped -= 1
        self.size -= length
        if self.size < self._limit // 2:
            self._tight = False
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._entries.clear()
        self._newest.clear()
        self._dropped = 0
        self.size = 0

    def _drop(self, entry: Entry) -> None:
        self.size -= len(entry.frame)
        entry.frame = b""
        self._dropped += 1
        self.conflated += 1

    def _sweep(self) -> None:
        """Forget dropped entries: they take memory, though no bytes for the socket."""
        self._entries = deque(
            entry for entry in self._entries if isinstance(entry, bytes) or entry.frame
        )
        self._dropped = 0

    def _shrink(self) -> None:
        """Drop every move and progress that a newer frame of its key follows."""
        self._tight = True
        for entry in self._entries:
            if (
                isinstance(entry, Entry)
                and entry.frame
                and entry.importance is not Importance.KEEP
                and self._newest.get(entry.key) is not entry
            ):
                self._drop(entry)
        self._sweep()
