"""Subscriptions with options: what of a collection they get, and in which form."""

import errno
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from kept_things import THINGS, Things, follow, following
from wire_client import WireClient
from wire_server import COLLECTION, WireServer, wire_server

from middlewared import Event
from middlewared.access import SYSTEM
from middlewared.events import EventBus, Subscriber
from middlewared.feeds import Cut, Feeds, Member


@pytest.fixture(scope="module")
def things() -> Things:
    return Things()


@pytest.fixture(scope="module")
async def server(things: Things) -> AsyncIterator[WireServer]:
    async with wire_server(things.plugin) as running:
        things.begin(running)
        yield running


def short(event: dict[str, Any]) -> tuple[Any, ...]:
    """Say what an event is about."""
    fields = event.get("fields", {})
    return (event["msg"], event["id"], fields.get("state"))


async def shorts(client: WireClient) -> list[tuple[Any, ...]]:
    return [short(event) for event in await following(client)]


# The answer.


async def test_without_options_the_answer_is_the_ident(server: WireServer) -> None:
    """Also when the options are there and empty."""
    client = await server.unix()
    assert isinstance(await client.call("core.subscribe", THINGS), str)
    assert isinstance(await client.call("core.subscribe", THINGS, {}), str)


@pytest.mark.parametrize(
    "options",
    [
        {"since": None},
        {"snapshot": False},
        {"filters": []},
        {"select": []},
        {"max_rate": None},
        {"removed": False},
        {"tag": None},
    ],
)
async def test_with_any_option_the_answer_says_where_one_is(
    server: WireServer, things: Things, options: dict[str, Any]
) -> None:
    """Whatever the value: who names an option is told epoch and number."""
    things.move(1, "new")
    client = await server.unix()
    answer = await follow(client, **options)
    assert answer == {
        "id": answer["id"],
        "epoch": things.epoch,
        "seq": things.seq,
        "recovered": True,
    }


async def test_events_carry_their_place_only_for_who_asked(
    server: WireServer, things: Things
) -> None:
    """A plain subscriber gets the members of the protocol, no others."""
    plain, asking = await server.unix(), await server.unix()
    await plain.call("core.subscribe", THINGS)
    await follow(asking, since=None, tag="t")
    things.move(1, "moved")
    things.progress(1, 50)
    one, two = await following(plain)
    assert one.keys() == two.keys() == {"msg", "collection", "id", "fields"}
    one, two = await following(asking)
    assert (one["seq"], one["epoch"], one["tag"]) == (things.seq, things.epoch, "t")
    assert two["fields"]["percent"] == 50
    assert two.keys() == {"msg", "collection", "id", "fields", "tag"}


async def test_collection_that_keeps_nothing_has_no_place(server: WireServer) -> None:
    """Epoch and number are null, and nothing is ever recovered."""
    client = await server.unix()
    answer = await client.call("core.subscribe", COLLECTION, {"max_rate": 2})
    assert answer | {"id": ""} == {
        "id": "",
        "epoch": None,
        "seq": None,
        "recovered": True,
    }
    since = {"since": {"epoch": "x", "seq": 1}}
    answer = await client.call("core.subscribe", COLLECTION, since)
    assert answer["recovered"] is False
    response = await client.request("core.subscribe", [COLLECTION, {"snapshot": True}])
    assert response["error"]["data"]["error"] == errno.EOPNOTSUPP


async def test_removed_is_sent_where_it_always_is(server: WireServer) -> None:
    """Collections that tell everybody do so with other options, too."""
    client, deaf = await server.unix(), await server.unix()
    await client.call("core.subscribe", COLLECTION, {"max_rate": 2})
    await deaf.call("core.subscribe", COLLECTION, {"removed": False})
    server.publish(1, "gone", msg="removed")
    assert [event["msg"] for event in await following(client)] == ["removed"]
    assert await following(deaf) == []


@pytest.mark.parametrize("name", ["*", 'job.logs:{"id":1}'])
async def test_names_that_take_no_options(server: WireServer, name: str) -> None:
    """They are refused, not ignored."""
    client = await server.unix()
    response = await client.request("core.subscribe", [name, {"removed": True}])
    assert response["error"]["data"]["error"] == errno.EOPNOTSUPP
    assert "takes no options" in response["error"]["data"]["reason"]


