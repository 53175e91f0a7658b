"""What a schedule does now: run a time, pass times over, or wait; pure."""

from enum import StrEnum
from typing import Protocol

import msgspec

from middlewared_schedules.times import Times

__all__ = ["BACK_MS", "Missed", "Plan", "Standing", "first_due", "make_plan"]

#: Milliseconds that the clock has to be behind what was run before it counts as set
#: back: then times come again, which are known by the jobs that they made.
BACK_MS = 60_000


class Missed(StrEnum):
    """What becomes of times at which nothing could run.

    That is so while the server is not there, and while the job before still runs.
    """

    #: They are passed over.
    SKIP = "skip"
    #: The newest of them is run as soon as that can be.
    ONCE = "once"
    #: All of them are run, one after the other.
    ALL = "all"


class Standing(Protocol):
    """Where a schedule is; times are milliseconds since 1970-01-01 UTC."""

    @property
    def missed(self) -> Missed:
        """What becomes of missed times."""
        ...

    @property
    def due(self) -> int | None:
        """The first time that nothing was done about, None when there is none."""
        ...

    @property
    def handled(self) -> int | None:
        """The latest time that something was done about, None before the first."""
        ...


class Plan(msgspec.Struct, frozen=True):
    """What to do now.

    Attributes:
        due: the first time that nothing was done about then; the one to run, if any.
        run: a time to run now.
        passed: the newest time that is passed over for good.
    """

    due: int | None
    run: int | None = None
    passed: int | None = None


def make_plan(
    standing: Standing, times: Times, now: int, *, grace: int, limit: int, busy: bool
) -> Plan:
    """Say what to do.

    Args:
        standing: where the schedule is.
        times: when it is due.
        now: by the wall clock, which may have been set.
        grace: milliseconds after which a time counts as missed.
        limit: how many missed times `Missed.ALL` runs, the newest.
        busy: a job of it has not ended, and there shall be one at a time.
    """
    due = first_due(standing, times, now)
    if due is None or due > now:
        return Plan(due)
    begin = due
    if standing.handled is not None:
        # Times that come again after the clock was set back are run when they come
        # and were not before, but are not made up for.
        begin = max(due, min(standing.handled + 1, now - grace))
    found = times.newest(begin, now, limit if standing.missed is Missed.ALL else 1)
    if not found:
        return Plan(times.after(now))
    late = busy or now - found[-1] > grace
    if late and standing.missed is Missed.SKIP:
        return Plan(times.after(now), passed=found[-1])
    if busy:
        return Plan(due)
    first = found[0]
    older = times.newest(begin, first - 1, 1)
    return Plan(first, run=first, passed=older[0] if older else None)


def first_due(standing: Standing, times: Times, now: int) -> int | None:
    """Give the first time that something is to be done about, None for never.

    It is an earlier one than is kept once the clock was set back.
    """
    due = standing.due
    if standing.handled is not None and now < standing.handled - BACK_MS:
        again = times.after(now)
        if again is not None and (due is None or again < due):
            return again
    return due
