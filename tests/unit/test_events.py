"""Events: encoded once, framed once per view, sent to who may see."""

from typing import Any

import msgspec
import pytest

from middlewared import Access, Audience, Credentials, Event
from middlewared.events import ALL_EVENTS, Collection, EventBus, Subscriber
from middlewared.sendqueue import Importance


def who(name: str, account_id: int, *roles: str) -> Credentials:
    return Credentials(
        type="LOGIN_PASSWORD",
        account_id=account_id,
        username=name,
        roles=frozenset(roles),
        login_id=name,
        login_at=0,
    )


class Listener(Subscriber):
    """Keeps the frames it is sent."""

    def __init__(self, credentials: Credentials | None) -> None:
        self.credentials = credentials
        self.frames: list[bytes] = []

    def send_event(self, event: Event) -> None:
        self.frames.append(event.frame_for(self))

    def messages(self) -> list[Any]:
        """What the frames say."""
        return [
            msgspec.json.decode(frame[frame.index(b"{") :]) for frame in self.frames
        ]


@pytest.fixture
def bus() -> EventBus:
    bus = EventBus()
    access = Access(authenticated=True)
    bus.collections["things"] = Collection("things", dict, access, "Things.")
    return bus


ADMIN = who("admin", 1, "FULL_ADMIN")
OWNER = who("owner", 2, "JOB_USER")
READER = who("reader", 3, "THING_READ")
OTHER = who("other", 4, "JOB_USER")


def test_notification_has_the_members_of_the_protocol() -> None:
    """Protocol page, section 4."""
    listener = Listener(ADMIN)
    listener.send_event(Event("things", "added", 7, b'{"a":1}'))
    listener.send_event(Event('thi"ngs', "removed", "k", None))
    assert listener.messages() == [
        {
            "jsonrpc": "2.0",
            "method": "collection_update",
            "params": {
                "msg": "added",
                "collection": "things",
                "id": 7,
                "fields": {"a": 1},
            },
        },
        {
            "jsonrpc": "2.0",
            "method": "collection_update",
            "params": {"msg": "removed", "collection": 'thi"ngs', "id": "k"},
        },
    ]


def test_event_is_framed_once_for_all(bus: EventBus) -> None:
    """Every subscriber is given the same object."""
    listeners = [Listener(who(str(n), n, "FULL_ADMIN")) for n in range(50)]
    for listener in listeners:
        bus.subscribe("things", listener)
    bus.publish(Event("things", "changed", 1, b"{}"))
    assert {id(listener.frames[0]) for listener in listeners} == {
        id(listeners[0].frames[0])
    }


def test_secrets_are_for_the_sessions_named_only(bus: EventBus) -> None:
    """By session: another login of the same account sees the redacted view."""
    caller, same_account, admin = Listener(OWNER), Listener(OWNER), Listener(ADMIN)
    for listener in (caller, same_account, admin):
        bus.subscribe("things", listener)
    bus.publish(
        Event(
            "things",
            "changed",
            1,
            b'{"key":"********"}',
            clear=b'{"key":"s3cret"}',
            clear_for=[caller],
        )
    )
    shown = [
        listener.messages()[0]["params"]["fields"]["key"]
        for listener in (caller, same_account, admin)
    ]
    assert shown == ["s3cret", "********", "********"]


def test_audience_sees_and_nobody_else(bus: EventBus) -> None:
    """The owner, holders of a read role, full admins; no stranger, no guest."""
    everybody = {
        name: Listener(credentials)
        for name, credentials in {
            "admin": ADMIN,
            "owner": OWNER,
            "reader": READER,
            "other": OTHER,
            "guest": None,
        }.items()
    }
    for listener in everybody.values():
        bus.subscribe("things", listener)
    audience = Audience(2, frozenset({"THING_READ"}))
    bus.publish(Event("things", "added", 1, b"{}", audience=audience))
    bus.publish(Event("things", "added", 2, b"{}", audience=Audience(None)))
    bus.publish(Event("things", "added", 3, b"{}"))
    seen = {
        name: [message["params"]["id"] for message in listener.messages()]
        for name, listener in everybody.items()
    }
    assert seen == {
        "admin": [1, 2, 3],
        "owner": [1, 3],
        "reader": [1, 3],
        "other": [3],
        "guest": [],
    }


