"""What is counted while the server runs, in plain numbers, for whoever asks later.

Counting costs tens of nanoseconds: no locks, no labels made on the way. Everything is
counted in the loop's thread.
"""

import errno
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from middlewared.errors import CallError, RpcError, validation_extra

__all__ = ["CallFigures", "Histogram", "Traffic", "outcome_of"]

#: Errors of who may not: no login, no role, not the owner.
_DENIED = frozenset({errno.EACCES, errno.EPERM, 207})


class Histogram:
    """How many values were how large.

    Args:
        bounds: upper bounds of the buckets, ascending; a last one without end follows.

    Attributes:
        bounds: the same.
        counts: values in each bucket, the last one included.
        total: sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


def outcome_of(exc: BaseException) -> str:
    """Name the kind of an error: ``invalid``, ``denied``, ``busy`` or ``error``."""
    if validation_extra(exc) is not None:
        return "invalid"
    if isinstance(exc, CallError):
        if exc.errno in _DENIED:
            return "denied"
        return "busy" if exc.errno == errno.EBUSY else "error"
    busy = isinstance(exc, RpcError) and exc.code == -32000  # noqa: PLR2004 - TooManyCalls
    return "busy" if busy else "error"


class CallFigures:
    """How the calls of one method ended.

    Attributes:
        ok: calls that were answered with a result.
        failed: calls that were answered with an error, by `outcome_of`.
    """

    __slots__ = ("failed", "ok")

    def __init__(self) -> None:
        self.ok = 0
        self.failed: dict[str, int] = {}

    def fail(self, exc: BaseException) -> None:
        """Count an error."""
        outcome = outcome_of(exc)
        self.failed[outcome] = self.failed.get(outcome, 0) + 1


class Traffic(msgspec.Struct):
    """What went over the WebSockets, those that are closed included.

    Attributes:
        opened: connections that were let in.
        received: bytes that came, frames and handshakes.
        sent: bytes handed to the system.
        events: events queued for a client.
        conflated: queued events that gave way to newer ones.
        aborted: connections that the server cut off, by the reason.
    """

    opened: int = 0
    received: int = 0
    sent: int = 0
    events: int = 0
    conflated: int = 0
    aborted: dict[str, int] = {}
