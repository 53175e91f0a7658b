"""Subscriptions: one per name on the wire, any number of readers here."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from middlewared.client.errors import Lagged, RemoteError
from middlewared.errors import MiddlewareError

__all__ = ["MAX_PENDING", "RESUMED", "Reader", "Subscription", "Subscriptions"]

#: Notifications that may wait in a `Subscription` before it ends with `Lagged`.
MAX_PENDING = 10_000

#: ``msg`` of the notification that tells a reader of a gap after a reconnect.
RESUMED = "resumed"

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
    ``collection``, ``id`` and ``fields``. After a reconnect comes one with the msg
    ``resumed`` and nothing but the collection: what happened in between is lost, so
    read again what matters. The iterator ends when the server ends the subscription.

    At most `MAX_PENDING` notifications wait; one more, and the iterator raises `Lagged`
    after those that wait. Cancelling a wait loses nothing.
    """

    def __init__(self, name: str, *, limit: int = MAX_PENDING) -> None:
        self.name = name
        self._limit = limit
        self._pending: deque[Mapping[str, Any]] = deque()
        self._wakeup = anyio.Event()
        self._ended = False
        self._error: Exception | None = None

    def deliver(self, notification: Mapping[str, Any]) -> None:
        """Queue one notification for the reader."""
        if self._ended:
            return
        if len(self._pending) >= self._limit:
            self.end(Lagged(f"{self._limit} notifications of {self.name} are unread"))
            return
        self._pending.append(notification)
        self._wakeup.set()

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
        return self._pending.popleft()


class _Topic:
    """One ``core.subscribe`` of the connection and who reads it."""

    def __init__(self, reader: Reader) -> None:
        #: None while the server is asked for the first time, or there is no connection.
        self.ident: str | None = None
        #: The server has accepted it once, so that it is restored on a reconnect.
        self.accepted = False
        self.readers = [reader]


class Subscriptions:
    """All subscriptions of a client, over all its connections.

    Args:
        call: calls a method of the server.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._topics: dict[str, _Topic] = {}
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
            topic = self._topics[name] = _Topic(reader)
            try:
                topic.ident = await self._call("core.subscribe", name)
                topic.accepted = True
            except BaseException:
                self._topics.pop(name, None)
                raise

    async def discard(self, reader: Reader) -> None:
        """Remove a reader; with the last of a name the server is told."""
        for name, topic in list(self._topics.items()):
            if reader not in topic.readers:
                continue
            topic.readers.remove(reader)
            if not topic.readers:
                del self._topics[name]
                if topic.ident is not None:
                    await self._call("core.unsubscribe", topic.ident)

    def notify(self, method: str, params: Any) -> None:
        """Hand a notification of the server to its readers."""
        if not isinstance(params, dict):
            return
        name = params.get("collection")
        topic = self._topics.get(name) if isinstance(name, str) else None
        if topic is None or not isinstance(name, str):
            return
        if method == "collection_update":
            for reader in tuple(topic.readers):
                reader.deliver(params)
        elif method == "notify_unsubscribed":
            del self._topics[name]
            _end(topic, _unsubscribed(name, params.get("error")))

    async def restore(self, call: Call) -> None:
        """Subscribe again on a new connection.

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
            try:
                topic.ident = await call("core.subscribe", new)
            except RemoteError as error:
                self._topics.pop(new, None)
                _end(topic, error)
                continue
            for reader in tuple(topic.readers):
                reader.deliver({"msg": RESUMED, "collection": new})

    def forget_idents(self) -> None:
        """Note that the connection is gone and its subscriptions with it."""
        for topic in self._topics.values():
            topic.ident = None

    def end_all(self, error: Exception | None) -> None:
        """End every reader."""
        topics, self._topics = self._topics, {}
        for topic in topics.values():
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
