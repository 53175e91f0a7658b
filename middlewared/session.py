"""What the server knows of one connection."""

import asyncio
import errno
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import msgspec

from middlewared import ejson
from middlewared.access import Credentials, Origin, not_authorized
from middlewared.broadcast import Parcel
from middlewared.catchup import CatchUp
from middlewared.context import Context, Services
from middlewared.errors import CallError, ErrorData, InvalidParams, describe_error
from middlewared.events import (
    ALL_EVENTS,
    Collection,
    Event,
    EventBus,
    Source,
    Subscriber,
    notification,
)
from middlewared.feeds import Cut, Feed, Feeds, Member, Subscribed, SubscribeOptions
from middlewared.frames import text_frame
from middlewared.hosts import require_secure
from middlewared.quotas import Quotas
from middlewared.settings import Settings
from middlewared.tasks import Tasks

__all__ = ["MAX_ENTRUSTED", "ClientSession", "Options", "Outbound", "Subscription"]

#: Calls of one session that runners have, and have not taken over. A burst of jobs
#: costs the least CPU with so many: fewer make small commits, more leave the caches.
MAX_ENTRUSTED = 128


class Options(msgspec.Struct, frozen=True):
    """Options of ``core.set_options`` (protocol page, 1.6), with their defaults."""

    legacy_jobs: bool = True
    private_methods: bool = False
    py_exceptions: bool = False


class Outbound(Protocol):
    """The way to the client; a connection implements it."""

    def send(self, frame: bytes) -> None:
        """Queue a frame; never waits, ignored once the client is gone."""
        ...

    def send_event(self, event: Event, subscriber: Subscriber) -> None:
        """Queue an event, conflated when the client is behind."""
        ...

    def send_as(self, event: Event, subscriber: Subscriber, key: Hashable) -> None:
        """Queue an event, conflated by *key* when the client is behind."""
        ...

    def send_parcel(self, parcel: Parcel) -> None:
        """Queue the events of a tick, conflated when the client is behind."""
        ...

    async def wait_writable(self) -> None:
        """Wait until the client has taken most of what it was sent."""
        ...

    def identify(self, *, anonymous: bool) -> None:
        """Apply the limits of a client that is known, or not."""
        ...


class Following(msgspec.Struct, frozen=True, eq=False):
    """What a subscription with options lives on.

    Attributes:
        feed: where its events come from.
        member: the subscription, to the feed.
        scope: ends its way to the present.
    """

    feed: Feed
    member: Member
    scope: anyio.CancelScope


class Cancellable(Protocol):
    """A call in flight, as far as its session cares."""

    def cancel(self) -> None:
        """End it early if something can."""
        ...


class Subscription(msgspec.Struct, frozen=True, eq=False):
    """One ident that ``core.subscribe`` gave out.

    Attributes:
        name: what was subscribed to.
        stream: the task of a source.
        following: with options.
    """

    name: str
    stream: asyncio.Task[None] | None = None
    following: Following | None = None


class _SourceItem(msgspec.Struct):
    msg: str
    collection: str
    fields: msgspec.Raw


class _Unsubscribed(msgspec.Struct):
    collection: str
    error: ErrorData | None


class _TaggedUnsubscribed(_Unsubscribed):
    tag: str


