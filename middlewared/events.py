"""Events of collections: encoded once, framed once per view, sent to who may see."""

from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from typing import Any, Literal

import msgspec

from middlewared.access import Access, Audience, Credentials
from middlewared.frames import text_frame
from middlewared.sendqueue import Importance

__all__ = [
    "ALL_EVENTS",
    "Collection",
    "Event",
    "EventBus",
    "Message",
    "Source",
    "Subscriber",
    "notification",
]

Message = Literal["added", "changed", "removed"]
#: Subscribing to this name gives the events of all collections.
ALL_EVENTS = "*"

_encode = msgspec.json.Encoder().encode


class Subscriber:
    """A session as the bus sees it; `middlewared.session` implements it."""

    credentials: Credentials | None

    def send_event(self, event: "Event") -> None:
        """Queue the event for the client; never waits."""
        raise NotImplementedError  # pragma: no cover - the session overrides it


class Collection(msgspec.Struct, frozen=True):
    """A named stream of events that a plugin declares.

    Attributes:
        name: what clients subscribe to.
        item: struct of an item; its fields and docs are the reference.
        access: who may subscribe; items are filtered by their audience besides.
        doc: one sentence that says when events are sent.
    """

    name: str
    item: type
    access: Access
    doc: str


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


class Event:
    """One ADDED, CHANGED or REMOVED message of a collection.

    Args:
        collection: name of the collection.
        msg: what happened to the item.
        id: id of the item.
        fields: the item, encoded, secrets redacted; None for removed items.
        audience: who may see it; None for everybody who may subscribe.
        importance: whether a newer event of the item may replace it.
        clear: the item with its secrets, for the sessions in *clear_for*.
        clear_for: sessions that may see the secrets.
    """

    __slots__ = (
        "_clear_frame",
        "_frame",
        "audience",
        "clear",
        "clear_for",
        "collection",
        "fields",
        "id",
        "importance",
        "msg",
    )

    def __init__(
        self,
        collection: str,
        msg: Message,
        id: int | str,  # noqa: A002 - the wire's word
        fields: bytes | None,
        *,
        audience: Audience | None = None,
        importance: Importance = Importance.KEEP,
        clear: bytes | None = None,
        clear_for: Iterable[Subscriber] = (),
    ) -> None:
        self.collection = collection
        self.msg = msg
        self.id = id
        self.fields = fields
        self.audience = audience
        self.importance = importance
        self.clear = clear
        self.clear_for = clear_for
        self._frame: bytes | None = None
        self._clear_frame: bytes | None = None

    @property
    def key(self) -> Hashable:
        """What the event is about: newer events with this key follow it."""
        return (self.collection, self.id)

    def frame_for(self, subscriber: Subscriber) -> bytes:
        """Give the frame of the subscriber's view, made at most once per view."""
        if self.clear is not None and subscriber in self.clear_for:
            if self._clear_frame is None:
                self._clear_frame = self._build(self.clear)
            return self._clear_frame
        if self._frame is None:
            self._frame = self._build(self.fields)
        return self._frame

    def _build(self, fields: bytes | None) -> bytes:
        body = b'{"msg":"%b","collection":%b,"id":%b' % (
            self.msg.encode(),
            _encode(self.collection),
            _encode(self.id),
        )
        tail = b"}" if fields is None else b',"fields":%b}' % fields
        return notification("collection_update", body + tail)


class EventBus:
    """Who listens to which collection, and the way events reach them.

    Publishing never waits: each subscriber has a bounded queue of its own
    (`middlewared.sendqueue`). Events of one item arrive in the order published.
    """

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.sources: dict[str, Source] = {}
        self._subscribers: dict[str, dict[Subscriber, None]] = {}

    def subscribe(self, name: str, subscriber: Subscriber) -> None:
        """Deliver events of collection *name*; subscribing twice delivers one copy."""
        self._subscribers.setdefault(name, {})[subscriber] = None

    def unsubscribe(self, name: str, subscriber: Subscriber) -> None:
        """Stop the delivery; unknown pairs are ignored."""
        listeners = self._subscribers.get(name)
        if listeners is not None:
            listeners.pop(subscriber, None)
            if not listeners:
                del self._subscribers[name]

    def has_subscribers(self, name: str) -> bool:
        """Tell whether somebody listens to *name*, so that an event is worth it."""
        return name in self._subscribers or ALL_EVENTS in self._subscribers

    def publish(self, event: Event) -> None:
        """Send an event to every subscriber that may see it."""
        audience = event.audience
        listeners = self._subscribers.get(event.collection, {})
        everything = self._subscribers.get(ALL_EVENTS)
        targets = {**listeners, **everything} if everything else listeners
        for subscriber in tuple(targets):  # one of them may leave meanwhile
            credentials = subscriber.credentials
            if credentials is None:
                continue
            if audience is None or audience.includes(credentials):
                subscriber.send_event(event)
