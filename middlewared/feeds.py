"""Subscriptions with options: events filtered, cut and framed once for all alike."""

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import anyio
import msgspec
from msgspec import UNSET, Meta, UnsetType

from middlewared.errors import CallError, InvalidParams, ValidationErrors
from middlewared.events import Event, EventBus, Subscriber
from middlewared.filters import (
    Budget,
    Filters,
    compile_select,
    count_fields,
    matches,
    parse_filters,
)
from middlewared.throttle import Throttle

__all__ = [
    "MAX_FIELDS",
    "Cut",
    "Feed",
    "Feeds",
    "Member",
    "Position",
    "SubscribeOptions",
    "Subscribed",
]

logger = logging.getLogger(__name__)

#: Fields that the filters of a subscription may name: every event is looked at.
MAX_FIELDS = 100
#: Items gone that a subscription keeps in mind while it catches up.
MAX_LATE = 10_000
#: CPU seconds that the patterns of a subscription may take for one event, what they
#: may take in a burst, and their share of the time in the long run.
EVENT_SECONDS, BURST_SECONDS, SHARE = 0.001, 0.2, 0.02

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a client is in the events of a collection.

    Attributes:
        epoch: names the server's database; a restored backup has another one.
        seq: number of the last event that the client has.
    """

    epoch: str
    seq: Annotated[int, Meta(ge=0)]


class SubscribeOptions(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Options of ``core.subscribe``.

    Attributes:
        since: send what was missed since this position, from an answer or an event;
            null for nothing of the past.
        snapshot: first send the items as they are; with `since`, only when what was
            missed cannot be sent.
        filters: conditions as in queries: only events of items that match.
        select: the fields to send, as in queries.
        max_rate: updates a second about one item; the last one always comes, and
            moves from state to state are never held back.
        removed: send ``removed`` too, also for items that no longer match; absent, it
            is as without options.
        tag: comes back in the events, to tell the subscriptions of a connection apart.
    """

    since: Position | UnsetType | None = UNSET
    snapshot: bool | UnsetType = UNSET
    filters: list[Any] | UnsetType = UNSET
    select: list[str | list[Any]] | UnsetType = UNSET
    max_rate: Annotated[float, Meta(ge=0.001, le=1000)] | UnsetType | None = UNSET
    removed: bool | UnsetType = UNSET
    tag: Annotated[str, Meta(max_length=64)] | UnsetType | None = UNSET

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return any(value is not UNSET for value in msgspec.structs.astuple(self))


class Subscribed(msgspec.Struct):
    """The answer to a subscription with options.

    Attributes:
        id: ends the subscription, with ``core.unsubscribe``.
        epoch: names the server's database; null when the events are not kept.
        seq: everything up to this number is sent; null when the events are not kept.
        recovered: false when what was missed since `since` could not be sent.
    """

    id: str
    epoch: str | None
    seq: int | None
    recovered: bool


class Cut(msgspec.Struct, frozen=True):
    """What of a collection a subscriber wants; equal cuts share their frames.

    Attributes:
        filters: conditions.
        select: fields.
        max_rate: updates a second.
        removed: whether ``removed`` is wanted.
        tag: goes into the events.
    """

    filters: list[Any] = []
    select: list[str | list[Any]] = []
    max_rate: float | None = None
    removed: bool = False
    tag: str | None = None

    @classmethod
    def of(cls, options: SubscribeOptions, *, removed: bool) -> "Cut":
        """Take what shapes the events out of the options.

        Args:
            options: as they came.
            removed: whether ``removed`` is wanted when they do not say.
        """
        given = {name: getattr(options, name) for name in cls.__struct_fields__}
        given = {name: value for name, value in given.items() if value is not UNSET}
        return cls(**{"removed": removed} | given)


