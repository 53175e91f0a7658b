"""How often strangers may call: per address and method, before they log in."""

import errno

from middlewared.access import Origin
from middlewared.addresses import is_loopback, network_of
from middlewared.clock import Clock
from middlewared.errors import CallError

__all__ = ["Strangers"]

WINDOW_SECONDS = 60.0
#: Addresses and methods that are remembered; the oldest give way.
MAX_PAIRS = 10_000


class Strangers:
    """Counts calls before login, in windows of a minute.

    The unix socket and this machine's own addresses are exempt.

    Args:
        limit: calls of one method from one address in a window.
        clock: tells the time.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._window = -1
        self._counts: dict[tuple[str, str], int] = {}

    def refusal(self, origin: Origin, method: str) -> CallError | None:
        """Count a call; EBUSY when there were too many."""
        if origin.address is None or is_loopback(origin.address):
            return None
        window = int(self._clock.monotonic() // WINDOW_SECONDS)
        if window != self._window:
            self._window = window
            self._counts.clear()
        key = (network_of(origin.address), method)
        count = self._counts.get(key, 0)
        if count >= self._limit:
            return CallError("Rate Limit Exceeded", errno.EBUSY)
        self._counts[key] = count + 1
        if len(self._counts) > MAX_PAIRS:
            del self._counts[next(iter(self._counts))]
        return None
