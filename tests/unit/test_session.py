"""What the server knows of one connection: login, options, subscriptions."""

from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest
from wire_client import WireClient
from wire_server import COLLECTION, WireServer, wire_server

from middlewared import CallError, Context, Event, Plugin

wire = Plugin("wire")
ended: list[int] = []


class Count(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of the source."""

    to: int
    fail: bool = False


class Number(msgspec.Struct):
    """An item of the source."""

    n: int


@wire.source("wire.count", arguments=Count, item=Number, authenticated=True)
async def count(ctx: Context, arguments: Count) -> AsyncIterator[Number]:
    """Count up to a number; for ever when it is negative."""
    try:
        number = 0
        while number != arguments.to:
            yield Number(number)
            number += 1
        if arguments.fail:
            raise CallError("counted out", 5)
    finally:
        ended.append(arguments.to)


@wire.source("wire.guarded", arguments=Count, item=Number, roles=["COUNTER"])
async def guarded(ctx: Context, arguments: Count) -> AsyncIterator[Number]:
    """Count once, for those who may."""
    yield Number(1)


wire.collection("wire.watched", Number, doc="Numbers.", roles=["WATCHER"])
wire.collection("wire.open", Number, doc="Numbers.", authenticated=True)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(wire, max_subscriptions=20) as running:
        yield running


async def until_ended(count: int) -> None:
    with anyio.fail_after(20):
        while ended.count(count) == 0:  # noqa: ASYNC110 - the source tells nobody
            await anyio.sleep(0.01)


# Options.


async def test_options_have_the_defaults_of_the_reference(server: WireServer) -> None:
    """Jobs answer with their id, as old clients expect."""
    client = await server.anonymous()
    assert await client.call("core.set_options", {}) == {
        "legacy_jobs": True,
        "private_methods": False,
        "py_exceptions": False,
    }


async def test_options_are_changed_one_by_one(server: WireServer) -> None:
    """Absent keys stay, unknown ones are ignored, pickles are never promised."""
    client = await server.anonymous()
    await client.call("core.set_options", {"legacy_jobs": False, "what": [1]})
    found = await client.call(
        "core.set_options", {"private_methods": True, "py_exceptions": True}
    )
    assert found == {
        "legacy_jobs": False,
        "private_methods": True,
        "py_exceptions": False,
    }


@pytest.mark.parametrize(
    "options", [None, 1, [], "x", {"legacy_jobs": 1}, {"legacy_jobs": None}]
)
async def test_options_of_a_wrong_kind_change_nothing(
    server: WireServer, options: object
) -> None:
    """They are refused as a whole."""
    client = await server.anonymous()
    response = await client.request("core.set_options", [options])
    assert response["error"]["code"] == -32602
    assert (await client.call("core.set_options", {}))["legacy_jobs"] is True


async def test_options_belong_to_the_connection(server: WireServer) -> None:
    """Another one has its own."""
    first, second = await server.anonymous(), await server.anonymous()
    await first.call("core.set_options", {"legacy_jobs": False})
    assert (await second.call("core.set_options", {}))["legacy_jobs"] is True


# Subscriptions.


async def test_guest_may_not_subscribe(server: WireServer) -> None:
    """The official client tries before it logs in, and knows 207."""
    client = await server.anonymous()
    response = await client.request("core.subscribe", ["core.get_jobs"])
    assert response["error"]["data"]["error"] == 207


async def test_subscription_is_active_at_once(server: WireServer) -> None:
    """The first event after the answer is there."""
    client = await server.watcher()
    server.publish(1, "now")
    assert (await client.receive())["params"]["fields"]["what"] == "now"


async def test_two_subscriptions_to_one_name_deliver_one_copy(
    server: WireServer,
) -> None:
    """And delivery ends with the last of them."""
    client = await server.watcher()
    second = await client.call("core.subscribe", COLLECTION)
    server.publish(1, "once")
    server.publish(2, "twice")
    assert (await client.receive())["params"]["id"] == 1
    assert (await client.receive())["params"]["id"] == 2
    assert await client.call("core.unsubscribe", second) is None
    server.publish(3, "still")
    assert (await client.receive())["params"]["id"] == 3


async def test_unsubscribing_ends_delivery(server: WireServer) -> None:
    """No event comes after the answer."""
    client = await server.user()
    ident = await client.call("core.subscribe", COLLECTION)
    assert await client.call("core.unsubscribe", ident) is None
    server.publish(1, "late")
    assert await client.call("core.ping") == "pong"
    assert client.events == []


@pytest.mark.parametrize("ident", ["", "nothing", "*", COLLECTION])
async def test_unknown_ident_is_ignored(server: WireServer, ident: str) -> None:
    """As in the reference."""
    client = await server.watcher()
    assert await client.call("core.unsubscribe", ident) is None
    server.publish(1, "on")
    assert (await client.receive())["params"]["id"] == 1


async def test_ident_of_another_connection_is_unknown(server: WireServer) -> None:
    """Nobody ends what is not theirs."""
    first, second = await server.user(), await server.user()
    ident = await first.call("core.subscribe", COLLECTION)
    await second.call("core.unsubscribe", ident)
    server.publish(1, "mine")
    assert (await first.receive())["params"]["id"] == 1


async def test_star_gives_the_events_of_all_collections(server: WireServer) -> None:
    """For full admins."""
    client = await server.user()
    await client.call("core.subscribe", "*")
    server.publish(1, "any")
    assert (await client.receive())["params"]["collection"] == COLLECTION


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("wire.open", True),
        ("wire.watched", False),
        ("wire.unheard_of", False),
        ("*", False),
        ("", False),
        ('wire.guarded:{"to":1}', False),
        ('wire.count:{"to":0}', True),
        ("core.get_jobs", True),
    ],
)
async def test_rights_of_a_limited_user(
    server: WireServer, name: str, allowed: bool
) -> None:
    """Open collections and those of its roles; nothing else."""
    client = await server.user("JOB_USER")
    response = await client.request("core.subscribe", [name])
    if allowed:
        assert isinstance(response["result"], str)
    else:
        assert response["error"]["code"] == -32001
        assert response["error"]["data"]["errname"] == "EACCES"


async def test_subscriptions_are_limited(server: WireServer) -> None:
    """Beyond, EDQUOT; one that ends makes room."""
    client = await server.user()
    idents = [await client.call("core.subscribe", COLLECTION) for _ in range(20)]
    refused = await client.request("core.subscribe", [COLLECTION])
    assert refused["error"]["data"]["errname"] == "EDQUOT"
    await client.call("core.unsubscribe", idents[0])
    assert await client.call("core.subscribe", COLLECTION)


async def test_logout_ends_every_subscription(server: WireServer) -> None:
    """Whoever comes next on this connection sees nothing of it."""
    client = await server.watcher()
    await client.call("core.subscribe", 'wire.count:{"to":-1}')
    await client.receive()
    assert await client.call("auth.logout") is True
    server.publish(1, "secret")
    await until_ended(-1)
    ended.clear()
    assert await client.call("core.ping") == "pong"
    while client.events and client.events[0]["params"]["collection"] != COLLECTION:
        client.events.pop(0)
    assert client.events == []


async def test_another_login_keeps_what_it_may_have(server: WireServer) -> None:
    """Who lowers its rights on a connection loses the events that need more."""
    client = await server.user("FULL_ADMIN")
    await server.user("WATCHER", "JOB_USER")  # makes the account, and its token
    token = server.token("WATCHER", "JOB_USER")
    for name in (COLLECTION, "wire.watched", "*", 'wire.count:{"to":-5}'):
        await client.call("core.subscribe", name)
    assert await client.call("auth.login_with_token", token)
    await until_ended(-5)
    ended.clear()
    server.publish(1, "for admins")
    bus = server.running.context.events
    bus.publish(Event("wire.watched", "changed", 2, b"{}"))
    bus.publish(Event("wire.open", "changed", 3, b"{}"))
    assert await client.call("core.ping") == "pong"
    seen = [e["params"] for e in client.events if "id" in e["params"]]
    assert [(p["collection"], p["id"]) for p in seen] == [("wire.watched", 2)]


async def test_the_same_login_again_keeps_everything(server: WireServer) -> None:
    """A token that is used on its own connection changes no subscription."""
    client = await server.user()
    await client.call("core.subscribe", COLLECTION)
    await client.call("core.subscribe", 'wire.count:{"to":-6}')
    token = await client.call("auth.generate_token")
    assert await client.call("auth.login_with_token", token)
    server.publish(1, "still")
    await client.wait_event(lambda params: params["collection"] == COLLECTION)
    assert ended == []
    client.close()
    await until_ended(-6)
    ended.clear()


# Sources.


async def test_source_streams_its_items_and_says_when_it_ends(
    server: WireServer,
) -> None:
    """The collection is the subscribed text, byte for byte."""
    client = await server.user()
    name = 'wire.count:{ "to" : 3 }'
    ident = await client.call("core.subscribe", name)
    assert isinstance(ident, str)
    messages = client.events
    while len(messages) < 4:
        messages.append(await client.receive())
    assert messages[:3] == [
        {
            "jsonrpc": "2.0",
            "method": "collection_update",
            "params": {"msg": "added", "collection": name, "fields": {"n": n}},
        }
        for n in range(3)
    ]
    assert messages[3] == {
        "jsonrpc": "2.0",
        "method": "notify_unsubscribed",
        "params": {"collection": name, "error": None},
    }


async def test_failure_of_a_source_is_told(server: WireServer) -> None:
    """With the five keys; the traceback for full admins only."""
    name = 'wire.count:{"to":1,"fail":true}'
    for roles, shown in ((("JOB_USER",), False), ((), True)):
        client = await server.user(*roles)
        await client.call("core.subscribe", name)
        messages = client.events
        while len(messages) < 2:
            messages.append(await client.receive())
        error = messages[1]["params"]["error"]
        assert list(error) == ["error", "errname", "reason", "trace", "extra"]
        assert (error["errname"], error["reason"]) == ("EIO", "[EIO] counted out")
        assert error["trace"]["formatted"].startswith("Traceback") is shown


@pytest.mark.parametrize(
    "arguments",
    ["", "{}", '{"to":"x"}', '{"to":1,"y":2}', "[]", "nonsense", "{", "[" * 5000],
)
async def test_bad_arguments_end_the_subscription_that_was_given(
    server: WireServer, arguments: str
) -> None:
    """The answer is an ident; ``notify_unsubscribed`` came before it."""
    client = await server.user()
    name = f"wire.count:{arguments}"
    assert isinstance(await client.call("core.subscribe", name), str)
    (notice,) = client.events
    assert notice["method"] == "notify_unsubscribed"
    assert notice["params"]["collection"] == name
    error = notice["params"]["error"]
    assert error["errname"] == "EINVAL"
    assert error["extra"][0][0] == "wire.count"


async def test_unsubscribing_stops_a_source_that_never_ends(
    server: WireServer,
) -> None:
    """Its generator is closed and the client is told."""
    client = await server.user()
    name = 'wire.count:{"to":-2}'
    ident = await client.call("core.subscribe", name)
    await client.receive()
    await client.call("core.unsubscribe", ident)
    await until_ended(-2)
    ended.clear()
    while True:
        message = await last_message(client)
        if message["method"] == "notify_unsubscribed":
            break
    assert message["params"] == {"collection": name, "error": None}


async def last_message(client: WireClient) -> dict[str, object]:
    """Give the next message, kept or new."""
    found: dict[str, object] = (
        client.events.pop(0) if client.events else await client.receive()
    )
    return found


async def test_source_ends_with_its_client(server: WireServer) -> None:
    """Nothing streams to nobody."""
    client = await server.user()
    await client.call("core.subscribe", 'wire.count:{"to":-3}')
    await client.receive()
    client.close()
    await until_ended(-3)
    ended.clear()


async def test_source_waits_for_a_client_that_does_not_read(
    server: WireServer,
) -> None:
    """A stream is as fast as its reader; it fills no queue."""
    client = await server.user(receive_buffer=4096)
    await client.call("core.subscribe", 'wire.count:{"to":-4}')
    other = await server.anonymous()
    for _ in range(200):
        await other.call("core.ping")
    assert sum(connection.backlog for connection in server.connections) < 200_000
    client.close()
    await until_ended(-4)
    ended.clear()


async def test_two_subscriptions_to_one_source_are_two_streams(
    server: WireServer,
) -> None:
    """Each ident has its own copy."""
    client = await server.user()
    name = 'wire.count:{"to":2}'
    await client.call("core.subscribe", name)
    await client.call("core.subscribe", name)
    messages = client.events
    while len(messages) < 6:
        messages.append(await client.receive())
    numbers = [m["params"]["fields"]["n"] for m in messages if "fields" in m["params"]]
    assert sorted(numbers) == [0, 0, 1, 1]
