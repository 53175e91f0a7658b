"""Subscriptions: plain ones shared by name, ones with options for one reader each."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import anyio

from middlewared.client.errors import ConnectionLost, Lagged, RemoteError
from middlewared.errors import MiddlewareError

__all__ = ["MAX_PENDING", "RESUMED", "Reader", "Subscription", "Subscriptions"]

#: Notifications that may wait in a `Subscription` before it ends with `Lagged`.
MAX_PENDING = 10_000

#: ``msg`` of the notification that tells a reader of a reconnect.
RESUMED = "resumed"

#: Epoch and number, as on the wire.
Position = Mapping[str, Any]
Call = Callable[..., Awaitable[Any]]


class Reader(ABC):
    """Who is told about the notifications of one name; calls must not block."""

    @abstractmethod
    def deliver(self, notification: Mapping[str, Any]) -> None:
        """Take one notification."""

    @abstractmethod
    def end(self, error: Exception | None) -> None:
        """Learn that nothing more will come; with an error, why."""

    def next_name(self, name: str) -> str:
        """Say what to subscribe to after a reconnect."""
        return name


class Subscription(Reader):
    """An async iterator over the notifications of one name.

    Each is the ``params`` object of the wire: ``msg`` (added, changed, removed),
    ``collection``, ``id`` and ``fields``. After a reconnect what was missed comes
    first, then one with the msg ``resumed``, the collection and ``recovered``: false
    when something may be lost, so that you read again what matters. The iterator ends
    when the server ends the subscription.

    At most `MAX_PENDING` notifications wait; one more, and the iterator raises `Lagged`
    after those that wait. Cancelling a wait loses nothing.

    Args:
        name: the collection.
        options: of ``core.subscribe``; with None, the plain subscription of the
            protocol, which nothing is sent again for.
        limit: notifications that may wait.

    Attributes:
        position: epoch and number of the last notification that was read, to go on
            from another time with ``since``; None when the server keeps none.
        recovered: false when the position that was asked for is too old.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        limit: int = MAX_PENDING,
    ) -> None:
        self.name = name
        self.options = options
        self.position: Position | None = None
        self.recovered = True
        self._limit = limit
        self._pending: deque[tuple[Mapping[str, Any], Position | None]] = deque()
        self._wakeup = anyio.Event()
        self._ended = False
        self._error: Exception | None = None
        #: Where the next connection goes on.
        self._cursor: Position | None = None
        self._newest: Position | None = None
        self._settled = True

    @property
    def wants_something(self) -> bool:
        """Whether its options ask for more than to go on after a reconnect."""
        return any((self.options or {}).values())

    def begin(self) -> dict[str, Any]:
        """Give the options to subscribe with, now or again."""
        self._settled, self._newest = True, None
        options = dict(self.options or {})
        options.setdefault("since", None)
        if self._cursor is not None:
            options["since"] = self._cursor
        return options

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Take the answer to the subscription: everything up to it has come."""
        self.recovered = answer["recovered"]
        if answer["epoch"] is not None:
            here = {"epoch": answer["epoch"], "seq": answer["seq"]}
            self._cursor = self._newest or here
            if self.position is None and not self._pending:
                self.position = self._cursor
        self._settled = True

    def deliver(self, notification: Mapping[str, Any]) -> None:
        """Queue one notification for the reader."""
        if self._ended:
            return
        if len(self._pending) >= self._limit:
            self.end(Lagged(f"{self._limit} notifications of {self.name} are unread"))
            return
        if notification.get("snapshot"):
            # Whether something was lost is known only with the answer: a connection
            # that breaks before it has to begin where the last one did.
            self._settled = False
        position = None
        if "seq" in notification and "epoch" in notification:
            position = {"epoch": notification["epoch"], "seq": notification["seq"]}
            self._newest = position
            if self._settled:
                self._cursor = position
        self._pending.append((notification, position))
        self._wakeup.set()

    def resumed(self) -> None:
        """Tell the reader that the subscription goes on, and what may be lost."""
        self.deliver(
            {"msg": RESUMED, "collection": self.name, "recovered": self.recovered}
        )

    def end(self, error: Exception | None) -> None:
        """End the iterator after what is queued; with an error, by raising it."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wakeup.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        while not self._pending:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._wakeup = anyio.Event()
            await self._wakeup.wait()
        notification, position = self._pending.popleft()
        self.position = position or self.position
        return notification


class _Topic:
    """One ``core.subscribe`` of the connection and who reads it."""

    def __init__(self, name: str, reader: Reader) -> None:
        self.name = name
        #: None while the server is asked for the first time, or there is no connection.
        self.ident: str | None = None
        #: The server has accepted it once, so that it is restored on a reconnect.
        self.accepted = False
        self.readers = [reader]

    async def ask(self, call: Call, tag: str | None) -> None:
        """Subscribe, now or again.

        Raises:
            RemoteError: the server refused.
            ConnectionLost: there is no connection.
        """
        reader = self.readers[0]
        if tag is None or not isinstance(reader, Subscription):
            self.ident = await call("core.subscribe", self.name)
        else:
            options = reader.begin()
            answer = await call("core.subscribe", self.name, {**options, "tag": tag})
            self.ident = answer["id"]
            reader.answered(answer)
        self.accepted = True


