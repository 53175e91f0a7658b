"""The limit on failed logins per address."""

import errno
from collections import deque

from middlewared import CallError, Origin
from middlewared.addresses import network_of
from middlewared.clock import Clock

__all__ = ["Attempt", "LoginLimits"]

WINDOW_SECONDS = 60.0
#: Addresses remembered; the one that tried least recently is forgotten first.
MAX_ADDRESSES = 10_000


class Attempt:
    """A login that has begun; it counts as failed until `refund`."""

    __slots__ = ("_at", "_times")

    def __init__(self, times: deque[float] | None = None, at: float = 0.0) -> None:
        self._times = times
        self._at = at

    def refund(self) -> None:
        """Forget the attempt: it succeeded."""
        if self._times is not None and self._at in self._times:
            self._times.remove(self._at)


class LoginLimits:
    """Counts failures and unanswered attempts per address and minute.

    The unix socket is exempt: who reaches it is on this machine and allowed to.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._addresses: dict[str, deque[float]] = {}

    def begin(self, origin: Origin) -> Attempt:
        """Count one attempt.

        Raises:
            CallError: EBUSY, too many failed within a minute.
        """
        if origin.address is None:
            return Attempt()
        key, now = network_of(origin.address), self._clock.monotonic()
        times = self._addresses.pop(key, None) or deque()
        self._addresses[key] = times  # moved to the end: tried most recently
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        if len(times) >= self._limit:
            raise CallError("Rate Limit Exceeded", errno.EBUSY)
        times.append(now)
        if len(self._addresses) > MAX_ADDRESSES:
            del self._addresses[next(iter(self._addresses))]
        return Attempt(times, now)