class Member:
    """One subscription with options.

    Args:
        subscriber: who gets the events.
        fail: ends the subscription with an error.

    Attributes:
        late: items that went while it caught up, which nothing else will tell it.
    """

    __slots__ = ("fail", "late", "subscriber")

    def __init__(
        self, subscriber: Subscriber, fail: Callable[[Exception], None]
    ) -> None:
        self.subscriber = subscriber
        self.fail = fail
        self.late: deque[Event] = deque(maxlen=MAX_LATE)

    def sees(self, event: Event) -> bool:
        """Tell whether the login, as it is now, may see an event."""
        credentials = self.subscriber.credentials
        if credentials is None:
            return False
        return event.audience is None or event.audience.includes(credentials)

    def offer(self, event: Event) -> None:
        """Send a shaped event, if the subscriber may see it."""
        if self.sees(event):
            self.subscriber.send_as(event, (self, event.id))


class Feed:
    """The events of a collection as subscribers with equal options get them.

    Each event is filtered, cut and framed once, whatever their number.

    Args:
        name: the collection.
        cut: what is wanted of it.
        epoch: goes into numbered events.

    Attributes:
        members: who gets live events.
        users: who gets them, or will once it has caught up.

    Raises:
        CallError: the filters or the select cannot be used.
    """

    def __init__(self, name: str, cut: Cut, epoch: str) -> None:
        self.name = name
        self.cut = cut
        self.members: dict[Member, None] = {}
        self.users: dict[Member, None] = {}
        self._filters = _parse(cut.filters)
        self._select = _compile(cut.select)
        self._throttle = (
            None if cut.max_rate is None else Throttle[Event](cut.max_rate, self._send)
        )
        self._allowance = _Allowance()
        self._tag = b"" if cut.tag is None else b',"tag":%b' % _encode(cut.tag)
        self._epoch = b',"epoch":%b' % _encode(epoch)

    def take(self, event: Event) -> None:
        """Send a live event to the members."""
        try:
            shaped = self.shape(event)
        except Exception as exc:  # noqa: BLE001 - a border: values of items are anything
            self._fail(exc)
            return
        if shaped is None:
            return
        if self._throttle is None:
            self._send(shaped)
        else:
            self._throttle.put(shaped)
        if shaped.msg == "removed" and shaped.seq is None:
            for member in self.users.keys() - self.members.keys():
                member.late.append(shaped)

    def close(self) -> None:
        """Forget what is held back."""
        if self._throttle is not None:
            self._throttle.close()

    def shape(self, event: Event) -> Event | None:
        """Give an event as the members get it, None when it is nothing for them.

        Raises:
            CallError: the filters do not go together with the item.
            TypeError: the same.
        """
        if event.msg == "removed":
            return self._gone(event) if self.cut.removed else None
        if self._filters is None or self._matches(event.plain):
            return self.show(event)
        if (
            self.cut.removed
            and event.previous is not None
            and self._matches(_decode(event.previous()))
        ):
            return self._gone(event)
        return None

    def shape_kept(self, event: Event, *, known: bool) -> Event | None:
        """Give a kept event as the members get it; made once for all of them.

        Args:
            event: from a ring or a replay, with its fields.
            known: the client may have the item. One that does not match is removed
                then, since nobody knows whether it matched before.
        """
        if event.shaped is None or event.shaped[0] is not self:
            event.shaped = (self, self.shape(event))
            event.settle()
        shaped: Event | None = event.shaped[1]
        if shaped is None and known and self.cut.removed:
            return self._gone(event)
        return shaped

    def show(self, event: Event, *, snapshot: bool = False) -> Event:
        """Give an event that matches as the members get it.

        Args:
            event: with its fields.
            snapshot: it shows an item as it is, and no event.
        """
        fields, clear = event.fields, event.clear
        if self.cut.select:
            fields = _encode(self._select(event.plain))
            clear = None if clear is None else _encode(self._select(_decode(clear)))
        return Event(
            self.name,
            event.msg,
            event.id,
            fields,
            audience=event.audience,
            importance=event.importance,
            clear=clear,
            clear_for=event.clear_for,
            seq=event.seq,
            tail=(b',"snapshot":true' if snapshot else b"") + self._tail(event),
        )

    def shows(self, event: Event) -> bool:
        """Tell whether an item matches the filters.

        Raises:
            CallError: the filters do not go together with the item.
            TypeError: the same.
        """
        return self._filters is None or self._matches(event.plain)

    def _gone(self, event: Event) -> Event:
        return Event(
            self.name,
            "removed",
            event.id,
            None,
            audience=event.audience,
            seq=event.seq,
            tail=self._tail(event),
        )

    def _tail(self, event: Event) -> bytes:
        if event.seq is None:
            return self._tag
        return b',"seq":%d%b%b' % (event.seq, self._epoch, self._tag)

    def _matches(self, item: Any) -> bool:
        assert self._filters is not None  # noqa: S101 - asked only then
        if not self._filters.has_patterns:
            return matches(self._filters, item)
        budget = Budget(EVENT_SECONDS)
        found = matches(self._filters, item, budget)
        self._allowance.spend(EVENT_SECONDS - budget.seconds)
        return found

    def _send(self, event: Event) -> None:
        for member in tuple(self.members):  # one of them may leave meanwhile
            member.offer(event)

    def _fail(self, exc: Exception) -> None:
        logger.info("a subscription to %s ends: %s", self.name, exc)
        for member in tuple(self.users):
            member.fail(exc)


