"""Times of a schedule against a look at every second."""

from hypothesis import given
from hypothesis import strategies as st

from middlewared_schedules.cron import Cron, find_zone
from middlewared_schedules.times import Every, Times

seconds = st.integers(0, 600).map(lambda n: n * 1000)


def every_second(first: int, step: int, times: Times) -> set[int]:
    """Give the times up to 1,200 s that an interval has, by its definition."""
    found = set()
    for moment in range(first, 1_200_000, step):
        before = times._start is not None and moment < times._start
        after = times._end is not None and moment > times._end
        if not before and not after:
            found.add(moment + times._delay)
    return found


@st.composite
def intervals(draw: st.DrawFn) -> tuple[Times, set[int]]:
    """Give times, and what a look at every second finds."""
    first = draw(seconds)
    step = draw(st.integers(1, 90)) * 1000
    times = Times(
        Every(first, step),
        start=draw(st.none() | seconds),
        end=draw(st.none() | seconds),
        delay=draw(st.integers(0, 60_000)),
    )
    return times, every_second(first, step, times)


@given(intervals(), st.integers(-5_000, 600_000))
def test_next_time(found: tuple[Times, set[int]], since: int) -> None:
    """After any moment comes the first of those that are later."""
    times, all_of_them = found
    later = [moment for moment in all_of_them if moment > since]
    assert times.after(since) == (min(later) if later else None)


@given(intervals(), seconds, seconds, st.integers(1, 12))
def test_newest_times(
    found: tuple[Times, set[int]], first: int, last: int, limit: int
) -> None:
    """The newest of a span are the last ones of it, in order."""
    times, all_of_them = found
    within = sorted(moment for moment in all_of_them if first <= moment <= last)
    assert times.newest(first, last, limit) == within[-limit:]


def test_newest_of_many_takes_few() -> None:
    """A year of minutes is not gone through to find the last ones."""
    asked = 0

    class Counted(Every):
        def after(self, ms: int) -> int:
            nonlocal asked
            asked += 1
            return super().after(ms)

    times = Times(Counted(0, 60_000))
    year = 365 * 24 * 3_600_000
    assert times.newest(0, year, 3) == [year - 120_000, year - 60_000, year]
    assert asked < 20


def test_newest_of_rare_times() -> None:
    """A time that comes once in four years is found, too."""
    times = Times(Cron("0 0 29 2 *", find_zone("UTC")))
    begin, end = 1_700_000_000_000, 1_900_000_000_000
    found = times.newest(begin, end, 5)
    assert [times.after(moment - 1) for moment in found] == found
    assert len(found) == 2
