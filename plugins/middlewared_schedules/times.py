"""The times at which a schedule is due: moments, bounded and put off; pure."""

from collections import deque
from collections.abc import Iterator

from middlewared_schedules.cron import Source

__all__ = ["Every", "Times"]

MINUTE_MS = 60_000


class Every:
    """Moments at even intervals.

    Args:
        first: the first one, milliseconds since 1970-01-01 UTC.
        step: milliseconds between two.
    """

    def __init__(self, first: int, step: int) -> None:
        self._first = first
        self._step = step

    def after(self, ms: int) -> int:
        """Give the first moment after this one."""
        past = max(-1, (ms - self._first) // self._step)
        return self._first + (past + 1) * self._step


class Times:
    """What a source names between two bounds, each a fixed delay later.

    Args:
        source: what names the moments.
        start: the earliest one that counts, None for any.
        end: the latest one that counts, None for any.
        delay: milliseconds that each is put off.
    """

    def __init__(
        self,
        source: Source,
        *,
        start: int | None = None,
        end: int | None = None,
        delay: int = 0,
    ) -> None:
        self._source = source
        self._start = start
        self._end = end
        self._delay = delay

    def after(self, ms: int) -> int | None:
        """Give the first time after this moment, None when there is none."""
        since = ms - self._delay
        if self._start is not None:
            since = max(since, self._start - 1)
        found = self._source.after(since)
        if found is None or (self._end is not None and found > self._end):
            return None
        return found + self._delay

    def newest(self, first: int, last: int, limit: int) -> list[int]:
        """Give the newest times from *first* to *last*, both included, in order.

        Takes the time of some more than *limit* of them, however many there are.
        """
        span = MINUTE_MS
        while True:
            begin = max(first, last - span)
            found = deque(self._between(begin, last), maxlen=limit)
            if len(found) == limit or begin == first:
                return list(found)
            span *= 2

    def _between(self, first: int, last: int) -> Iterator[int]:
        found = self.after(first - 1)
        while found is not None and found <= last:
            yield found
            found = self.after(found)
