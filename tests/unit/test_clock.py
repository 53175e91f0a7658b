"""The machine's own clocks."""

import time

from middlewared.clock import SystemClock


def test_time_is_milliseconds_since_the_epoch() -> None:
    """The wall clock of the machine, in whole milliseconds."""
    before = time.time() * 1000 - 1
    now = SystemClock().time_ms()
    assert isinstance(now, int)
    assert before <= now <= time.time() * 1000


def test_monotonic_never_goes_back() -> None:
    """Each reading is at least the one before."""
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)
    assert readings[-1] <= time.monotonic()
