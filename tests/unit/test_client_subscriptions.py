"""Subscriptions: plain ones shared by name, ones with options for one reader each."""

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
        self.answer = {"id": "i", "epoch": "e", "seq": 7, "recovered": True}
        self.gate = anyio.Event()
        self.gate.set()

    async def call(self, method: str, param: Any, *options: Any) -> Any:
        """Answer core.subscribe and core.unsubscribe."""
        await self.gate.wait()
        self.calls.append((method, param, *options))
        if param in self.refuse:
            raise RemoteError("[EACCES] Not authorized", number=13)
        if method != "core.subscribe":
            return None
        return self.answer if options else f"ident of {param}"


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
    lost = {"msg": RESUMED, "collection": "a", "recovered": False}
    assert await anext(kept) == lost
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


# With options.


def numbered(seq: int, tag: str = "1", **more: Any) -> dict[str, Any]:
    """Make the params of a numbered event."""
    return update("a", seq) | {"seq": seq, "epoch": "e", "tag": tag} | more


def asked(server: Server) -> list[Any]:
    """Give the positions that the server was asked to go on from."""
    return [call[2]["since"] for call in server.calls if len(call) > 2]


async def reconnect(server: Server, subscriptions: Subscriptions) -> None:
    """Lose the connection and make another."""
    subscriptions.forget_idents()
    await subscriptions.restore(server.call)
    await subscriptions.resume(server.call)


async def test_options_go_to_the_server_with_a_tag(
    server: Server, subscriptions: Subscriptions
) -> None:
    """Each subscription has its own, and gets its own events."""
    first, second = Subscription("a", {"removed": True}), Subscription("a", {})
    await subscriptions.follow(first)
    await subscriptions.follow(second)
    await subscriptions.add("a", plain := Subscription("a"))
    subscriptions.notify("collection_update", numbered(8, "2"))
    subscriptions.notify("collection_update", numbered(9, "1"))
    subscriptions.notify("collection_update", numbered(10, "3"))
    subscriptions.notify("collection_update", update("a", 11))
    await subscriptions.discard(first)
    assert server.calls == [
        ("core.subscribe", "a", {"removed": True, "since": None, "tag": "1"}),
        ("core.subscribe", "a", {"since": None, "tag": "2"}),
        ("core.subscribe", "a"),
        ("core.unsubscribe", "i"),
    ]
    subscriptions.end_all(None)
    first.end(None)
    assert [one["id"] for one in await read(first)] == [9]
    assert [one["id"] for one in await read(second)] == [8]
    assert [one["id"] for one in await read(plain)] == [11]


async def test_reconnect_goes_on_from_the_last_event(
    server: Server, subscriptions: Subscriptions
) -> None:
    """The answer is where one is before the first; the reader is told how it went."""
    subscription = Subscription("a", {})
    await subscriptions.follow(subscription)
    assert subscription.position == {"epoch": "e", "seq": 7}
    await reconnect(server, subscriptions)
    subscriptions.notify("collection_update", numbered(8))
    subscriptions.notify("collection_update", update("a") | {"tag": "1"})
    await reconnect(server, subscriptions)
    server.answer |= {"recovered": False, "seq": 50, "epoch": "f"}
    await reconnect(server, subscriptions)
    await reconnect(server, subscriptions)
    seqs = [since and (since["epoch"], since["seq"]) for since in asked(server)]
    assert seqs == [None, ("e", 7), ("e", 8), ("e", 7), ("f", 50)]
    subscription.end(None)
    told = [
        one.get("recovered", one["id" if "id" in one else "msg"])
        for one in await read(subscription)
    ]
    assert told == [True, 8, 1, True, False, False]


async def test_position_is_that_of_what_was_read(
    subscriptions: Subscriptions,
) -> None:
    """Not of what waits: a program that ends goes on there another time."""
    subscription = Subscription("a", {})
    await subscriptions.follow(subscription)
    for seq in (8, 9):
        subscriptions.notify("collection_update", numbered(seq))
    assert subscription.position == {"epoch": "e", "seq": 7}
    await anext(subscription)
    assert subscription.position == {"epoch": "e", "seq": 8}


async def test_connection_that_breaks_in_a_snapshot(
    server: Server, subscriptions: Subscriptions
) -> None:
    """Without the answer nobody knows what was lost: the next begins where it was."""
    subscription = Subscription("a", {"snapshot": True})
    await subscriptions.follow(subscription)
    subscriptions.forget_idents()
    server.gate = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(subscriptions.resume, server.call)
        await wait_all_tasks_blocked()
        item = update("a") | {"snapshot": True, "tag": "1"}
        subscriptions.notify("collection_update", item)
        subscriptions.notify("collection_update", numbered(90))
        group.cancel_scope.cancel()
    server.gate.set()
    server.answer |= {"seq": 91}
    await reconnect(server, subscriptions)
    assert [since and since["seq"] for since in asked(server)] == [None, 7]
    await reconnect(server, subscriptions)
    assert asked(server)[-1]["seq"] == 91


async def test_server_that_keeps_nothing(
    server: Server, subscriptions: Subscriptions
) -> None:
    """There is no position to go on from."""
    server.answer |= {"epoch": None, "seq": None}
    subscription = Subscription("a", {})
    await subscriptions.follow(subscription)
    await reconnect(server, subscriptions)
    assert asked(server) == [None, None]
    assert subscription.position is None


async def test_refused_and_ended_with_options(
    server: Server, subscriptions: Subscriptions
) -> None:
    """A refusal leaves nothing behind; the server's word ends the right one."""
    server.refuse.add("a")
    with pytest.raises(RemoteError):
        await subscriptions.follow(Subscription("a", {}))
    server.refuse.clear()
    kept, gone, refused = (Subscription(name, {}) for name in "aab")
    for subscription in (kept, gone, refused):
        await subscriptions.follow(subscription)
    error = {"error": 22, "reason": "[EINVAL] bad", "extra": None}
    told = {"collection": "a", "error": error, "tag": "3"}
    subscriptions.notify("notify_unsubscribed", told)
    with pytest.raises(RemoteError, match="bad"):
        await anext(gone)
    server.refuse.add("b")
    await reconnect(server, subscriptions)
    assert (await anext(kept))["msg"] == RESUMED
    with pytest.raises(RemoteError, match="Not authorized"):
        await anext(refused)


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
