"""The events of jobs by number: given out in order, read in parts, let go in time."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from jobs_records import make_record

from middlewared import Event, Plugin
from middlewared.registry import Registry
from middlewared.testing import ManualClock
from middlewared_jobs import Job, State, job
from middlewared_jobs.announcement import Announcement, size_of
from middlewared_jobs.change import change_of
from middlewared_jobs.journal import PART, PART_BYTES, Journal
from middlewared_jobs.memory_store import MemoryStore
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.store import KeptMove
from middlewared_jobs.views import ITEM, RECORD


class CountingStore(MemoryStore):
    """Counts how often kept events are read."""

    reads = 0

    async def moves(self, after: int, upto: int, size: int) -> Sequence[KeptMove]:
        self.reads += 1
        return await super().moves(after, upto, size)


class World:
    """A journal over a store, and a clock."""

    def __init__(self, **settings: Any) -> None:
        plugin = Plugin("t")

        @plugin.method
        @job(read_roles=["READER"])
        async def echo(job: Job) -> None:
            """Do nothing."""

        self.store = CountingStore()
        self.clock = ManualClock()
        self.journal = Journal(
            self.store,
            Registry([plugin]),
            self.clock,
            JobSettings(**settings),
            (0, 0),
        )

    def write(self, count: int = 1, *, size: int = 0, **changes: Any) -> None:
        """Write moves of jobs, one each."""
        for _ in range(count):
            record = make_record(self.journal.head + 1, **changes)
            change = change_of(record)
            told = Announcement(record.id, "added", change=change)
            told.size = size or size_of(record, change)
            moves = self.journal.number([told], self.clock.time_ms())
            assert told.seq == self.journal.head == moves[0][0]
            self.store.save(record, None, None, (), moves)

    async def numbers(self, after: int, upto: int | None = None) -> list[int] | None:
        """Give the numbers of all that follows one."""
        upto = self.journal.head if upto is None else upto
        found: list[int] = []
        while after < upto:
            events = await self.journal.replay(ITEM, after, upto)
            if events is None:
                return None
            if not events:
                break
            after = events[-1].seq or 0
            found += [event.seq or 0 for event in events]
        return found


@pytest.fixture
def world() -> World:
    return World()


async def test_events_show_jobs_in_both_views(world: World) -> None:
    """With the audience of the job: its owner, and who may read its method."""
    world.write(owner=5, state=State.RUNNING, attempt=1)
    for view in (ITEM, RECORD):
        events = await world.journal.replay(view, 0, 1)
        assert events is not None
        (event,) = events
        assert isinstance(event, Event)
        assert (event.collection, event.msg, event.seq) == (view.collection, "added", 1)
        assert event.fields is not None
        assert list(msgspec.json.decode(event.fields)) == list(view.fields)
        assert event.audience is not None
        assert event.audience.owner == 5
        assert event.audience.roles == frozenset({"READER"})


async def test_everything_that_follows_is_given_once(world: World) -> None:
    """Over the borders of parts, from any number to any other."""
    world.write(2 * PART + 10)
    for after in (0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 9):
        for upto in (after, after + 1, PART + 5, 2 * PART + 10):
            assert await world.numbers(after, upto) == list(range(after + 1, upto + 1))


async def test_clients_that_were_away_share_what_is_read(world: World) -> None:
    """Fifty of them cost hardly more than one, though each begins elsewhere."""
    world.write(3 * PART)
    for after in range(50):
        assert await world.numbers(after) == list(range(after + 1, 3 * PART + 1))
    assert world.store.reads == 3
    one = await world.journal.replay(ITEM, 0, 5)
    other = await world.journal.replay(ITEM, 0, 5)
    assert one is not None
    assert other is not None
    assert one[0] is other[0]


async def test_new_events_follow_a_part_that_was_read(world: World) -> None:
    """A part that was not full is read again when there is more."""
    world.write(5)
    assert await world.numbers(0) == [1, 2, 3, 4, 5]
    world.write(3)
    assert await world.numbers(2) == [3, 4, 5, 6, 7, 8]


async def test_numbers_that_were_never_used_are_passed_over(world: World) -> None:
    """A write that failed leaves a hole, also one as large as a part."""
    world.write(3)
    world.journal.head += PART
    world.write(2)
    last = PART + 4
    assert await world.numbers(0) == [1, 2, 3, last, last + 1]
    assert await world.journal.replay(ITEM, 3, PART) == []


async def test_large_events_are_read_a_few_at_a_time(world: World) -> None:
    """What is in memory at one time is bounded, whatever the results."""
    world.write(20, size=PART_BYTES // 3)
    events = await world.journal.replay(ITEM, 0, 20)
    assert events is not None
    assert len(events) == 3
    assert await world.numbers(0) == list(range(1, 21))
    assert await world.numbers(11) == list(range(12, 21))
    world.write(2, size=PART_BYTES * 2)
    assert await world.numbers(19) == [20, 21, 22]


async def test_too_many_events_are_let_go() -> None:
    """The oldest ones; who asks for them is told."""
    world = World(kept_events=10)
    world.write(25)
    await world.journal.trim()
    assert world.journal.oldest == 15
    assert await world.store.kept_range() == (15, 25)
    assert await world.numbers(14) is None
    assert await world.numbers(15) == list(range(16, 26))


async def test_old_events_are_let_go() -> None:
    """By their age; the newest stays, since the next start counts on from it."""
    world = World(kept_events_age=60)
    world.write(3)
    world.clock.advance(50)
    world.write(3)
    await world.journal.trim()
    assert world.journal.oldest == 0
    world.clock.advance(20)
    await world.journal.trim()
    assert world.journal.oldest == 3
    assert await world.numbers(3) == [4, 5, 6]
    world.clock.advance(1000)
    await world.journal.trim()
    assert await world.store.kept_range() == (5, 6)
    assert await world.numbers(5) == [6]


async def test_what_goes_while_it_is_read_is_told(world: World) -> None:
    """Never a part of it as if it were all."""
    world.write(20)
    read = world.store.moves

    async def trimmed(after: int, upto: int, size: int) -> Sequence[KeptMove]:
        found = await read(after, upto, size)
        world.journal.oldest = 10
        return found

    world.store.moves = trimmed  # type: ignore[method-assign]  # a race on demand
    assert await world.journal.replay(ITEM, 5, 20) is None


async def test_events_of_removed_jobs_are_forgotten(world: World) -> None:
    """Also those that were read before."""
    world.write(3, state=State.SUCCESS, time_finished=None)
    assert await world.numbers(0) == [1, 2, 3]
    world.store.delete([2], None)
    world.journal.forget()
    events = await world.journal.replay(ITEM, 0, 3)
    assert events is not None
    assert [event.fields is None for event in events] == [False, True, False]


async def test_journal_with_nothing(world: World) -> None:
    """Trims nothing, and gives nothing."""
    await world.journal.trim()
    assert (world.journal.oldest, world.journal.head) == (0, 0)
    assert await world.journal.replay(ITEM, 0, 0) == []
