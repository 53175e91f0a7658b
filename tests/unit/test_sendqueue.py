"""What waits for one client: order, bounds, and what gives way to what."""

import tracemalloc
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from middlewared.sendqueue import Importance, SendQueue

KEEP, MOVE, NEWEST = Importance.KEEP, Importance.MOVE, Importance.NEWEST
ROOMY = 1 << 30


def take_all(queue: SendQueue) -> bytes:
    """Take everything, as a socket that is suddenly fast would."""
    taken = b""
    while queue:
        taken += queue.take(1 << 16)
    return taken


def test_frames_leave_in_their_order() -> None:
    """First in, first out."""
    queue = SendQueue(ROOMY)
    for number in range(100):
        queue.add(b"%d;" % number)
    assert take_all(queue) == b"".join(b"%d;" % n for n in range(100))
    assert not queue
    assert queue.size == 0


def test_taking_joins_frames_up_to_a_size_and_at_least_one() -> None:
    """A frame is never cut, and one larger than the size leaves alone."""
    queue = SendQueue(ROOMY)
    for frame in (b"a" * 50, b"b" * 3, b"c" * 3, b"d" * 3):
        queue.add(frame)
    assert queue.take(10) == b"a" * 50
    assert queue.take(4) == b"bbbccc"
    assert queue.take(4) == b"ddd"
    assert queue.take(4) == b""


def test_size_is_the_sum_of_what_waits() -> None:
    """In bytes, before and after taking and dropping."""
    queue = SendQueue(ROOMY)
    queue.put(b"1234", key=1, importance=NEWEST)
    queue.put(b"56", key=1, importance=NEWEST, behind=True)
    assert queue.size == 2
    queue.take(1)
    assert queue.size == 0


def test_progress_gives_way_only_when_the_client_is_behind() -> None:
    """Who keeps up sees every move."""
    queue = SendQueue(ROOMY)
    queue.put(b"1", key="job", importance=NEWEST)
    queue.put(b"2", key="job", importance=NEWEST)
    assert queue.conflated == 0
    queue.put(b"3", key="job", importance=NEWEST, behind=True)
    assert take_all(queue) == b"13"
    assert queue.conflated == 1


def test_progress_gives_way_to_a_final_move() -> None:
    """The end says more than the progress before it."""
    queue = SendQueue(ROOMY)
    queue.put(b"progress", key="job", importance=NEWEST, behind=True)
    queue.put(b"end", key="job", importance=KEEP, behind=True)
    assert take_all(queue) == b"end"


def test_other_keys_are_not_touched() -> None:
    """Each job stands for itself."""
    queue = SendQueue(ROOMY)
    for key in "abc":
        queue.put(key.encode(), key=key, importance=NEWEST, behind=True)
    queue.put(b"B", key="b", importance=NEWEST, behind=True)
    assert take_all(queue) == b"acB"


def test_move_gives_way_only_above_the_limit() -> None:
    """RUNNING goes when nothing else helps, ADDED and the end never."""
    for limit, expected in ((ROOMY, b"added running success x"), (25, None)):
        queue = SendQueue(limit)
        queue.put(b"added ", key=1, importance=KEEP, behind=True)
        queue.put(b"running ", key=1, importance=MOVE, behind=True)
        queue.put(b"success ", key=1, importance=KEEP, behind=True)
        queue.add(b"x" * (1 if limit == ROOMY else 10))
        found = take_all(queue)
        assert found == (expected or b"added success " + b"x" * 10)
        assert not queue.overflown


def test_overflow_is_reported_when_dropping_does_not_help() -> None:
    """The owner must disconnect then."""
    queue = SendQueue(10)
    queue.add(b"x" * 10)
    assert not queue.overflown
    queue.add(b"y")
    assert queue.overflown


def test_newest_move_is_never_dropped() -> None:
    """A job that runs is not shown as waiting for ever."""
    queue = SendQueue(20)
    queue.put(b"running", key=1, importance=MOVE, behind=True)
    queue.add(b"x" * 20)
    assert queue.overflown
    assert take_all(queue).startswith(b"running")


def test_clear_forgets_everything() -> None:
    """Also which frames were the newest."""
    queue = SendQueue(ROOMY)
    queue.put(b"1", key=1, importance=NEWEST, behind=True)
    queue.clear()
    assert not queue
    queue.put(b"2", key=1, importance=NEWEST, behind=True)
    assert take_all(queue) == b"2"


def test_frame_that_left_is_not_dropped_any_more() -> None:
    """A newer one of its key changes nothing then."""
    queue = SendQueue(ROOMY)
    queue.put(b"1", key=1, importance=NEWEST, behind=True)
    assert queue.take(1) == b"1"
    queue.put(b"2", key=1, importance=NEWEST, behind=True)
    assert queue.size == 1
    assert take_all(queue) == b"2"


def test_conflated_frames_cost_no_memory() -> None:
    """However many were dropped, they leave nothing behind."""
    queue = SendQueue(ROOMY)
    queue.add(b"x" * 1000)
    tracemalloc.start()
    try:
        for number in range(20_000):
            queue.put(b"%06d" % number, key="job", importance=NEWEST, behind=True)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 200_000
    assert take_all(queue) == b"x" * 1000 + b"019999"


def test_queue_at_its_limit_stays_fast() -> None:
    """Making room is not a walk over everything for each frame."""
    steps = 0

    class Counted(bytes):
        def __bool__(self) -> bool:
            nonlocal steps
            steps += 1
            return True

    queue = SendQueue(100_000)
    for number in range(9_000):
        queue.put(Counted(b"added-----"), key=number, importance=KEEP, behind=True)
    for number in range(9_000):
        move = Counted(b"running---")
        queue.put(move, key=number % 900, importance=MOVE, behind=True)
    assert not queue.overflown
    assert steps < 100_000


Put = tuple[int, Importance, bool, int]


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.integers(0, 3),
                st.sampled_from(Importance),
                st.booleans(),
                st.integers(1, 40),
            ),
            st.integers(1, 60),
        ),
        max_size=120,
    ),
    st.integers(20, 400),
)
def test_no_frame_is_lost_out_of_order_or_twice(
    steps: list[Put | int], limit: int
) -> None:
    """What leaves is a subsequence per key with all KEEP frames and the last one."""
    queue = SendQueue(limit)
    sent: dict[int, list[tuple[bytes, Importance]]] = defaultdict(list)
    taken = b""
    for number, step in enumerate(steps):
        if isinstance(step, int):
            taken += queue.take(step)
            continue
        key, importance, behind, size = step
        frame = b"<%d:%d:%b>" % (key, number, b"." * size)
        queue.put(frame, key=key, importance=importance, behind=behind)
        sent[key].append((frame, importance))
        if queue.overflown:
            assert queue.size > limit
            break
        assert queue.size <= limit
    taken += take_all(queue)
    found = [part + b">" for part in taken.split(b">")[:-1]]
    for key, frames in sent.items():
        mine = [frame for frame in found if frame.startswith(b"<%d:" % key)]
        order = [frame for frame, _ in frames if frame in mine]
        assert mine == order
        assert frames[-1][0] in mine
        assert all(frame in mine for frame, kind in frames if kind is KEEP)
