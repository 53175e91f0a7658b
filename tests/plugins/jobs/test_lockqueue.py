"""Who runs next, held against a list that is searched from its start."""

import gc
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from middlewared_jobs.lockqueue import LockQueue
from middlewared_jobs.spec import Kind

LOCKS = [None, "a", "b", "c"]
#: How many jobs with a key may run; one key has one limit here.
LIMITS = {"x": 1, "y": 2, "z": 2}


def make_queue(slots: int) -> LockQueue:
    """Make a queue with as many slots of each kind."""
    return LockQueue(dict.fromkeys(Kind, slots))


class Item:
    """A job as the queue sees it."""

    def __init__(
        self,
        number: int,
        lock: str | None,
        *,
        kind: Kind = Kind.LOOP,
        priority: int = 0,
        keys: Sequence[str] = (),
    ) -> None:
        self.id = number
        self.lock = lock
        self.kind = kind
        self.priority = priority
        self.limits = tuple((key, LIMITS[key]) for key in keys)

    def __repr__(self) -> str:
        return f"Item({self.id}, {self.lock!r}, {self.kind})"


class QueueMachine(RuleBasedStateMachine):
    """The queue beside a model that is too simple to be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Item] = []
        self.running: list[Item] = []
        self.lending: list[Item] = []
        self.last = 0
        self.slots = dict.fromkeys(Kind, 1)
        self.queue = LockQueue(self.slots)

    @initialize(slots=st.tuples(*[st.integers(1, 3)] * len(Kind)))
    def start(self, slots: tuple[int, ...]) -> None:
        """Choose how many may run."""
        self.slots = dict(zip(Kind, slots, strict=True))
        self.queue = LockQueue(self.slots)

    def free(self, kind: Kind) -> int:
        """Count the free slots of an executor."""
        taken = [item for item in self.running if item.kind is kind]
        lent = [item for item in self.lending if item.kind is kind]
        return self.slots[kind] - len(taken) + len(lent)

    def has_room(self, item: Item) -> bool:
        """Say whether what a waiting item needs is free."""
        if self.free(item.kind) <= 0:
            return False
        keys = [key for other in self.running for key, _ in other.limits]
        if any(keys.count(key) >= most for key, most in item.limits):
            return False
        held = any(other.lock == item.lock for other in self.running)
        return item.lock is None or not held

    def may_run(self, item: Item) -> bool:
        """Say from the rules alone whether a waiting item may run now."""
        if not self.has_room(item):
            return False
        if item.lock is None:
            return True
        first = next(other for other in self.waiting if other.lock == item.lock)
        return first is item

    @rule(
        lock=st.sampled_from(LOCKS),
        kind=st.sampled_from(Kind),
        priority=st.integers(-1, 1),
        keys=st.lists(st.sampled_from(sorted(LIMITS)), unique=True),
    )
    def add(self, lock: str | None, kind: Kind, priority: int, keys: list[str]) -> None:
        """Let another one wait."""
        self.last += 1
        item = Item(self.last, lock, kind=kind, priority=priority, keys=keys)
        self.waiting.append(item)
        self.queue.add(item)

    @rule(
        lock=st.sampled_from(LOCKS), kind=st.sampled_from(Kind), limited=st.booleans()
    )
    def pass_by(self, lock: str | None, kind: Kind, limited: bool) -> None:
        """Let another one run at once, if nothing waits and it needs a slot only."""
        self.last += 1
        keys = sorted(LIMITS)[:1] if limited else []
        item = Item(self.last, lock, kind=kind, priority=0, keys=keys)
        plain = lock is None and not limited and self.free(kind) > 0
        assert self.queue.pass_by(item) is (plain and not self.waiting)
        if plain and not self.waiting:
            self.running.append(item)

    @rule()
    def take(self) -> None:
        """Take the first of its executor that may run, or none if none may."""
        found: Any = self.queue.take()
        able = [item for item in self.waiting if self.may_run(item)]
        if not able:
            assert found is None
            return
        mine = [item for item in able if item.kind is found.kind]
        assert found is min(mine, key=lambda item: (-item.priority, item.id))
        self.waiting.remove(found)
        self.running.append(found)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take_past(self, data: st.DataObject) -> None:
        """Take any of the waiting ones, if what it needs is free."""
        item = data.draw(st.sampled_from(self.waiting))
        assert self.queue.take_past(item) is self.has_room(item)
        if self.has_room(item):
            self.waiting.remove(item)
            self.running.append(item)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Let any of the running ones end."""
        item = data.draw(st.sampled_from(self.running))
        if item in self.lending:
            self.lending.remove(item)
            self.queue.take_back(item)
        self.running.remove(item)
        self.queue.release(item)

    @precondition(lambda self: len(self.running) > len(self.lending))
    @rule(data=st.data())
    def lend(self, data: st.DataObject) -> None:
        """Let any of the running ones lend its slot."""
        able = [item for item in self.running if item not in self.lending]
        item = data.draw(st.sampled_from(able))
        self.lending.append(item)
        self.queue.lend(item)

    @precondition(lambda self: self.lending)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """Let any of these go on, whether its slot is free or not."""
        item = data.draw(st.sampled_from(self.lending))
        self.lending.remove(item)
        self.queue.take_back(item)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Forget any of the waiting ones."""
        item = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(item)
        self.queue.remove(item)

    @invariant()
    def counts_agree(self) -> None:
        """The queue knows how many wait, and for which lock in which order."""
        assert len(self.queue) == len(self.waiting)
        for lock in LOCKS[1:]:
            assert lock is not None
            mine = [item for item in self.waiting if item.lock == lock]
            held = any(item.lock == lock for item in self.running)
            assert self.queue.count_waiting(lock) == len(mine)
            assert list(self.queue.waiting_for(lock)) == mine[::-1]
            assert self.queue.is_busy(lock) is bool(mine or held)

    @invariant()
    def no_lock_is_held_twice(self) -> None:
        """Never do two run with one lock, nor more than limits allow."""
        keys = [key for item in self.running for key, _ in item.limits]
        assert all(keys.count(key) <= most for key, most in LIMITS.items())
        held = [item.lock for item in self.running if item.lock is not None]
        assert len(held) == len(set(held))


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def drained(queue: LockQueue) -> list[int]:
    """Run everything to its end, one after the other; give the ids in order."""
    found = []
    while (item := queue.take()) is not None:
        found.append(item.id)
        queue.release(item)
    return found


def test_one_lock_runs_in_order() -> None:
    """Jobs with one lock run one at a time, first come, first served."""
    queue = make_queue(8)
    kinds = itertools.cycle(Kind)
    items = [Item(n, "a", kind=next(kinds)) for n in range(1, 6)]
    for item in items:
        queue.add(item)
    assert queue.take() is items[0]
    assert queue.take() is None
    queue.release(items[0])
    assert drained(queue) == [2, 3, 4, 5]


def test_free_locks_overtake() -> None:
    """A job whose lock is free passes those that wait for another lock."""
    queue = make_queue(8)
    for number, lock in enumerate(["a", "a", "b", None], 1):
        queue.add(Item(number, lock))
    first = [queue.take() for _ in range(4)]
    assert [item.id if item else None for item in first] == [1, 3, 4, None]


def test_slots_are_given_by_id() -> None:
    """Beyond the slots, the oldest waits least, with or without a lock."""
    queue = make_queue(1)
    items = [Item(n, lock) for n, lock in enumerate([None, "a", None, "b"], 1)]
    for item in reversed(items):
        queue.add(item)
    assert drained(queue) == [1, 2, 3, 4]


def test_kinds_have_their_own_slots() -> None:
    """A full executor does not hold up the others."""
    queue = make_queue(1)
    kinds = [Kind.THREAD, Kind.THREAD, Kind.LOOP, Kind.PROCESS, Kind.PROCESS]
    for number, kind in enumerate(kinds, 1):
        queue.add(Item(number, None, kind=kind))
    taken = {item.id for item in (queue.take(), queue.take(), queue.take()) if item}
    assert taken == {1, 3, 4}
    assert queue.take() is None


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_removal_keeps_the_order_of_the_others(removed: int) -> None:
    """Whichever waiting job is forgotten, the others run in their order."""
    queue = make_queue(1)
    items = [Item(n, "a") for n in range(3)]
    for item in items:
        queue.add(item)
    queue.remove(items[removed])
    assert drained(queue) == [n for n in range(3) if n != removed]
    assert not queue.is_busy("a")


def test_removal_leaves_its_room_to_the_next() -> None:
    """A job that was let past its limit and is removed holds up none behind it."""
    queue = make_queue(1)
    one = Item(1, None, kind=Kind.THREAD, keys=["x"])
    queue.add(one)
    assert queue.take() is one
    two, three, other = (
        Item(2, None, keys=["x"]),
        Item(3, None, keys=["x"]),
        Item(4, None),
    )
    for item in (two, three, other):
        queue.add(item)
    assert queue.take() is other
    queue.release(one)
    queue.remove(two)
    queue.release(other)
    assert queue.take() is three


@pytest.mark.parametrize("lock", [None, "a"])
@pytest.mark.parametrize("keys", [(), ("x",)])
def test_nothing_is_kept_of_what_was_removed(
    lock: str | None, keys: Sequence[str]
) -> None:
    """Neither of the last that waited, though the next ones only pass by."""
    queue = make_queue(1)
    first = Item(1, None, keys=keys)
    queue.add(first)
    assert queue.take() is first
    waiting = [Item(n, lock, keys=keys) for n in range(2, 5)]
    for item in waiting:
        queue.add(item)
    queue.take()
    for item in waiting:
        queue.remove(item)
    queue.release(first)
    assert queue.pass_by(Item(5, None))
    del item
    assert gc.get_referrers(*waiting) == [waiting]