class ClientSession(Subscriber):
    """Credentials, options, subscriptions and calls in flight of one connection.

    Attributes:
        id: names the session.
        credentials: who is logged in, None before login.
        origin: where the connection comes from.
        options: what ``core.set_options`` set.
        context: first parameter of the handlers this session calls.
        calls: calls in flight that hold a slot.
        closed: the client is gone.
        in_flight: calls that the client may give up, by id.
        undispatched: bytes of batches that wait their turn.
        waiting: what to run when a slot is free, in order.
        entrusted: calls that a runner has, and has not taken over yet: their jobs are
            not on disk.
    """

    __slots__ = (
        "_bus",
        "_logout",
        "_outbound",
        "_room",
        "calls",
        "closed",
        "context",
        "credentials",
        "entrusted",
        "id",
        "in_flight",
        "options",
        "origin",
        "services",
        "subscriptions",
        "undispatched",
        "waiting",
    )

    def __init__(self, services: Services, outbound: Outbound, origin: Origin) -> None:
        self.id = str(uuid.uuid4())
        self.services = services
        self.origin = origin
        self.credentials: Credentials | None = None
        self.options = Options()
        self.subscriptions: dict[str, Subscription] = {}
        self.calls = 0
        self.closed = False
        self.in_flight: dict[bytes, Cancellable] = {}
        self.undispatched = 0
        self.entrusted = 0
        self._room: Callable[[], object] | None = None
        self.waiting: deque[Callable[[], None]] = deque()
        self._outbound = outbound
        self._bus = services.get(EventBus)
        self._logout: list[Callable[[], None]] = []
        self.context = Context(services, self, None)

    def login(self, credentials: Credentials | None) -> None:
        """Replace the credentials; None logs out and ends all subscriptions.

        Another login ends those that it may not have, and whatever a source still
        sends with the rights of the earlier one. Nothing happens once the client is
        gone: a login may end after its client.

        Raises:
            CallError: EPERM, see `require_secure`; EDQUOT, the account has too many
                connections.
        """
        if self.closed:
            return
        before, quotas = self.credentials, self.services.get(Quotas)
        if credentials is not None:
            self.require_secure()
            if before is None or before.account_id != credentials.account_id:
                quotas.check_login(credentials)
        quotas.change(self, credentials)
        for callback in self._logout:
            callback()
        self._logout.clear()
        self.credentials = credentials
        self._bus.sort(self)
        self.context = Context(self.services, self, credentials)
        self._outbound.identify(anonymous=credentials is None)
        if credentials is None:
            self.unsubscribe_all()
        elif before is not None:
            self._recheck_subscriptions(before, credentials)

    def _recheck_subscriptions(self, before: Credentials, now: Credentials) -> None:
        same = before.account_id == now.account_id and before.roles <= now.roles
        for ident, subscription in list(self.subscriptions.items()):
            if subscription.stream is not None:
                allowed = same
            else:
                allowed = self._may_subscribe(subscription.name)
            if not allowed:
                self.unsubscribe(ident)

    def _may_subscribe(self, name: str) -> bool:
        try:
            self._check_collection(name)
        except CallError:
            return False
        return True

    def require_secure(self) -> None:
        """Refuse to take credentials that others on the way could read.

        Raises:
            CallError: EPERM, the connection is plain HTTP from elsewhere.
        """
        require_secure(self.origin, self.services.get(Settings))

    def on_logout(self, callback: Callable[[], None]) -> None:
        """Call back once, when these credentials are replaced or the client goes."""
        self._logout.append(callback)

    def close(self) -> None:
        """Forget the client: its calls go on, its subscriptions end."""
        self.closed = True
        self.services.get(Quotas).discard(self)
        for callback in self._logout:
            callback()
        self._logout.clear()
        self.unsubscribe_all()
        self.credentials = None

    def send(self, payload: bytes) -> None:
        """Queue one JSON-RPC message, an empty one is none; never waits."""
        if payload:
            self._outbound.send(text_frame(payload))

    def send_event(self, event: Event) -> None:
        """Queue an event in the view of this session; never waits."""
        self._outbound.send_event(event, self)

    def send_as(self, event: Event, key: Hashable) -> None:
        """Queue an event with a key of its own; never waits."""
        self._outbound.send_as(event, self, key)

    @property
    def takes_parcels(self) -> bool:
        """Whether `send_parcel` may be used: always."""
        return True

    def send_parcel(self, parcel: Parcel) -> None:
        """Queue the events of a tick; never waits."""
        self._outbound.send_parcel(parcel)

    def catch_up(self) -> None:
        """Send what was published in this tick before anything else is sent."""
        self._bus.broadcast.catch_up(self)

    def insert(self, frame: bytes) -> bool:
        """Send a frame with the events of this tick; False when there are none."""
        return self._bus.broadcast.insert(self, frame)

    def release(self) -> None:
        """Give a call's slot back and let what waits for one go on."""
        self.calls -= 1
        if self.waiting:
            self.waiting.popleft()()

    def entrust(self) -> None:
        """Count a call that a runner has to take over; not many may be so at once.

        A client may send thousands of calls without waiting. What is not read yet
        costs no memory, and what runs comes to its end before more is begun.
        """
        self.entrusted += 1

    def taken_over(self) -> None:
        """Count it no more."""
        self.entrusted -= 1
        if self._room is not None and self.entrusted <= MAX_ENTRUSTED // 2:
            room, self._room = self._room, None
            room()

    def on_room(self, go_on: Callable[[], object]) -> None:
        """Call back once, when half of what is entrusted to runners is taken over."""
        self._room = go_on

    def subscribe(self, name: str) -> str:
        """Subscribe to a collection, or to a source with its arguments.

        Args:
            name: ``core.get_jobs``, ``*``, or ``job.logs:{"id":1}``.

        Returns:
            An ident for `unsubscribe`.

        Raises:
            CallError: EACCES, the login may not see it; EDQUOT, too many.
        """
        self._check_room()
        ident = str(uuid.uuid4())
        source = self._source(name)
        if source is not None:
            self._start_source(ident, name, source)
            return ident
        self._check_collection(name)
        self.subscriptions[ident] = Subscription(name)
        self._bus.subscribe(name, self)
        return ident

    def follow(
        self, name: str, options: SubscribeOptions
    ) -> Coroutine[Any, Any, Subscribed]:
        """Subscribe to a collection with options.

        It counts from now on; the client is told the answer when what it missed, or
        the items there are, have been sent.

        Returns:
            What sends them, and then gives the answer. Cancelling it ends the
            subscription.

        Raises:
            CallError: EACCES, the login may not see it; EDQUOT, too many; EOPNOTSUPP,
                the name takes no options; EINVAL, they cannot be used.
        """
        self._check_room()
        if name == ALL_EVENTS or self._source(name) is not None:
            raise CallError(f"{name} takes no options", errno.EOPNOTSUPP)
        self._check_collection(name)
        collection = self._bus.collections.get(name)
        ident = str(uuid.uuid4())
        member = Member(self, partial(self._fail, ident))
        removed = collection is None or not collection.removed_on_request
        cut = Cut.of(options, removed=removed)
        feed = self.services.get(Feeds).join(name, cut, member)
        following = Following(feed, member, anyio.CancelScope())
        self.subscriptions[ident] = Subscription(name, following=following)
        return self._catch_up(ident, following, collection, options)

    def _check_collection(self, name: str) -> None:
        collection = self._bus.collections.get(name)
        if collection is not None:
            collection.access.check(self.credentials)
        elif self.credentials is None or not self.credentials.reads_all:
            raise not_authorized()

    def unsubscribe(self, ident: str) -> None:
        """End one subscription; an unknown ident is ignored."""
        subscription = self.subscriptions.pop(ident, None)
        if subscription is None:
            return
        following = subscription.following
        if subscription.stream is not None:
            subscription.stream.cancel()
        elif following is not None:
            following.scope.cancel()
            self.services.get(Feeds).leave(following.feed, following.member)
        elif all(
            other.name != subscription.name or other.following is not None
            for other in self.subscriptions.values()
        ):
            self._bus.unsubscribe(subscription.name, self)

    def unsubscribe_all(self) -> None:
        """End every subscription of this session."""
        for ident in list(self.subscriptions):
            self.unsubscribe(ident)

    def _check_room(self) -> None:
        limit = self.services.get(Settings).max_subscriptions
        if len(self.subscriptions) >= limit:
            raise CallError(
                f"This connection has {limit} subscriptions already", errno.EDQUOT
            )
        self.services.get(Quotas).check_subscription(self)

    def _source(self, name: str) -> Source | None:
        """Give the source that a name means, None for a collection."""
        if name in self._bus.collections:
            return None
        return self._bus.sources.get(name.partition(":")[0])

    async def _catch_up(
        self,
        ident: str,
        following: Following,
        collection: Collection | None,
        options: SubscribeOptions,
    ) -> Subscribed:
        catch_up = CatchUp(
            self.services.get(Feeds),
            following.feed,
            following.member,
            collection,
            self.context,
            self._outbound,
        )
        since = None if options.since is msgspec.UNSET else options.since
        try:
            with following.scope:
                return await catch_up.run(
                    ident, since, snapshot=options.snapshot is True
                )
        except BaseException:
            self.unsubscribe(ident)
            raise
        raise CallError("The subscription was ended", errno.ECANCELED)

    def _fail(self, ident: str, error: Exception) -> None:
        """End a subscription with options whose events cannot be made."""
        subscription = self.subscriptions[ident]
        self.unsubscribe(ident)
        assert subscription.following is not None  # noqa: S101 - those only fail
        tag = subscription.following.feed.cut.tag
        self._notify_unsubscribed(subscription.name, error, tag)

    def _start_source(self, ident: str, name: str, source: Source) -> None:
        source.access.check(self.credentials)
        try:
            text = name.partition(":")[2] or "{}"
            arguments: Any = msgspec.json.decode(text, type=source.arguments)
        except (msgspec.ValidationError, ValueError, RecursionError) as exc:
            self._notify_unsubscribed(name, InvalidParams(source.name, str(exc)))
            return
        task = self.services.get(Tasks).start(
            self._stream(ident, name, source, arguments), name=f"source {name}"
        )
        self.subscriptions[ident] = Subscription(name, task)

    async def _stream(
        self, ident: str, name: str, source: Source, arguments: Any
    ) -> None:
        error: Exception | None = None
        try:
            async with aclosing(source.stream(self.context, arguments)) as items:  # type: ignore[type-var]  # sources are async generators
                async for item in items:
                    # A source that never waits may not stop everybody else.
                    await anyio.lowlevel.checkpoint()
                    await self._outbound.wait_writable()
                    fields = msgspec.Raw(ejson.encode(item))
                    self._notify(
                        "collection_update", _SourceItem("added", name, fields)
                    )
        except Exception as exc:  # noqa: BLE001 - a border: the client is told
            error = exc
        finally:
            self.subscriptions.pop(ident, None)
            self._notify_unsubscribed(name, error)

    def _notify_unsubscribed(
        self, name: str, error: Exception | None, tag: str | None = None
    ) -> None:
        data = None
        if error is not None:
            full = self.credentials is not None and self.credentials.full_admin
            data = describe_error(error, with_trace=full)
        told = (
            _Unsubscribed(name, data)
            if tag is None
            else _TaggedUnsubscribed(name, data, tag)
        )
        self._notify("notify_unsubscribed", told)

    def _notify(self, method: str, params: msgspec.Struct) -> None:
        self._outbound.send(notification(method, ejson.encode(params)))
