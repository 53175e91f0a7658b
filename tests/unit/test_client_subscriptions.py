"""Subscriptions: one per name on the wire, any number of readers here."""

from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from middlewared.client import Lagged, LogChunk, RemoteError
from middlewared.client.logs import LogTail, tail_name
from middlewared.client.subscriptions import RESUMED, Subscription, Subscriptions
from middlewared.errors import MiddlewareError


class Server:
    """Accepts subscriptions, unless told what to refuse."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.refuse: set[str] = set()
        self.gate = anyio.Event()
        self.gate.set()

    async def call(self, method: str, param: Any) -> Any:
        """Answer core.subscribe and core.unsubscribe."""
        await self.gate.wait()
        self.calls.append((method, param))
        if param in self.refuse:
            raise RemoteError("[EACCES] Not authorized", number=13)
        return f"ident of {param}" if method == "core.subscribe" else None


@pytest.fixture
def server() -> Server:
    """Give a server."""
    return Server()


@pytest.fixture
def subscriptions(server: Server) -> Subscriptions:
    """Give the subscriptions of a client of that server."""
    return Subscriptions(server.call)


def update(name: str, number: int = 1) -> dict[str, Any]:
    """Make the params of a collection_update."""
    return {"msg": "changed", "collection": name, "id": number, "fields": {}}


async def read(subscription: Subscription) -> list[Any]:
    """Read a subscription that ends."""
    return [one async for one in subscription]


async def test_readers_share(server: Server, subscriptions: Subscriptions) -> None:
    """Two readers of a name are one subscription, ended with the second."""
    first, second = Subscription("a"), Subscription("a")
    await subscriptions.add("a", first)
    await subscriptions.add("a", second)
    subscriptions.notify("collection_update", update("a"))
    subscriptions.notify("collection_update", update("b"))
    await subscriptions.discard(first)
    subscriptions.notify("collection_update", update("a", 2))
    await subscriptions.discard(second)
    assert server.calls == [
        ("core.subscribe", "a"),
        ("core.unsubscribe", "ident of a"),
    ]
    first.end(None)
    second.end(None)
    assert [one["id"] for one in await read(first)] == [1]
    assert [one["id"] for one in await read(second)] == [1, 2]


async def test_refused(server: Server, subscriptions: Subscriptions) -> None:
    """A refused subscription leaves nothing behind."""
    server.refuse.add("a")
    with pytest.raises(RemoteError, match="Not authorized"):
        await subscriptions.add("a", Subscription("a"))
    server.refuse.clear()
    await subscriptions.add("a", Subscription("a"))
    assert server.calls == 2 * [("core.subscribe", "a")]


async def test_events_before_the_answer(
    server: Server, subscriptions: Subscriptions
) -> None:
    """Events that precede the answer to the subscription are not lost."""
    subscription = Subscription("a")
    server.gate = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(subscriptions.add, "a", subscription)
        await wait_all_tasks_blocked()
        subscriptions.notify("collection_update", update("a"))
        server.gate.set()
    subscription.end(None)
    assert len(await read(subscription)) == 1


async def test_arguments_have_one_reader(subscriptions: Subscriptions) -> None:
    """A stream that starts where its arguments say is not shared."""
    await subscriptions.add("job.logs:{}", Subscription("x"))
    with pytest.raises(ValueError, match="already subscribed"):
        await subscriptions.add("job.logs:{}", Subscription("x"))


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ({"error": 2, "reason": "[ENOENT] gone", "extra": None}, RemoteError, "gone"),
        ({"reason": "odd"}, RemoteError, "odd"),
        ("odd", MiddlewareError, "the server ended a: odd"),
    ],
)
async def test_ended_with_an_error(
    subscriptions: Subscriptions, error: object, kind: type[Exception], text: str
) -> None:
    """What the server says at the end is raised after what is queued."""
    subscription = Subscription("a")
    await subscriptions.add("a", subscription)
    subscriptions.notify("collection_update", update("a"))
    subscriptions.notify("notify_unsubscribed", {"collection": "a", "error": error})
    assert (await anext(subscription))["id"] == 1
    with pytest.raises(kind, match=text):
        await anext(subscription)


async def test_ended(server: Server, subscriptions: Subscriptions) -> None:
    """A plain end stops the iterator, and the server need not be told."""
    subscription = Subscription("a")
    await subscriptions.add("a", subscription)
    subscriptions.notify("notify_unsubscribed", {"collection": "a", "error": None})
    assert await read(subscription) == []
    await subscriptions.discard(subscription)
    assert server.calls == [("core.subscribe", "a")]


@pytest.mark.parametrize("params", [None, [], {}, {"collection": 5}, "x"])
def test_strange_notifications(subscriptions: Subscriptions, params: object) -> None:
    """Notifications of an unknown shape are ignored."""
    subscriptions.notify("collection_update", params)
    subscriptions.notify("something_else", params)


async def test_slow_reader(subscriptions: Subscriptions) -> None:
    """A reader that lets too much wait gets what waited, and then Lagged."""
    subscription = Subscription("a", limit=3)
    for number in range(10):
        subscription.deliver(update("a", number))
    assert [(await anext(subscription))["id"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Lagged, match="3 notifications of a are unread"):
        await anext(subscription)


async def test_reader_waits() -> None:
    """A reader without notifications waits for the next."""
    subscription = Subscription("a")
    seen: list[Any] = []

    async def wait() -> None:
        seen.extend(await read(subscription))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await wait_all_tasks_blocked()
        subscription.deliver(update("a"))
        await wait_all_tasks_blocked()
        assert len(seen) == 0
        subscription.end(None)
    assert len(seen) == 1


async def test_restore(server: Server, subscriptions: Subscriptions) -> None:
    """After a reconnect each name is subscribed to again and its readers told."""
    kept, refused = Subscription("a"), Subscription("b")
    await subscriptions.add("a", kept)
    await subscriptions.add("b", refused)
    server.calls.clear()
    server.refuse.add("b")
    subscriptions.forget_idents()
    await subscriptions.restore(server.call)
    assert server.calls == [("core.subscribe", "a"), ("core.subscribe", "b")]
    assert await anext(kept) == {"msg": RESUMED, "collection": "a"}
    with pytest.raises(RemoteError):
        await anext(refused)


async def test_discard_while_disconnected(
    server: Server, subscriptions: Subscriptions
) -> None:
    """Without a connection there is nobody to tell."""
    subscription = Subscription("a")
    await subscriptions.add("a", subscription)
    subscriptions.forget_idents()
    await subscriptions.discard(subscription)
    assert server.calls == [("core.subscribe", "a")]


async def test_log_tail(server: Server, subscriptions: Subscriptions) -> None:
    """A log goes on after a reconnect where it was, without a mark of the gap."""
    tail = LogTail(42, 0)
    assert tail.name == 'job.logs:{"id":42,"offset":0}'
    await subscriptions.add(tail.name, tail)
    chunk = {"id": 42, "offset": 6, "data": "hello\n"}
    subscriptions.notify(
        "collection_update", {"msg": "added", "collection": tail.name, "fields": chunk}
    )
    subscriptions.forget_idents()
    await subscriptions.restore(server.call)
    again = tail_name(42, 6)
    assert server.calls[-1] == ("core.subscribe", again)
    subscriptions.notify("notify_unsubscribed", {"collection": again, "error": None})
    assert [one async for one in tail] == [LogChunk("hello\n", 6)]


def test_tail_name() -> None:
    """Without an offset the server starts at the last lines."""
    assert tail_name(42, None) == 'job.logs:{"id":42}'
