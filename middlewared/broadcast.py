"""Events of one tick of the loop, on their way to all who see every one of them."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeAlias

from middlewared.sendqueue import Importance

__all__ = ["ALL_EVENTS", "Broadcast", "Deliver", "Parcel", "Told"]

#: Subscribing to this name gives the events of all collections.
ALL_EVENTS = "*"


class Told(Protocol):
    """An event, as far as a broadcast cares."""

    @property
    def collection(self) -> str:
        """Name of the collection."""
        ...

    @property
    def importance(self) -> Importance:
        """Whether a newer event of the item may replace it."""
        ...

    @property
    def key(self) -> Hashable:
        """What the event is about."""
        ...


class Parcel:
    """Events for everybody of a group, in order; their frames are joined once.

    Attributes:
        items: the events with their frames.
        events: how many of them are events of collections.
        size: bytes of all frames.
        made_at: the loop's time, seconds.
    """

    __slots__ = ("_joined", "events", "items", "made_at", "size")

    def __init__(
        self, items: list[tuple[Any, bytes]], made_at: float, own: int = 0
    ) -> None:
        self.items = items
        self.events = len(items) - own
        self.made_at = made_at
        self.size = sum([len(frame) for _, frame in items])
        self._joined: bytes | None = None

    @property
    def joined(self) -> bytes:
        """All frames, one after the other."""
        if self._joined is None:
            frames = [frame for _, frame in self.items]
            self._joined = frames[0] if len(frames) == 1 else b"".join(frames)
        return self._joined


Deliver: TypeAlias = Callable[[Parcel], None]


class _Own:
    """Stands for what one member is sent besides the events of collections."""

    collection = ""
    importance = Importance.KEEP
    key = None


_OWN = _Own()
#: Frames of one member's own, each with the number of the events before it.
_Frames: TypeAlias = list[tuple[int, bytes]]


class Broadcast:
    """Collects the events of a tick and gives each group its own in one piece.

    A group is everybody who subscribes to the same collections: what they are sent is
    the same bytes. The time of one event grows with the groups, not with the members,
    and each member costs one write a tick, however many events there were.

    Order is kept for each member: whatever else is sent to it in the same tick has to
    be given to `insert`, or preceded by `catch_up`.

    Attributes:
        pending: events of this tick with their frames; always the same list.
        names: the collections that somebody is to be told of, `ALL_EVENTS` for all.
    """

    __slots__ = ("_groups", "_own", "_places", "_told", "names", "pending")

    def __init__(self) -> None:
        self.pending: list[tuple[Any, bytes]] = []
        self.names: frozenset[str] = frozenset()
        self._groups: dict[frozenset[str], dict[Hashable, Deliver]] = {}
        self._places: dict[Hashable, frozenset[str]] = {}
        #: How many of the pending events a member has had, or came too late for.
        self._told: dict[Hashable, int] = {}
        #: Members that are sent something of their own in this tick.
        self._own: dict[Hashable, _Frames] = {}

    def place(self, member: Hashable, names: frozenset[str], deliver: Deliver) -> None:
        """Put a member where it belongs; it has had all events until now.

        Args:
            member: who it is.
            names: the collections; none takes it out.
            deliver: takes the events; never waits, never raises.
        """
        self.catch_up(member)
        before = self._places.pop(member, None)
        if before is not None:
            del self._groups[before][member]
            if not self._groups[before]:
                del self._groups[before]
        if names:
            self._places[member] = names
            self._groups.setdefault(names, {})[member] = deliver
            if self.pending:
                self._told[member] = len(self.pending)
        self.names = frozenset().union(*self._groups)

    def add(self, event: Told, frame: bytes) -> None:
        """Take an event; it leaves at the end of this tick."""
        if not self.pending:
            asyncio.get_running_loop().call_soon(self._flush)
        self.pending.append((event, frame))

    def insert(self, member: Hashable, frame: bytes) -> bool:
        """Send a member a frame after the events until now; it leaves with them.

        Returns:
            False when no events are on their way to it: then the frame is not taken.
        """
        if not self.pending or member not in self._places:
            return False
        own = self._own.get(member)
        if own is None:
            own = self._own[member] = []
        own.append((len(self.pending), frame))
        return True

    def catch_up(self, member: Hashable) -> None:
        """Send a member now what it has not had of this tick; others are ignored."""
        names = self._places.get(member)
        if names is None or not self.pending:
            return
        own = self._own.pop(member, None)
        parcel = self._parcel(names, self._told.get(member, 0), own)
        self._told[member] = len(self.pending)
        if parcel.items:
            self._groups[names][member](parcel)

    def _flush(self) -> None:
        late, self._told = self._told, {}
        owners, self._own = self._own, {}
        for names, members in tuple(self._groups.items()):
            whole = None  # made when somebody is to have it
            for member, deliver in tuple(members.items()):
                if (late and member in late) or (owners and member in owners):
                    start, own = late.get(member, 0), owners.get(member)
                    rest = self._parcel(names, start, own)
                    if rest.items:
                        deliver(rest)
                    continue
                if whole is None:
                    whole = self._parcel(names, 0)
                if whole.items:
                    deliver(whole)
                elif not (late or owners):
                    break
        self.pending.clear()

    def _parcel(
        self, names: frozenset[str], start: int, own: _Frames | None = None
    ) -> Parcel:
        """Make the parcel of a group, or of a member, after the first *start*."""
        if own is None:
            items = self._items(names, start, len(self.pending))
        else:
            items, at = [], start
            for place, frame in own:
                if place > at:
                    items += self._items(names, at, place)
                    at = place
                items.append((_OWN, frame))
            items += self._items(names, at, len(self.pending))
        made_at = asyncio.get_running_loop().time()
        return Parcel(items, made_at, 0 if own is None else len(own))

    def _items(
        self, names: frozenset[str], start: int, end: int
    ) -> list[tuple[Any, bytes]]:
        items = self.pending
        if start or end < len(items):
            items = items[start:end]
        if ALL_EVENTS in names:
            return list(items)
        return [item for item in items if item[0].collection in names]
