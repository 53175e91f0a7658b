"""Cron expressions, and the moments that they name in a time zone; pure."""

import datetime as dt
from bisect import bisect_left
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

__all__ = ["LAST_MS", "Cron", "CronError", "Source", "ZoneError", "find_zone"]

UTC = dt.UTC
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - naive ones are UTC or on a wall
MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)
MILLISECOND = dt.timedelta(milliseconds=1)
HOURS = 24
MAX_LENGTH = 256
#: 2970: nobody waits longer, and datetime can still count on.
LAST_MS = 31_556_952_000 * 1000

_NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class CronError(ValueError):
    """An expression that means nothing."""


class ZoneError(ValueError):
    """A time zone that nobody knows here."""


class Source(Protocol):
    """Moments without an end, in milliseconds since 1970-01-01 UTC."""

    def after(self, ms: int) -> int | None:
        """Give the first moment after this one, None when there is none."""
        ...


def find_zone(name: str) -> dt.tzinfo:
    """Give a time zone by its name in the IANA database.

    Raises:
        ZoneError: there is none.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ZoneError(
            f"there is no time zone {name!r}, expected a name such as Europe/Berlin"
        ) from None


class Cron:
    """The moments that a cron expression names on the wall clock of a time zone.

    The clock of a zone leaves hours out and repeats others. An expression for every
    hour follows it: it names whatever moments show a matching time. One that names
    hours means each time once: a time that is left out is the moment at which the
    clock goes on, a time that is repeated is its first moment.

    Args:
        text: five fields, or a name such as ``@daily``.
        zone: a time zone.

    Raises:
        CronError: the expression cannot be read.
    """

    def __init__(self, text: str, zone: dt.tzinfo) -> None:
        if len(text) > MAX_LENGTH:
            raise CronError(f"has {len(text)} characters, the limit is {MAX_LENGTH}")
        fields = _NAMES.get(text.strip().lower(), text)
        if len(fields.split()) != 5:  # noqa: PLR2004 - with six, cronsim has seconds
            raise CronError(
                f"is {text!r}, expected five fields (minute, hour, day of month, "
                f"month, day of week) or one of {', '.join(_NAMES)}"
            )
        try:
            parsed = CronSim(fields, EPOCH)
        except CronSimError as exc:
            raise CronError(f"is {text!r}: {str(exc).lower()}") from None
        self._fields = fields
        self._zone = zone
        self._every_hour = len(parsed.hours) == HOURS
        self.words: str = parsed.explain()

    def after(self, ms: int) -> int | None:
        """Give the first moment after this one, None when there is none."""
        if ms > LAST_MS:
            return None
        moment = EPOCH + ms * MILLISECOND
        follow = self._after_running if self._every_hour else self._after_named
        found = follow(moment)
        return None if found is None else (found - EPOCH) // MILLISECOND

    # Moments are naive and UTC, times are naive and on the wall.

    def _offset(self, moment: dt.datetime) -> dt.timedelta:
        aware = moment.replace(tzinfo=UTC).astimezone(self._zone)
        return aware.utcoffset() or dt.timedelta()

    def _next_time(self, time: dt.datetime) -> dt.datetime | None:
        """Give the next time that matches, on a wall clock that never jumps."""
        return next(CronSim(self._fields, time), None)

    def _after_named(self, moment: dt.datetime) -> dt.datetime | None:
        time: dt.datetime | None = moment + self._offset(moment)
        while time is not None:
            time = self._next_time(time)
            if time is not None and (found := self._first(time)) > moment:
                return found
        return None

    def _first(self, time: dt.datetime) -> dt.datetime:
        """Give the first moment at which the clock shows a time, or has passed it."""
        while not self._is_shown(time):
            time += MINUTE
        return _to_utc(time, self._zone)

    def _is_shown(self, time: dt.datetime) -> bool:
        moment = _to_utc(time, self._zone)
        return moment + self._offset(moment) == time

    def _after_running(self, moment: dt.datetime) -> dt.datetime | None:
        offset = self._offset(moment)
        time = self._next_time(moment + offset)
        while time is not None:
            turn = self._turn(moment, time - offset)
            if turn is None:
                return time - offset
            # Before the match the clock jumps: go on from there, itself included.
            moment, offset = turn, self._offset(turn)
            time = self._next_time(turn + offset - MINUTE)
        return None

    def _turn(self, moment: dt.datetime, end: dt.datetime) -> dt.datetime | None:
        """Find the first jump of the clock after a moment, not after *end*."""
        offset = self._offset(moment)
        while moment < end:
            later = min(moment + DAY, end)
            if self._offset(later) != offset:
                return self._turn_within(moment, later)
            moment = later
        return None

    def _turn_within(self, before: dt.datetime, after: dt.datetime) -> dt.datetime:
        """Find the minute in which the clock jumps, the one jump in a span."""
        offset = self._offset(before)
        before = before.replace(second=0, microsecond=0)
        minutes = range(1, (after - before) // MINUTE + 1)
        place = bisect_left(
            minutes, True, key=lambda n: self._offset(before + n * MINUTE) != offset
        )
        return before + minutes[place] * MINUTE


def _to_utc(time: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """Give the first moment of a time; of one left out, what it would have been."""
    return time.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
