"""Events of a tick reach every member once, in order, in as few pieces as can be."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared.broadcast import ALL_EVENTS, Broadcast, Parcel
from middlewared.sendqueue import Importance

NAMES = ("jobs", "users")


class Told(NamedTuple):
    """An event as a test makes it."""

    collection: str
    key: int
    importance: Importance = Importance.KEEP


class Member:
    """Keeps what it was told, and in how many pieces."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.pieces: list[bytes] = []

    def take(self, parcel: Parcel) -> None:
        """Take a parcel."""
        assert parcel.size == len(parcel.joined)
        assert parcel.joined == b"".join(frame for _, frame in parcel.items)
        assert parcel.events == len([e for e, _ in parcel.items if e.collection])
        self.heard += [int(frame[1:-1]) for _, frame in parcel.items]
        self.pieces.append(parcel.joined)


def frame(number: int) -> bytes:
    """Build a frame that tells its number."""
    return b"<%d>" % number


async def tick() -> None:
    """Let what is due in this tick of the loop happen."""
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(ended.set_result, None)
    await ended


@pytest.fixture
def broadcast() -> Broadcast:
    return Broadcast()


def join(broadcast: Broadcast, *names: str) -> Member:
    """Let somebody in."""
    member = Member()
    broadcast.place(member, frozenset(names), member.take)
    return member


async def test_events_of_a_tick_come_in_one_piece_made_once(
    broadcast: Broadcast,
) -> None:
    """The very same bytes for everybody of the group."""
    first, second = join(broadcast, "jobs"), join(broadcast, "jobs")
    for number in range(3):
        broadcast.add(Told("jobs", number), frame(number))
    assert first.pieces == []
    await tick()
    assert first.pieces == [b"<0><1><2>"]
    assert first.pieces[0] is second.pieces[0]
    broadcast.add(Told("jobs", 3), frame(3))
    await tick()
    assert first.heard == second.heard == [0, 1, 2, 3]


async def test_groups_get_their_own_collections(broadcast: Broadcast) -> None:
    """One collection, both, or all there are."""
    one, both = join(broadcast, "jobs"), join(broadcast, *NAMES)
    everything, none = join(broadcast, ALL_EVENTS), join(broadcast, "others")
    for number, name in enumerate(("jobs", "users", "third")):
        broadcast.add(Told(name, number), frame(number))
    await tick()
    assert (one.heard, both.heard) == ([0], [0, 1])
    assert (everything.heard, none.pieces) == ([0, 1, 2], [])


async def test_who_catches_up_gets_only_the_rest_later(broadcast: Broadcast) -> None:
    """Something else may be sent in between, in its place."""
    member, other = join(broadcast, "jobs"), join(broadcast, "jobs")
    broadcast.add(Told("jobs", 1), frame(1))
    broadcast.catch_up(member)
    broadcast.catch_up(member)
    assert member.pieces == [frame(1)]
    broadcast.add(Told("jobs", 2), frame(2))
    await tick()
    assert member.pieces == [frame(1), frame(2)]
    assert other.pieces == [frame(1) + frame(2)]


async def test_what_is_ones_own_stands_between_the_events(
    broadcast: Broadcast,
) -> None:
    """In one piece with them; others do not get it, those of all events neither."""
    member, other = join(broadcast, "jobs"), join(broadcast, "jobs")
    everything, stranger = join(broadcast, ALL_EVENTS), Member()
    assert not broadcast.insert(member, frame(0))
    broadcast.add(Told("jobs", 1), frame(1))
    assert broadcast.insert(member, frame(2))
    assert not broadcast.insert(stranger, frame(2))
    broadcast.add(Told("jobs", 3), frame(3))
    assert broadcast.insert(everything, frame(4))
    await tick()
    assert (member.pieces, other.pieces) == ([b"<1><2><3>"], [b"<1><3>"])
    assert everything.pieces == [b"<1><3><4>"]


async def test_who_comes_gets_what_follows_and_who_goes_what_was(
    broadcast: Broadcast,
) -> None:
    """In the middle of a tick, too."""
    leaving = join(broadcast, "jobs")
    broadcast.add(Told("jobs", 1), frame(1))
    coming = join(broadcast, "jobs")
    broadcast.place(leaving, frozenset(), leaving.take)
    broadcast.add(Told("jobs", 2), frame(2))
    await tick()
    assert (leaving.heard, coming.heard) == ([1], [2])


def test_names_what_somebody_listens_to(broadcast: Broadcast) -> None:
    """Events that nobody wants are not made."""
    assert not broadcast.names
    member = join(broadcast, "jobs")
    assert broadcast.names == {"jobs"}
    join(broadcast, ALL_EVENTS)
    assert broadcast.names == {"jobs", ALL_EVENTS}
    broadcast.place(member, frozenset(), member.take)
    assert broadcast.names == {ALL_EVENTS}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from((*NAMES, "third"))),
        st.tuples(st.just("catch up"), st.integers(0, 3)),
        st.tuples(st.just("insert"), st.integers(0, 3)),
        st.tuples(st.just("tick"), st.none()),
        st.tuples(
            st.just("place"),
            st.tuples(
                st.integers(0, 3),
                st.sets(st.sampled_from((*NAMES, ALL_EVENTS))).map(frozenset),
            ),
        ),
    ),
    max_size=40,
)


@given(STEPS)
def test_everybody_hears_what_a_model_says(steps: list[tuple[str, Any]]) -> None:
    """Each event once, in order, by where the member was when it was published."""

    async def run() -> None:
        broadcast, number = Broadcast(), 0
        members = [Member() for _ in range(4)]
        places: list[frozenset[str]] = [frozenset()] * 4
        expected: list[list[int]] = [[] for _ in members]
        act: dict[str, Callable[[Any], None]] = {
            "catch up": lambda who: broadcast.catch_up(members[who]),
            "place": lambda to: broadcast.place(
                members[to[0]], to[1], members[to[0]].take
            ),
        }
        for what, value in steps:
            if what == "add":
                number += 1
                broadcast.add(Told(value, number), frame(number))
                for heard, names in zip(expected, places, strict=True):
                    if value in names or ALL_EVENTS in names:
                        heard.append(number)
            elif what == "insert":
                number += 1
                if broadcast.insert(members[value], frame(number)):
                    expected[value].append(number)
            elif what == "tick":
                await tick()
                assert [member.heard for member in members] == expected
            else:
                act[what](value)
                if what == "place":
                    places[value[0]] = value[1]
        await tick()
        assert [member.heard for member in members] == expected

    asyncio.run(run())
