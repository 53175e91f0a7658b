"""From what was missed to what happens now: nothing lost, nothing out of order."""

import asyncio
import errno
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from kept_things import THINGS, Thing, Things, follow, following
from wire_client import WireClient
from wire_server import WireServer, wire_server

from middlewared.events import EventBus
from middlewared.ring import Ring

#: Bytes of items that do not fit into the buffers of a socket together.
MUCH = 16 * 1024


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
async def server(things: Things) -> AsyncIterator[WireServer]:
    async with wire_server(things.plugin, send_queue_limit=2 * 2**20) as running:
        things.begin(running)
        yield running


def numbers(events: list[dict[str, Any]]) -> list[Any]:
    """Give the numbers of events."""
    return [event.get("seq") for event in events]


def place(things: Things, seq: int) -> dict[str, Any]:
    """Say where a client is."""
    return {"epoch": things.epoch, "seq": seq}


# What was missed.


async def test_what_was_missed_comes_before_the_answer(
    server: WireServer, things: Things
) -> None:
    """From memory, in order, with the numbers that live events have."""
    watcher = await server.unix()
    await follow(watcher, since=None)
    for number in range(1, 6):
        things.move(number, "x")
    live = await following(watcher)
    client = await server.unix()
    answer = await follow(client, since=place(things, 2))
    assert (answer["seq"], answer["recovered"]) == (5, True)
    assert [e["params"] for e in client.events] == live[2:]
    assert things.reads == 0


async def test_what_memory_does_not_have_is_read(
    server: WireServer, things: Things
) -> None:
    """Nobody listened, so no event was made: the collection is asked."""
    for number in range(1, 251):
        things.move(number, "x")
    client = await server.unix()
    answer = await follow(client, since=place(things, 0))
    assert (answer["seq"], answer["recovered"]) == (250, True)
    assert numbers(await following(client)) == list(range(1, 251))
    assert things.reads == 4


async def test_nothing_missed_is_recovered(server: WireServer, things: Things) -> None:
    """The answer says so, and no event comes."""
    things.move(1, "x")
    client = await server.unix()
    answer = await follow(client, since=place(things, 1))
    assert (answer["seq"], answer["recovered"]) == (1, True)
    assert await following(client) == []


@pytest.mark.parametrize("case", ["epoch", "future", "dropped"])
async def test_what_cannot_be_sent_is_told(
    server: WireServer, things: Things, case: str
) -> None:
    """Another past, a number that is still to come, events that are kept no longer."""
    for number in range(1, 11):
        things.move(number, "x")
    things.drop(5)
    since = {
        "epoch": {"epoch": "other", "seq": 7},
        "future": place(things, 11),
        "dropped": place(things, 4),
    }[case]
    client = await server.unix()
    answer = await follow(client, since=since)
    assert (answer["seq"], answer["recovered"]) == (10, False)
    assert await following(client) == []
    things.move(11, "y")
    assert numbers(await following(client)) == [11]


async def test_edge_of_what_is_kept(server: WireServer, things: Things) -> None:
    """The number before the oldest event is enough."""
    for number in range(1, 11):
        things.move(number, "x")
    things.drop(5)
    client = await server.unix()
    assert (await follow(client, since=place(things, 5)))["recovered"] is True
    assert numbers(await following(client)) == [6, 7, 8, 9, 10]


async def test_what_is_dropped_on_the_way_is_told(
    server: WireServer, things: Things
) -> None:
    """A client so slow that events go before it got them has lost them."""
    for number in range(1, 301):
        things.move(number, "x", pad="p" * MUCH)
    client = await server.unix(receive_buffer=4096)
    await send_follow(client, since=place(things, 0))
    await until(lambda: things.reads >= 2)
    things.drop(299)
    answer = await client.answer_to("follow")
    assert answer["result"]["recovered"] is False
    found = numbers([event["params"] for event in client.events])
    assert found == list(range(1, len(found) + 1))
    assert len(found) < 300
    things.move(301, "y")
    assert numbers(await following(client))[-1] == 301


async def send_follow(client: WireClient, **options: Any) -> None:
    """Ask for a subscription without waiting for the answer."""
    params = [THINGS, options]
    await client.send_json(
        {"jsonrpc": "2.0", "id": "follow", "method": "core.subscribe", "params": params}
    )


async def until(test: Any) -> None:
    """Wait until something of the server is so."""
    with anyio.fail_after(20):
        while not test():  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.005)


# The items there are.


async def test_snapshot_comes_first(server: WireServer, things: Things) -> None:
    """As added, marked, without a number, before the answer."""
    things.move(1, "a")
    things.move(2, "b")
    client = await server.unix()
    answer = await follow(client, snapshot=True, filters=[["state", "!=", "c"]])
    assert (answer["seq"], answer["recovered"]) == (2, True)
    assert [event["params"] for event in client.events] == [
        {
            "msg": "added",
            "collection": THINGS,
            "id": number,
            "fields": {"id": number, "state": state, "percent": 0, "pad": ""},
            "snapshot": True,
        }
        for number, state in ((1, "a"), (2, "b"))
    ]
    client.events.clear()
    things.move(3, "c")
    things.move(4, "d")
    assert numbers(await following(client)) == [4]