@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"since": 5}, "options.since"),
        ({"since": {"epoch": "x"}}, "options.since"),
        ({"since": {"epoch": "x", "seq": -1}}, "options.since.seq"),
        ({"max_rate": 0}, "options.max_rate"),
        ({"filters": [["a", "?", 1]]}, "options.filters"),
        ({"filters": [["a", "=", 1]] * 101}, "options.filters"),
        ({"select": ["a"] * 101}, "options.select"),
        ({"filter": []}, "options"),
        ({"tag": "x" * 65}, "options.tag"),
    ],
)
async def test_wrong_options_are_named(
    server: WireServer, options: dict[str, Any], attribute: str
) -> None:
    """They are refused as params, and nothing is subscribed to."""
    client = await server.unix()
    response = await client.request("core.subscribe", [THINGS, options])
    assert response["error"]["code"] == -32602
    assert response["error"]["data"]["extra"][0][0] == attribute


async def test_rights_are_those_of_plain_subscriptions(server: WireServer) -> None:
    """Unknown names are for full admins."""
    client = await server.user("JOB_USER")
    response = await client.request("core.subscribe", [COLLECTION, {"since": None}])
    assert response["error"]["data"]["errname"] == "EACCES"
    assert (await follow(client, since=None))["recovered"]


# Filters, select, tag.


async def test_filters_let_matching_items_through(
    server: WireServer, things: Things
) -> None:
    """Conditions are those of queries."""
    client = await server.unix()
    await follow(client, filters=[["state", "in", ["b", "c"]], ["id", ">", 10]])
    things.move(11, "a")
    things.move(11, "b")
    things.move(5, "b")
    things.move(11, "c")
    assert await shorts(client) == [("changed", 11, "b"), ("changed", 11, "c")]


async def test_select_cuts_the_fields(server: WireServer, things: Things) -> None:
    """As in queries, with aliases; the id stays in the event."""
    client = await server.unix()
    await follow(client, select=["state", ["percent", "done"]])
    things.move(20, "x", percent=7)
    (event,) = await following(client)
    assert event["fields"] == {"state": "x", "done": 7}
    assert event["id"] == 20


async def test_item_that_no_longer_matches_is_removed(
    server: WireServer, things: Things
) -> None:
    """For who wants to know; once, and not for items that never matched."""
    asking, other = await server.unix(), await server.unix()
    await follow(asking, filters=[["state", "=", "run"]], removed=True)
    await follow(other, filters=[["state", "=", "run"]])
    things.move(30, "wait")
    things.move(30, "run")
    things.move(30, "end")
    things.move(30, "end")
    assert await shorts(asking) == [("changed", 30, "run"), ("removed", 30, None)]
    assert await shorts(other) == [("changed", 30, "run")]


async def test_removed_goes_to_who_asked(server: WireServer, things: Things) -> None:
    """Neither plain subscribers of this collection nor ``*`` are told."""
    clients = [await server.unix() for _ in range(4)]
    asking, other, plain, star = clients
    await follow(asking, removed=True)
    await follow(other, removed=False)
    await plain.call("core.subscribe", THINGS)
    await star.call("core.subscribe", "*")
    things.move(40, "x")
    things.remove(40)
    assert await shorts(asking) == [("added", 40, "x"), ("removed", 40, None)]
    for client in (other, plain, star):
        assert await shorts(client) == [("added", 40, "x")]


async def test_tags_tell_the_subscriptions_of_a_connection_apart(
    server: WireServer, things: Things
) -> None:
    """Each subscription with options sends its own copy, and ends for itself."""
    client = await server.unix()
    first = await follow(client, filters=[["state", "=", "a"]], tag="one")
    await follow(client, tag="two")
    await client.call("core.subscribe", THINGS)
    things.move(50, "a")
    assert [event.get("tag") for event in await following(client)] == [
        None,
        "one",
        "two",
    ]
    await client.call("core.unsubscribe", first["id"])
    things.move(50, "a")
    assert [event.get("tag") for event in await following(client)] == [None, "two"]