def test_subscribing_twice_delivers_one_copy(bus: EventBus) -> None:
    """Also when one of the names is ``*``."""
    listener = Listener(ADMIN)
    bus.subscribe("things", listener)
    bus.subscribe("things", listener)
    bus.subscribe(ALL_EVENTS, listener)
    bus.publish(Event("things", "added", 1, b"{}"))
    assert len(listener.frames) == 1


def test_star_listens_to_every_collection(bus: EventBus) -> None:
    """And to nothing once it is over."""
    listener = Listener(ADMIN)
    bus.subscribe(ALL_EVENTS, listener)
    for name in ("things", "others"):
        assert bus.has_subscribers(name)
        bus.publish(Event(name, "added", 1, b"{}"))
    assert len(listener.frames) == 2
    bus.unsubscribe(ALL_EVENTS, listener)
    assert not bus.has_subscribers("things")
    bus.publish(Event("things", "added", 2, b"{}"))
    assert len(listener.frames) == 2


def test_unsubscribing_ends_delivery_and_unknown_pairs_are_ignored(
    bus: EventBus,
) -> None:
    """The others go on."""
    first, second = Listener(ADMIN), Listener(ADMIN)
    bus.unsubscribe("things", first)
    bus.subscribe("things", first)
    bus.subscribe("things", second)
    bus.unsubscribe("things", first)
    bus.unsubscribe("elsewhere", first)
    bus.publish(Event("things", "added", 1, b"{}"))
    assert (len(first.frames), len(second.frames)) == (0, 1)
    assert bus.has_subscribers("things")
    bus.unsubscribe("things", second)
    assert not bus.has_subscribers("things")


def test_subscriber_may_leave_while_an_event_is_delivered(bus: EventBus) -> None:
    """A connection that overflows is closed in the middle of a delivery."""

    class Leaving(Listener):
        def send_event(self, event: Event) -> None:
            super().send_event(event)
            bus.unsubscribe("things", self)

    listeners = [Leaving(ADMIN) for _ in range(5)]
    for listener in listeners:
        bus.subscribe("things", listener)
    bus.publish(Event("things", "added", 1, b"{}"))
    assert [len(listener.frames) for listener in listeners] == [1] * 5
    assert not bus.has_subscribers("things")


def test_key_tells_items_and_collections_apart() -> None:
    """Only events about the same thing may replace each other."""
    one = Event("things", "changed", 1, b"{}", importance=Importance.NEWEST)
    assert one.key == Event("things", "added", 1, b"{}").key
    assert one.key != Event("things", "changed", 2, b"{}").key
    assert one.key != Event("others", "changed", 1, b"{}").key
    assert one.key != Event("things", "changed", "1", b"{}").key


@pytest.mark.parametrize("name", ["things", ALL_EVENTS])
def test_ring_knows_what_nobody_listened_to(bus: EventBus, name: str) -> None:
    """Events that nobody would get need not be published; the ring has a hole then."""
    happened = 7
    bus.begin("things", lambda: happened)
    ring = bus.rings["things"]
    assert (ring.start, ring.head) == (7, 7)
    happened = 9
    listener = Listener(ADMIN)
    bus.subscribe(name, listener)
    assert (ring.start, ring.head, ring.after(8, 1)) == (9, 9, None)
    happened = 10
    bus.publish(Event("things", "added", 1, b"{}", seq=10))
    bus.attach("things", bus_taker())
    assert [event.seq for event in ring.after(9, 5) or ()] == [10]
    assert len(listener.frames) == 1


def bus_taker() -> Any:
    """Make somebody who follows and does nothing."""

    class Idle:
        def take(self, event: Event) -> None:
            pass

    return Idle()
