"""The lock-out of names after failed logins."""

import errno
import math
from collections.abc import Callable

import msgspec

from middlewared import CallError
from middlewared.clock import Clock

__all__ = ["Lockouts"]

#: Names that no account has, remembered at most; the oldest is forgotten first.
MAX_STRANGERS = 10_000


class _Failures(msgspec.Struct):
    """What a name has behind it.

    Attributes:
        count: logins tried since the last right one, or since the last lock-out.
        last: when the last one began, seconds of the monotonic clock.
        until: when the lock-out ends, seconds; 0 when there is none.
    """

    count: int = 0
    last: float = 0.0
    until: float = 0.0


class Lockouts:
    """Counts wrong passwords per name, wherever they come from.

    Names that no account has are counted as well, so that a lock-out tells nobody
    which accounts exist. It is kept in memory: a restart forgives.

    Args:
        failures: wrong passwords that lock a name out; 0 for never.
        seconds: how long it is locked out, and how long a failure counts.
        clock: what time it is.
        exists: tells whether an account has a name.
    """

    def __init__(
        self,
        failures: int,
        seconds: float,
        clock: Clock,
        exists: Callable[[str], bool],
    ) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._exists = exists
        self._known: dict[str, _Failures] = {}
        self._strangers: dict[str, _Failures] = {}

    def begin(self, username: str) -> None:
        """Let a login as *username* be tried; it counts as failed until `forgive`.

        Raises:
            CallError: EBUSY, the name is locked out; whether the password would be
                right is not said, nor looked at.
        """
        seconds = self.seconds_left(username)
        if seconds:
            raise CallError(
                f"Too many failed logins with this name, wait {math.ceil(seconds)} s",
                errno.EBUSY,
            )
        if self._limit:
            self._count(username)

    def seconds_left(self, username: str) -> float:
        """Give the rest of the lock-out, 0 when there is none."""
        found = self._known.get(username) or self._strangers.get(username)
        if found is None:
            return 0.0
        return max(0.0, found.until - self._clock.monotonic())

    def forgive(self, username: str) -> None:
        """Forget the failures of a name: it logged in, or an administrator says so."""
        self._known.pop(username, None)
        self._strangers.pop(username, None)

    def _count(self, username: str) -> None:
        now = self._clock.monotonic()
        found = self._entry(username)
        if now - found.last > self._seconds:
            found.count = 0
        found.count += 1
        found.last = now
        if found.count >= self._limit:
            # This one is tried still; who is right after all ends the lock-out.
            found.count = 0
            found.until = now + self._seconds

    def _entry(self, username: str) -> _Failures:
        if self._exists(username):
            self._strangers.pop(username, None)
            return self._known.setdefault(username, _Failures())
        self._known.pop(username, None)
        found = self._strangers.pop(username, None) or _Failures()
        self._strangers[username] = found  # moved to the end: tried most recently
        if len(self._strangers) > MAX_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        return found
