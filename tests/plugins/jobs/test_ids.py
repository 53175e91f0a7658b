"""Ids: rising, reserved in blocks before use, never used twice."""

from hypothesis import given
from hypothesis import strategies as st

from middlewared_jobs.ids import BLOCK, JobIds


def test_first_id_needs_a_mark() -> None:
    """The first id of a start asks for a block to be written."""
    ids = JobIds(1)
    assert ids.take() == (1, 1 + BLOCK)
    assert ids.take() == (2, None)


@given(st.integers(1, 10**12), st.integers(1, 3 * BLOCK))
def test_ids_rise_by_one_below_the_mark(first: int, count: int) -> None:
    """Every id follows the one before and lies below the newest mark."""
    ids, mark = JobIds(first), first
    for expected in range(first, first + count):
        number, wanted = ids.take()
        assert number == expected
        mark = wanted or mark
        assert number < mark


@given(st.lists(st.integers(1, 2500), min_size=1, max_size=5))
def test_no_start_takes_an_id_of_another(counts: list[int]) -> None:
    """A crash after any number of ids skips some, but lends none again."""
    seen: set[int] = set()
    first = 1
    for count in counts:
        ids = JobIds(first)
        for _ in range(count):
            number, mark = ids.take()
            assert number not in seen
            seen.add(number)
            first = mark or first