async def test_condition_that_cannot_be_evaluated_ends_the_subscription(
    server: WireServer, things: Things
) -> None:
    """The client is told why, and others go on."""
    client, other = await server.unix(), await server.unix()
    await follow(client, filters=[["state", ">", 5]], tag="bad")
    await follow(other, filters=[["id", ">", 5]])
    things.move(60, "x")
    assert await shorts(other) == [("added", 60, "x")]
    assert await client.call("core.ping") == "pong"
    (told,) = client.events
    assert told["method"] == "notify_unsubscribed"
    assert told["params"]["collection"] == THINGS
    assert told["params"]["tag"] == "bad"
    assert "not supported between" in told["params"]["error"]["reason"]
    client.events.clear()
    things.move(60, "y")
    assert await shorts(client) == []


async def test_pattern_that_takes_too_long_ends_the_subscription(
    server: WireServer, things: Things
) -> None:
    """One event gives a pattern a millisecond; one that needs more is no use here."""
    client, fine = await server.unix(), await server.unix()
    await follow(client, filters=[["pad", "~", "(a|aa)+$"]])
    await follow(fine, filters=[["pad", "~", "a+b"]])
    things.move(70, "x", pad="a" * 60 + "b")
    assert await shorts(fine) == [("added", 70, "x")]
    assert await client.call("core.ping") == "pong"
    assert client.events[0]["params"]["error"]["errname"] == "ETIMEDOUT"


async def test_logging_out_ends_them(server: WireServer, things: Things) -> None:
    """As it ends plain subscriptions."""
    client = await server.unix()
    await follow(client, since=None)
    await client.call("auth.logout")
    things.move(80, "x")
    assert await shorts(client) == []


# Sharing.


class Listener(Subscriber):
    """Keeps the frames it is sent."""

    def __init__(self) -> None:
        self.credentials = SYSTEM
        self.frames: list[bytes] = []

    def send_as(self, event: Event, key: object) -> None:
        self.frames.append(event.frame_for(self))


def refuse(exc: Exception) -> None:
    raise exc


async def test_equal_options_share_their_frames() -> None:
    """Filtered, cut and framed once: every subscriber gets the same object."""
    bus = EventBus()
    feeds = Feeds(bus, "e")
    cut = Cut(filters=[["id", ">", 1]], select=["id"])
    same = msgspec.structs.replace(cut, filters=[["id", ">", 1]])
    listeners = [Listener() for _ in range(20)]
    members = [Member(listener, refuse) for listener in listeners]
    feed_of = {member: feeds.join("x", same, member) for member in members}
    assert len(set(map(id, feed_of.values()))) == 1
    for member, feed in feed_of.items():
        feed.members[member] = None
    bus.publish(Event("x", "added", 2, b'{"id":2,"more":3}', seq=1))
    bus.publish(Event("x", "added", 1, b'{"id":1,"more":3}', seq=2))
    frames = [listener.frames for listener in listeners]
    assert {len(found) for found in frames} == {1}
    assert {id(found[0]) for found in frames} == {id(frames[0][0])}
    for member, feed in feed_of.items():
        feeds.leave(feed, member)
    assert not bus.has_subscribers("x")


async def test_secrets_stay_with_the_sessions_named() -> None:
    """Filters look at the redacted item; a select cuts the clear one, too."""
    bus = EventBus()
    feeds = Feeds(bus, "e")
    caller, other = Listener(), Listener()
    for listener in (caller, other):
        member = Member(listener, refuse)
        for cut in (Cut(select=["key"]), Cut(filters=[["key", "=", "s3cret"]])):
            feeds.join("x", cut, member).members[member] = None
    bus.publish(
        Event(
            "x",
            "changed",
            1,
            b'{"key":"***","n":1}',
            clear=b'{"key":"s3cret","n":1}',
            clear_for=[caller],
        )
    )
    assert [b's3cret"}' in frame for frame in caller.frames] == [True]
    assert [b'"***"}' in frame for frame in other.frames] == [True]
