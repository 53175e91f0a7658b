"""Jobs whose time to start has not come."""

import asyncio
import heapq
from collections.abc import Callable

from middlewared.clock import Clock
from middlewared_jobs.run import Run

__all__ = ["Timetable"]

#: Seconds after which the wall clock is looked at again: somebody may have set it.
LOOK_SECONDS = 30.0


class Timetable:
    """Runs with a time ahead of them; each is handed over when it has come.

    Args:
        clock: what the times are of.
        due: takes a run whose time has come.
    """

    def __init__(self, clock: Clock, due: Callable[[Run], None]) -> None:
        self._clock = clock
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[int, int, Run]] = []
        self._runs: set[Run] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def is_early(self, run: Run) -> bool:
        """Tell whether the time of a run is ahead."""
        run_at = run.record.run_at
        return run_at is not None and run_at.ms > self._clock.time_ms()

    def add(self, run: Run) -> None:
        """Keep a run until its time."""
        assert run.record.run_at is not None  # noqa: S101 - asked by `is_early`
        self._runs.add(run)
        heapq.heappush(self._heap, (run.record.run_at.ms, run.id, run))
        self._arm()

    def remove(self, run: Run) -> bool:
        """Forget a run; False when it is not here."""
        if run not in self._runs:
            return False
        self._runs.discard(run)
        return True

    def close(self) -> None:
        """Hand over nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._runs.clear()
        self._heap.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            wait = (self._heap[0][0] - self._clock.time_ms()) / 1000
            seconds = max(0.0, min(wait, LOOK_SECONDS))
            self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        now = self._clock.time_ms()
        while self._heap and self._heap[0][0] <= now:
            run = heapq.heappop(self._heap)[2]
            if run in self._runs:
                self._runs.discard(run)
                self._due(run)
        self._arm()