async def test_snapshot_only_when_the_past_is_gone(
    server: WireServer, things: Things
) -> None:
    """With a position, the items are sent when events cannot be."""
    things.move(1, "a")
    things.move(1, "b")
    client = await server.unix()
    answer = await follow(client, snapshot=True, since=place(things, 1))
    assert answer["recovered"] is True
    assert numbers(await following(client)) == [2]
    other = await server.unix()
    answer = await follow(other, snapshot=True, since={"epoch": "x", "seq": 1})
    assert answer["recovered"] is False
    (event,) = await following(other)
    assert (event["snapshot"], event["fields"]["state"]) == (True, "b")


async def test_snapshot_meets_the_live_events(
    server: WireServer, things: Things
) -> None:
    """What happens while the items are sent is sent once, after them, in order."""
    for number in range(1, 301):
        things.move(number, "x", pad="p" * MUCH)
    client = await server.unix(receive_buffer=4096)
    await send_follow(client, snapshot=True)
    await until(lambda: client_backlog(server) > 0)
    for number in range(1, 321):
        things.move(number, "y")
    answer = await client.answer_to("follow")
    assert answer["result"]["seq"] == 620
    events = [event["params"] for event in client.events]
    states: dict[int, list[str]] = {}
    for event in events:
        states.setdefault(event["id"], []).append(event["fields"]["state"])
    # Items that were sent before the change are changed after; others show it.
    assert set(map(tuple, states.values())) == {("x", "y"), ("y",)}
    assert states.keys() == set(range(1, 321))
    assert numbers(events) == sorted(numbers(events), key=lambda n: n or 0)
    client.events.clear()
    things.move(1, "z")
    assert numbers(await following(client)) == [621]


def client_backlog(server: WireServer) -> int:
    """Bytes that wait for the clients of a server."""
    return sum(connection.backlog for connection in server.connections)


async def test_progress_of_the_time_away_is_shown(
    server: WireServer, things: Things
) -> None:
    """What no number tells comes as it is now, after what was missed."""
    things.move(1, "a")
    things.move(2, "a")
    client = await server.unix()
    things.progress(1, 40)
    things.progress(1, 60)
    await follow(client, since=place(things, 1))
    events = await following(client)
    assert [(e["id"], e["fields"]["percent"]) for e in events] == [(2, 0), (1, 60)]
    assert events[1]["snapshot"] is True


async def test_collection_without_numbers_has_a_snapshot() -> None:
    """It is read after the subscription began, so nothing falls in between."""
    things = Things(numbered=False)
    async with wire_server(things.plugin) as server:
        things.begin(server)
        things.items[1] = Thing(1, "x")
        client = await server.unix()
        answer = await follow(client, snapshot=True)
        assert (answer["epoch"], answer["seq"]) == (None, None)
        assert [event["id"] for event in await following(client)] == [1]
        things.progress(1, 5)
        assert [event["id"] for event in await following(client)] == [1]


# Items that go.


async def test_item_that_went_is_told(server: WireServer, things: Things) -> None:
    """Its events are gone with it; who did not ask for removed has lost them."""
    things.move(1, "a")
    things.move(2, "a")
    things.move(1, "b")
    things.remove(1)
    asking, other, after = [await server.unix() for _ in range(3)]
    answer = await follow(asking, since=place(things, 0), removed=True)
    assert answer["recovered"] is True
    events = await following(asking)
    assert [(e["msg"], e["id"]) for e in events] == [("added", 2), ("removed", 1)]
    assert (await follow(other, since=place(things, 0)))["recovered"] is False
    # A deletion alone is no loss: plain subscriptions never tell of one.
    assert (await follow(after, since=place(things, 3)))["recovered"] is True
    assert await following(after) == []


async def test_item_that_went_during_a_snapshot_is_told(
    server: WireServer, things: Things
) -> None:
    """Also when its removal has no number."""
    for number in range(1, 201):
        things.move(number, "x", pad="p" * MUCH)
    client = await server.unix(receive_buffer=4096)
    await send_follow(client, snapshot=True, removed=True)
    await until(lambda: client_backlog(server) > 0)
    things.remove(1, numbered=False)
    await client.answer_to("follow")
    left = Counter(event["params"]["msg"] for event in client.events)
    assert left == {"added": 200, "removed": 1}
    assert client.events[-1]["params"]["id"] == 1


async def test_item_that_dropped_out_while_away_is_removed(
    server: WireServer, things: Things
) -> None:
    """Nobody knows whether the client had it; what is new since it surely has not."""
    things.move(1, "run")
    things.move(2, "end")
    things.move(1, "end")
    things.move(3, "wait")
    things.move(3, "end")
    things.move(4, "run")
    things.move(4, "end")
    client = await server.unix()
    run = [["state", "=", "run"]]
    await follow(client, since=place(things, 2), filters=run, removed=True)
    events = await following(client)
    assert [(e["msg"], e["id"]) for e in events] == [
        ("removed", 1),
        ("added", 4),
        ("removed", 4),
    ]


