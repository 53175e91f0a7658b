"""The two times a server reads: the wall clock and a clock that never goes back."""

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where the server reads the time; tests drive one by hand."""

    def time_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump when the clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def time_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since an arbitrary point."""
        return time.monotonic()
