"""How long an attempt may take, and how long its body may be silent."""

import asyncio
import errno
import time
from collections.abc import Callable

from middlewared import CallError
from middlewared_jobs.run import Run

__all__ = ["Deadlines"]


class Deadlines:
    """Watches running bodies; time that a job stands paused does not count.

    Args:
        expired: takes a run that took too long, and the error that says so.
    """

    def __init__(self, expired: Callable[[Run, CallError], None]) -> None:
        self._expired = expired
        self._loop = asyncio.get_running_loop()
        self._timers: dict[Run, dict[str, asyncio.TimerHandle]] = {}

    def begin(self, run: Run) -> None:
        """Watch an attempt that begins now."""
        timeout, silence = run.record.timeout, run.spec.heartbeat_timeout
        if timeout is None and silence is None:
            return
        run.began = time.monotonic()
        if timeout is not None:
            self._later(run, timeout, self._look_at_time)
        if silence is not None:
            self._later(run, silence, self._look_for_life)

    def end(self, run: Run) -> None:
        """Forget an attempt that has ended."""
        if run in self._timers:
            for timer in self._timers.pop(run).values():
                timer.cancel()

    def _later(self, run: Run, seconds: float, look: Callable[[Run], None]) -> None:
        timer = self._loop.call_later(max(seconds, 0.001), look, run)
        self._timers.setdefault(run, {})[look.__name__] = timer

    def _look_at_time(self, run: Run) -> None:
        timeout = run.record.timeout
        if run not in self._timers or timeout is None:
            return
        now = time.monotonic()
        paused = run.paused + (now - run.paused_at if run.paused_at else 0.0)
        left = timeout - (now - run.began - paused)
        if left > 0:
            self._later(run, left, self._look_at_time)
        else:
            text = f"The job took longer than {timeout:g} s"
            self._expire(run, CallError(text, errno.ETIMEDOUT))

    def _look_for_life(self, run: Run) -> None:
        allowed = run.spec.heartbeat_timeout
        if run not in self._timers or allowed is None:
            return
        if run.paused_at is not None:
            self._later(run, allowed, self._look_for_life)
            return
        silent = time.monotonic() - max(run.job._notebook.noted_at, run.began)
        if silent < allowed:
            self._later(run, allowed - silent, self._look_for_life)
        else:
            text = f"The job gave no sign of life for {allowed:g} s"
            self._expire(run, CallError(text, errno.ETIMEDOUT))

    def _expire(self, run: Run, error: CallError) -> None:
        self.end(run)
        self._expired(run, error)
