"""The newest events: bounded, in order, without a hole."""

from hypothesis import given
from hypothesis import strategies as st

from middlewared.ring import Ring


def filled(*numbers: int, head: int, **bounds: int) -> Ring[int]:
    """Make a ring and push events of one byte: their own numbers."""
    ring: Ring[int] = Ring(head, **bounds)
    for number in numbers:
        ring.push(number, number, 1)
    return ring


def after(ring: Ring[int], seq: int, limit: int = 100) -> list[int] | None:
    """Give the numbers of what follows."""
    found = ring.after(seq, limit)
    return None if found is None else list(found)


def test_what_follows_a_number_is_given_in_order() -> None:
    """Up to a limit; nothing follows the head."""
    ring = filled(6, 7, 8, head=5)
    assert after(ring, 5) == [6, 7, 8]
    assert after(ring, 6) == [7, 8]
    assert after(ring, 5, 2) == [6, 7]
    assert after(ring, 8) == []
    assert (ring.start, ring.head, len(ring)) == (5, 8, 3)


def test_what_is_older_than_the_ring_is_not_known() -> None:
    """An empty answer would be a lie."""
    assert after(filled(6, head=5), 4) is None
    assert after(Ring(5), 4) is None
    assert after(Ring(5), 5) == []


def test_hole_empties_the_ring() -> None:
    """What was published without an event is for others to tell."""
    ring = filled(6, 7, head=5)
    ring.skip(8)
    assert (after(ring, 7), after(ring, 8)) == (None, [])
    ring.push(9, 9, 1)
    assert after(ring, 8) == [9]
    ring.push(12, 12, 1)
    assert (after(ring, 9), after(ring, 11)) == (None, [12])


def test_oldest_make_room() -> None:
    """By count and by bytes; an event larger than all room is not kept."""
    ring = filled(*range(1, 11), head=0, max_events=4)
    assert (after(ring, 5), after(ring, 6)) == (None, [7, 8, 9, 10])
    ring = Ring(0, max_bytes=20)
    ring.push(1, 1, 6)
    ring.push(2, 2, 0)
    ring.push(3, 3, 6)
    assert (after(ring, 0), after(ring, 1)) == (None, [2, 3])
    ring.push(4, 4, 11)
    assert (after(ring, 3), after(ring, 4), len(ring)) == (None, [], 0)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 2), st.integers(0, 9))),
    st.integers(1, 6),
    st.integers(1, 30),
)
def test_ring_says_the_truth_or_nothing(
    steps: list[tuple[bool, int, int]], max_events: int, max_bytes: int
) -> None:
    """Whatever is pushed and skipped: what follows a number is complete, or unknown.

    No more is kept than may be.
    """
    ring: Ring[int] = Ring(0, max_events=max_events, max_bytes=max_bytes)
    published, sizes, head = list[int](), dict[int, int](), 0
    for pushed, step, size in steps:
        head += step
        published.append(head)
        sizes[head] = size
        if pushed:
            ring.push(head, head, size)
        else:
            ring.skip(head)
        assert (ring.head, after(ring, head)) == (head, [])
        kept = after(ring, ring.start, len(published)) or []
        assert len(kept) <= max_events
        assert sum(sizes[number] for number in kept) <= max_bytes
        for seq in range(head):
            found = after(ring, seq)
            if seq >= ring.start:
                assert found == [n for n in published if n > seq]
            else:
                assert found is None
