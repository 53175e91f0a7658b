"""So many events a second about one thing, and always the last one."""

import asyncio
from collections.abc import Hashable

import anyio

from middlewared.sendqueue import Importance
from middlewared.throttle import MIN_KEYS, Throttle

KEEP, MOVE, NEWEST = Importance.KEEP, Importance.MOVE, Importance.NEWEST


class Beat:
    """An event about a thing."""

    def __init__(
        self, thing: Hashable, number: int, importance: Importance = NEWEST
    ) -> None:
        self.id = thing
        self.number = number
        self.importance = importance


class Sink:
    """Keeps what was delivered, and when."""

    def __init__(self, rate: float) -> None:
        self.beats: list[Beat] = []
        self.times: list[float] = []
        self.throttle = Throttle[Beat](rate, self.deliver)
        self.more = asyncio.Event()

    def deliver(self, beat: Beat) -> None:
        self.beats.append(beat)
        self.times.append(asyncio.get_running_loop().time())
        self.more.set()

    @property
    def numbers(self) -> list[int]:
        """What was delivered."""
        return [beat.number for beat in self.beats]

    async def next(self) -> None:
        """Wait for one more."""
        self.more.clear()
        with anyio.fail_after(10):
            await self.more.wait()


async def test_first_passes_and_the_last_follows_in_its_time() -> None:
    """What comes in between gives way."""
    sink = Sink(20)
    for number in range(50):
        sink.throttle.put(Beat("a", number))
    assert sink.numbers == [0]
    await sink.next()
    assert sink.numbers == [0, 49]
    assert sink.times[1] - sink.times[0] > 0.04


async def test_things_do_not_wait_for_each_other() -> None:
    """Each has a rate of its own."""
    sink = Sink(0.001)
    for thing in range(5):
        sink.throttle.put(Beat(thing, thing))
    assert sink.numbers == [0, 1, 2, 3, 4]


async def test_moves_are_never_held_back() -> None:
    """They come at once, in their order, and make what is held obsolete."""
    sink = Sink(0.001)
    for number, importance in enumerate([KEEP, MOVE, NEWEST, NEWEST, KEEP]):
        sink.throttle.put(Beat("a", number, importance))
    assert sink.numbers == [0, 1, 4]
    sink.throttle.put(Beat("a", 5))
    assert sink.numbers == [0, 1, 4]


async def test_rate_counts_from_whatever_came_last() -> None:
    """An older timer does not let a later event out too soon."""
    sink = Sink(10)
    sink.throttle.put(Beat("a", 0))
    sink.throttle.put(Beat("a", 1))
    await anyio.sleep(0.06)
    sink.throttle.put(Beat("a", 2, KEEP))
    sink.throttle.put(Beat("a", 3))
    await sink.next()
    assert sink.numbers == [0, 2, 3]
    assert sink.times[2] - sink.times[1] > 0.09


async def test_what_is_held_is_forgotten_at_the_end() -> None:
    """No timer fires for a feed that is gone."""
    sink = Sink(20)
    sink.throttle.put(Beat("a", 0))
    sink.throttle.put(Beat("a", 1))
    sink.throttle.close()
    sink.throttle.put(Beat("b", 2))
    sink.throttle.put(Beat("b", 3))
    await sink.next()
    assert sink.numbers == [0, 2, 3]


async def test_memory_is_bounded() -> None:
    """Things whose time is over are forgotten."""
    sink = Sink(1000)
    for number in range(5 * MIN_KEYS):
        sink.throttle.put(Beat(number, number))
        if number % MIN_KEYS == 0:
            await anyio.sleep(0.002)
    assert len(sink.throttle) <= 3 * MIN_KEYS
    assert len(sink.numbers) == 5 * MIN_KEYS