# Who may see what.


async def test_own_items_only(server: WireServer, things: Things) -> None:
    """In snapshot, replay and live: by the login that is there when it is sent."""
    client = await server.user("JOB_USER")
    accounts = await server.running.context.call("user.query")
    mine = next(a["id"] for a in accounts if a["username"] == "JOB_USER")
    for number, owner in ((1, mine), (2, mine + 1), (3, None)):
        things.owners[number] = owner
        things.move(number, "x")
    things.move(4, "for all")
    await follow(client, since=place(things, 0))
    assert [event["id"] for event in await following(client)] == [1, 4]
    await follow(client, snapshot=True)
    assert [event["id"] for event in await following(client)] == [1, 4]
    things.move(2, "y")
    things.move(1, "y")
    assert [event["id"] for event in await following(client)] == [1, 1]


# Clients that are slow, many, or gone.


async def test_slow_client_holds_little(server: WireServer, things: Things) -> None:
    """A replay is sent as fast as the client takes it; the queue never fills."""
    for number in range(1, 601):
        things.move(number, "x", pad="p" * MUCH)
    client = await server.unix(receive_buffer=4096)
    await send_follow(client, since=place(things, 0))
    most, found = 0, 0
    while found < 600:
        most = max(most, client_backlog(server))
        message = await client.receive()
        found += "method" in message
    assert most < 2**20
    assert (await client.answer_to("follow"))["result"]["recovered"] is True


async def test_stream_that_never_ends_lets_a_client_in(
    server: WireServer, things: Things
) -> None:
    """Catching up comes to an end though events go on."""
    things.move(1, "x")
    client = await server.unix()
    await send_follow(client, since=place(things, 0))
    answered = asyncio.Event()

    async def publish() -> None:
        while not answered.is_set():
            things.move(1, "x")
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(publish)
        await client.answer_to("follow")
        answered.set()
    found = numbers(await following(client))
    assert found == list(range(1, things.seq + 1))


async def test_many_clients_leave_the_loop_to_others(
    server: WireServer, things: Things
) -> None:
    """Each has a moment in turn, and others are answered in between."""
    for number in range(1, 2001):
        things.move(number, "x")
    clients = [await server.unix() for _ in range(10)]
    other = await server.unix()
    for client in clients:
        await send_follow(client, since=place(things, 0))
    longest, reading = 0.0, list(clients)

    async def read(client: WireClient) -> None:
        await client.answer_to("follow")
        reading.remove(client)

    async with anyio.create_task_group() as group:
        for client in clients:
            group.start_soon(read, client)
        while reading:
            # In time of the processor: others may have it, too.
            started = time.process_time()
            await other.call("core.ping")
            longest = max(longest, time.process_time() - started)
    for client in clients:
        found = numbers([e["params"] for e in client.events])
        assert found == list(range(1, 2001))
    assert longest < 1.0


async def test_client_may_go_meanwhile(server: WireServer, things: Things) -> None:
    """Nothing of it is left behind, neither when it closes nor when it unsubscribes."""
    for number in range(1, 301):
        things.move(number, "x", pad="p" * MUCH)
    client = await server.unix(receive_buffer=4096)
    await send_follow(client, since=place(things, 0))
    await until(lambda: client_backlog(server) > 0)
    bus = server.running.app.services.get(EventBus)
    assert bus.has_subscribers(THINGS)
    client.close()
    await until(lambda: not bus.has_subscribers(THINGS))


async def test_ending_the_subscription_meanwhile_is_an_error(
    server: WireServer, things: Things
) -> None:
    """Logging out on the way: the call is answered, and nothing more comes."""
    for number in range(1, 301):
        things.move(number, "x", pad="p" * MUCH)
    client = await server.unix(receive_buffer=4096)
    await send_follow(client, since=place(things, 0))
    await until(lambda: client_backlog(server) > 0)
    await client.send_json({"jsonrpc": "2.0", "id": "out", "method": "auth.logout"})
    answers: dict[str, Any] = {}
    while len(answers) < 2:
        message = await client.receive()
        if "method" not in message:
            answers[message["id"]] = message
    assert answers["follow"]["error"]["data"]["error"] == errno.ECANCELED
    things.move(1, "y")
    client.events.clear()
    assert await following(client) == []


async def test_ring_of_the_bus_is_bounded(server: WireServer, things: Things) -> None:
    """By bytes: what it no longer has is read."""
    client = await server.unix()
    await follow(client, since=None)
    ring: Ring[Any] = things.bus.rings[THINGS]
    for number in range(1, 41):
        things.move(number, "x", pad="p" * 2**18)
        assert numbers(await following(client)) == [number]
    assert len(ring) < 40
    other = await server.unix()
    await follow(other, since=place(things, 0))
    assert numbers(await following(other)) == list(range(1, 41))
    assert things.reads > 0