class Subscriptions:
    """All subscriptions of a client, over all its connections.

    Args:
        call: calls a method of the server.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        #: By name without options, else by tag.
        self._topics: dict[str, _Topic] = {}
        self._tagged: dict[str, _Topic] = {}
        self._tags = map(str, count(1))
        self._lock = anyio.Lock()

    async def add(self, name: str, reader: Reader) -> None:
        """Subscribe a reader; the first of a name asks the server.

        Raises:
            RemoteError: the server refused.
            ConnectionLost: there is no connection.
            ValueError: the name has arguments and is already subscribed to; its
                stream, which starts where its arguments say, has one reader.
        """
        async with self._lock:
            topic = self._topics.get(name)
            if topic is not None and ":" in name:
                raise ValueError(f"already subscribed to {name}")
            if topic is not None:
                topic.readers.append(reader)
                return
            # Registered first: events may precede the answer to the subscription.
            topic = self._topics[name] = _Topic(name, reader)
            try:
                await topic.ask(self._call, None)
            except BaseException:
                self._topics.pop(name, None)
                raise

    async def follow(self, subscription: Subscription) -> None:
        """Subscribe with the options of a subscription, for it alone.

        Raises:
            RemoteError: the server refused.
            ConnectionLost: there is no connection.
        """
        tag = next(self._tags)
        topic = self._tagged[tag] = _Topic(subscription.name, subscription)
        try:
            await topic.ask(self._call, tag)
        except BaseException:
            self._tagged.pop(tag, None)
            raise

    async def discard(self, reader: Reader) -> None:
        """Remove a reader; with the last of a name the server is told."""
        for topics in (self._topics, self._tagged):
            for key, topic in list(topics.items()):
                if reader not in topic.readers:
                    continue
                topic.readers.remove(reader)
                if not topic.readers:
                    del topics[key]
                    if topic.ident is not None:
                        await self._call("core.unsubscribe", topic.ident)

    def notify(self, method: str, params: Any) -> None:
        """Hand a notification of the server to its readers."""
        if not isinstance(params, dict):
            return
        tag, name = params.get("tag"), params.get("collection")
        topics, key = (self._topics, name) if tag is None else (self._tagged, tag)
        topic = topics.get(key) if isinstance(key, str) else None
        if topic is None or not isinstance(key, str):
            return
        if method == "collection_update":
            params.pop("tag", None)  # it is ours, and says nothing to readers
            for reader in tuple(topic.readers):
                reader.deliver(params)
        elif method == "notify_unsubscribed":
            del topics[key]
            _end(topic, _unsubscribed(topic.name, params.get("error")))

    async def restore(self, call: Call) -> None:
        """Subscribe again on a new connection to what has no options.

        Args:
            call: calls a method on that connection.

        Raises:
            ConnectionLost: the new connection is gone, too.
        """
        for name, topic in list(self._topics.items()):
            if not topic.accepted:
                continue  # `add` is about to ask
            new = topic.readers[0].next_name(name) if topic.readers else name
            self._topics.pop(name, None)
            self._topics[new] = topic
            topic.name = new
            try:
                await topic.ask(call, None)
            except RemoteError as error:
                self._topics.pop(new, None)
                _end(topic, error)
                continue
            resumed = {"msg": RESUMED, "collection": new, "recovered": False}
            for reader in tuple(topic.readers):
                reader.deliver(resumed)

    async def resume(self, call: Call) -> None:
        """Subscribe again to all that has options, from where each reader is.

        What was missed can be long, so they do not wait for each other.

        Args:
            call: calls a method on the new connection.

        Raises:
            ConnectionLost: the new connection is gone, too.
        """
        lost: list[ConnectionLost] = []

        async def again(tag: str, topic: _Topic) -> None:
            try:
                await topic.ask(call, tag)
            except RemoteError as error:
                self._tagged.pop(tag, None)
                _end(topic, error)
            except ConnectionLost as error:
                lost.append(error)
            else:
                for reader in topic.readers:
                    assert isinstance(reader, Subscription)  # noqa: S101 - `follow`
                    reader.resumed()

        async with anyio.create_task_group() as group:
            for tag, topic in self._tagged.items():
                if topic.accepted:
                    group.start_soon(again, tag, topic)
        if lost:
            raise lost[0]

    def forget_idents(self) -> None:
        """Note that the connection is gone and its subscriptions with it."""
        for topic in (*self._topics.values(), *self._tagged.values()):
            topic.ident = None

    def end_all(self, error: Exception | None) -> None:
        """End every reader."""
        topics = [*self._topics.values(), *self._tagged.values()]
        self._topics, self._tagged = {}, {}
        for topic in topics:
            _end(topic, error)


def _end(topic: _Topic, error: Exception | None) -> None:
    for reader in tuple(topic.readers):
        reader.end(error)


def _unsubscribed(name: str, error: Any) -> Exception | None:
    """Read the ``error`` of a ``notify_unsubscribed``."""
    if error is None:
        return None
    reason = error.get("reason") if isinstance(error, dict) else None
    if reason is None:
        return MiddlewareError(f"the server ended {name}: {error}")
    extra = error.get("extra") if isinstance(error, dict) else None
    number = error.get("error") if isinstance(error, dict) else None
    if not isinstance(number, int):
        return RemoteError(str(reason), extra=extra)
    return RemoteError(str(reason), number=number, extra=extra)