class Feeds:
    """All feeds of a server.

    Args:
        bus: where live events come from.
        epoch: names the database.

    Attributes:
        turns: held by who sends the past to a client, so that many who do leave the
            loop to others: each has a moment, then others have theirs.
    """

    def __init__(self, bus: EventBus, epoch: str) -> None:
        self.bus = bus
        self.epoch = epoch
        self.turns = anyio.Lock()
        self._feeds: dict[tuple[str, bytes], Feed] = {}

    def join(self, name: str, cut: Cut, member: Member) -> Feed:
        """Give the feed of a cut; its events are made from now on.

        Raises:
            CallError: the filters or the select cannot be used.
        """
        key = (name, _encode(cut))
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(name, cut, self.epoch)
            self.bus.attach(name, feed)
        feed.users[member] = None
        return feed

    def leave(self, feed: Feed, member: Member) -> None:
        """Take a subscription out; the last one ends the feed."""
        feed.members.pop(member, None)
        feed.users.pop(member, None)
        if not feed.users:
            self._feeds.pop((feed.name, _encode(feed.cut)), None)
            self.bus.detach(feed.name, feed)
            feed.close()


class _Allowance:
    """The CPU time that the patterns of a feed may use."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = BURST_SECONDS
        self._at = self._loop.time()

    def spend(self, seconds: float) -> None:
        """Use up some of it.

        Raises:
            CallError: ETIMEDOUT, nothing is left.
        """
        now = self._loop.time()
        earned = (now - self._at) * SHARE
        self._left, self._at = min(BURST_SECONDS, self._left + earned) - seconds, now
        if self._left < 0:
            raise CallError(
                "The patterns of this subscription take too long", errno.ETIMEDOUT
            )


def _parse(raw: list[Any]) -> Filters | None:
    if not raw:
        return None
    try:
        filters = parse_filters(raw)
    except ValidationErrors as exc:
        texts: Iterable[str] = (error.text for error in exc.errors)
        raise InvalidParams("options.filters", "; ".join(texts)) from None
    if count_fields(filters) > MAX_FIELDS:
        raise InvalidParams(
            "options.filters", f"more than {MAX_FIELDS} field names in a subscription"
        )
    return filters


def _compile(select: list[str | list[Any]]) -> Callable[[Any], Any]:
    if len(select) > MAX_FIELDS:
        raise InvalidParams("options.select", f"more than {MAX_FIELDS} fields")
    return compile_select(select)
