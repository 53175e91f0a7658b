"""Events of collections: encoded once, framed once per view, sent to who may see."""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Container,
    Hashable,
    Iterable,
)
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from middlewared.access import Access, Audience, Credentials
from middlewared.broadcast import ALL_EVENTS, Broadcast, Parcel
from middlewared.frames import text_frame
from middlewared.ring import Ring
from middlewared.sendqueue import Importance

__all__ = [
    "ALL_EVENTS",
    "Collection",
    "Event",
    "EventBus",
    "Message",
    "Replay",
    "Snapshot",
    "Source",
    "Subscriber",
    "Taker",
    "Wanted",
    "notification",
]

Message = Literal["added", "changed", "removed"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_NOBODY: dict["Subscriber", None] = {}


class Subscriber:
    """A session as the bus sees it; `middlewared.session` implements it."""

    credentials: Credentials | None

    @property
    def takes_parcels(self) -> bool:
        """Whether `send_parcel` may be used, at the end of a tick of the loop."""
        return False

    def send_parcel(self, parcel: Parcel) -> None:
        """Queue the events of a tick; never waits, never raises."""
        raise NotImplementedError  # pragma: no cover - the session overrides it

    def send_event(self, event: "Event") -> None:
        """Queue the event for the client; never waits."""
        raise NotImplementedError  # pragma: no cover - the session overrides it

    def send_as(self, event: "Event", key: Hashable) -> None:
        """Queue the event with a key of its own; never waits.

        Args:
            event: what is sent.
            key: newer events with this key follow it.
        """
        raise NotImplementedError  # pragma: no cover - the session overrides it


class Wanted(msgspec.Struct, frozen=True, eq=False):
    """Which items of a collection a snapshot is asked for.

    Attributes:
        filters: as the subscriber gave them, in clear; the kernel applies them too, so
            a snapshot may give more.
        news_since: None for all items; else only those with news, since this time of
            the loop, that no numbered event tells: progress, for example.
    """

    filters: list[Any]
    news_since: float | None = None


#: ``async def snapshot(ctx, wanted)`` gives the items as they are, as ``added`` events.
#: It is called when the snapshot begins; each event shows the item as it is when the
#: event is taken from what was returned, so that nothing older follows newer.
Snapshot: TypeAlias = Callable[[Any, Wanted], Awaitable[Iterable["Event"]]]
#: ``async def replay(ctx, after, upto)`` gives kept events, by number: those above
#: *after*, not above *upto*, at least one when there is any; None when what follows
#: *after* is not kept any more. An event whose item is gone has no fields.
Replay: TypeAlias = Callable[[Any, int, int], Awaitable[Iterable["Event"] | None]]


class Collection(msgspec.Struct, frozen=True):
    """A named stream of events that a plugin declares.

    Attributes:
        name: what clients subscribe to.
        item: struct of an item; its fields and docs are the reference.
        access: who may subscribe; items are filtered by their audience besides.
        doc: one sentence that says when events are sent.
        snapshot: gives the items that there are, None when nobody can.
        replay: gives the events that were missed, None when they are not kept.
        removed_on_request: ``removed`` is only for subscribers that asked for it.
        noun: what an item is called in the documents.
    """

    name: str
    item: type
    access: Access
    doc: str
    snapshot: Snapshot | None = None
    replay: Replay | None = None
    removed_on_request: bool = False
    noun: str = "item"


class Source(msgspec.Struct, frozen=True):
    """A collection with arguments: every subscription runs *stream* for itself.

    Attributes:
        name: what clients subscribe to, followed by ``:{json}``.
        stream: ``async def stream(ctx, arguments)`` that yields items; the
            subscription ends when it ends.
        arguments: struct of the arguments.
        item: struct of an item.
        access: who may subscribe.
        doc: one sentence.
    """

    name: str
    stream: Callable[[Any, Any], AsyncIterator[Any]]
    arguments: type
    item: type
    access: Access
    doc: str


def notification(method: str, params: bytes) -> bytes:
    """Frame a JSON-RPC notification whose params are already encoded."""
    return text_frame(
        b'{"jsonrpc":"2.0","method":"%b","params":%b}' % (method.encode(), params)
    )


@lru_cache
def _head(msg: str, collection: str) -> bytes:
    """Encode an event up to the id."""
    return (
        b'{"jsonrpc":"2.0","method":"collection_update","params":'
        b'{"msg":"%b","collection":%b,"id":' % (msg.encode(), _encode(collection))
    )


class Event(msgspec.Struct, eq=False):
    """One ADDED, CHANGED or REMOVED message of a collection.

    Args:
        collection: name of the collection.
        msg: what happened to the item.
        id: id of the item.
        fields: the item, encoded, secrets redacted, or what encodes it once it is
            needed; None for removed items.
        audience: who may see it; None for everybody who may subscribe.
        importance: whether a newer event of the item may replace it.
        clear: the item with its secrets, for the sessions in *clear_for*.
        clear_for: sessions that may see the secrets.
        seq: number of the event, when it is kept for a replay.
        previous: encodes the item as it was told before, for subscribers that are to
            learn that it no longer matches their filters; None when nobody knows.
        tail: further members of the params, encoded, with a comma in front.

    Attributes:
        shaped: for `middlewared.feeds`: who shaped the event last, and what came out.
    """

    collection: str
    msg: Message
    id: int | str
    _fields: bytes | Callable[[], bytes] | None
    audience: Audience | None = None
    importance: Importance = Importance.KEEP
    clear: bytes | None = None
    clear_for: Container[Subscriber] = ()
    seq: int | None = None
    previous: Callable[[], bytes] | None = None
    tail: bytes = b""
    shaped: tuple[Any, Any] | None = None
    _plain: Any = None
    _frame: bytes | None = None
    _clear_frame: bytes | None = None

    @property
    def key(self) -> Hashable:
        """What the event is about: newer events with this key follow it."""
        return (self.collection, self.id)

    @property
    def fields(self) -> bytes | None:
        """The item, encoded, secrets redacted; None for removed items."""
        fields = self._fields
        if fields is not None and not isinstance(fields, bytes):
            fields = self._fields = fields()
        return fields

    @property
    def plain(self) -> Any:
        """The item as plain values, decoded at most once."""
        if self._plain is None and self.fields is not None:
            self._plain = _decode(self.fields)
        return self._plain

    def settle(self) -> None:
        """Forget what only the delivery needs: frames, plain values, secrets."""
        # Looked at first: setting takes several times longer, and few have these.
        if self._frame is not None:
            self._frame = None
        if self._plain is not None:
            self._plain = None
        if self.clear is not None:
            self.clear = self._clear_frame = None
        if self.clear_for != ():
            self.clear_for = ()
        if self.previous is not None:
            self.previous = None

    def frame_for(self, subscriber: Subscriber) -> bytes:
        """Give the frame of the subscriber's view, made at most once per view."""
        if self.clear is not None and subscriber in self.clear_for:
            if self._clear_frame is None:
                self._clear_frame = self._build(self.clear)
            return self._clear_frame
        return self.frame

    @property
    def frame(self) -> bytes:
        """The frame of the view without secrets, made at most once."""
        if self._frame is None:
            self._frame = self.build()
        return self._frame

    def build(self) -> bytes:
        """Make the frame of the view without secrets, to be had once."""
        fields = self._fields
        return self._build(fields if isinstance(fields, bytes) else self.fields)

    def _build(self, fields: bytes | None) -> bytes:
        head, number = _head(self.msg, self.collection), _encode(self.id)
        if fields is None:
            return text_frame(b"".join((head, number, self.tail, b"}}")))
        parts = (head, number, b',"fields":', fields, self.tail, b"}}")
        return text_frame(b"".join(parts))


class Taker(Protocol):
    """What is told of the events of a collection besides plain subscribers."""

    def take(self, event: Event) -> None:
        """Take an event; never waits."""
        ...


class EventBus:
    """Who listens to which collection, and the way events reach them.

    Publishing never waits: each subscriber has a bounded queue of its own
    (`middlewared.sendqueue`). Events of one item arrive in the order published.
    Who sees every event, as admins do, gets those of a tick in one piece.

    Attributes:
        broadcast: the events of this tick, for those who see all.
        collections: what plugins declared, by name.
        sources: collections with arguments, by name.
        rings: the newest events of the collections that keep theirs, by name; those
            that nobody listens to are behind.
        changes: how often who listens to what has changed.
    """

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.sources: dict[str, Source] = {}
        self.rings: dict[str, Ring[Event]] = {}
        self._heads: dict[str, Callable[[], int]] = {}
        self.broadcast = Broadcast()
        self.changes = 0
        self._subscribers: dict[str, dict[Subscriber, None]] = {}
        #: Those of them that do not get parcels.
        self._singly: dict[str, dict[Subscriber, None]] = {}
        self._takers: dict[str, dict[Taker, None]] = {}

    def begin(self, name: str, head: Callable[[], int]) -> None:
        """Say that the events of a collection are numbered and kept.

        Args:
            name: the collection; its numbers must rise. Events that nobody would get
                need not be published.
            head: gives the number of the last event that happened.
        """
        self.rings[name] = Ring(head())
        self._heads[name] = head

    def _attend(self, name: str) -> None:
        """Bring rings up to date that somebody is about to listen to."""
        for kept in self.rings if name == ALL_EVENTS else {name} & self.rings.keys():
            ring, head = self.rings[kept], self._heads[kept]()
            if not self.has_subscribers(kept) and head > ring.head:
                ring.skip(head)

    def forget(self, name: str) -> None:
        """Drop the newest events of a collection from memory."""
        if name in self.rings:
            self.rings[name].skip(self.rings[name].head)

    def subscribe(self, name: str, subscriber: Subscriber) -> None:
        """Deliver events of collection *name*; subscribing twice delivers one copy."""
        self.changes += 1
        self._attend(name)
        self._subscribers.setdefault(name, {})[subscriber] = None
        self.sort(subscriber)

    def unsubscribe(self, name: str, subscriber: Subscriber) -> None:
        """Stop the delivery; unknown pairs are ignored."""
        self.changes += 1
        _remove(self._subscribers, name, subscriber)
        _remove(self._singly, name, subscriber)
        self.sort(subscriber)

    def sort(self, subscriber: Subscriber) -> None:
        """Find out how a subscriber gets its events: call it after another login."""
        names = [name for name, who in self._subscribers.items() if subscriber in who]
        credentials = subscriber.credentials
        sees_all = credentials is not None and credentials.reads_all
        in_parcels = sees_all and subscriber.takes_parcels
        for name in names:
            if in_parcels:
                _remove(self._singly, name, subscriber)
            else:
                self._singly.setdefault(name, {})[subscriber] = None
        placed = frozenset(names if in_parcels else ())
        self.broadcast.place(subscriber, placed, subscriber.send_parcel)

    def attach(self, name: str, taker: Taker) -> None:
        """Tell *taker* of the events of collection *name*."""
        self.changes += 1
        self._attend(name)
        self._takers.setdefault(name, {})[taker] = None

    def detach(self, name: str, taker: Taker) -> None:
        """Tell it no more; unknown pairs are ignored."""
        self.changes += 1
        _remove(self._takers, name, taker)

    def has_subscribers(self, name: str) -> bool:
        """Tell whether somebody listens to *name*, so that an event is worth it."""
        return (
            name in self._subscribers
            or name in self._takers
            or ALL_EVENTS in self._subscribers
        )

    def has_takers(self, name: str) -> bool:
        """Tell whether somebody follows *name* with options."""
        return name in self._takers

    def publish(self, event: Event) -> None:
        """Send an event to every subscriber that may see it."""
        name = event.collection
        if event.msg != "removed" or not self._discreet(name):
            self._send(event)
        takers = self._takers.get(name)
        if takers:
            for taker in tuple(takers):
                taker.take(event)
        seq = event.seq
        if seq is not None and (ring := self.rings.get(name)) is not None:
            event.settle()
            fields = event._fields
            if not isinstance(fields, bytes):
                fields = event.fields or b""
            ring.push(seq, event, len(fields))

    def _send(self, event: Event) -> None:
        name = event.collection
        by_name = self._singly
        if event.clear is not None:
            by_name = self._subscribers  # not everybody's view is the same
        elif name in self.broadcast.names or ALL_EVENTS in self.broadcast.names:
            self.broadcast.add(event, event.frame if by_name else event.build())
        if not by_name:
            return
        targets, everything = by_name.get(name, _NOBODY), by_name.get(ALL_EVENTS)
        if everything:
            targets = {**targets, **everything}
        audience = event.audience
        for subscriber in tuple(targets):  # one of them may leave meanwhile
            credentials = subscriber.credentials
            if credentials is None:
                continue
            if audience is None or audience.includes(credentials):
                subscriber.send_event(event)

    def _discreet(self, name: str) -> bool:
        collection = self.collections.get(name)
        return collection is not None and collection.removed_on_request


def _remove(listeners: dict[str, dict[Any, None]], name: str, listener: Any) -> None:
    found = listeners.get(name)
    if found is not None:
        found.pop(listener, None)
        if not found:
            del listeners[name]
