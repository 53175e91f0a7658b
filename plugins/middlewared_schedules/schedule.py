"""A schedule: as it is kept, and as clients see it."""

from typing import Any

import msgspec

from middlewared import Date
from middlewared_jobs import JobChoices, State
from middlewared_schedules.cron import Cron, find_zone
from middlewared_schedules.plan import Missed
from middlewared_schedules.times import Every, Times

__all__ = ["Schedule", "ScheduleItem", "Timing", "item_of", "timing_of"]

_decode = msgspec.json.Decoder(list[Any]).decode
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule; times are milliseconds since 1970-01-01 UTC.

    Attributes:
        id: never used again.
        name: unique among those of its owner.
        owner: account id of who made it; None when no account did.
        username: name of who made it.
        roles: the most that its jobs may, of what its owner may.
        method: the job method.
        arguments: params in signature order, encoded, secrets redacted.
        params: the same in clear, or sealed.
        sealed: whether they are.
        options: for each of its jobs.
        cron: expression, None when it goes by an interval.
        timezone: of the expression.
        interval: seconds.
        start: no time before counts; where intervals begin.
        end: no time after counts.
        jitter: seconds that its times are put off at most.
        delay: milliseconds that they are put off.
        missed: what becomes of times at which nothing could run.
        overlap: a job may start while an earlier one has not ended.
        enabled: whether it is due at all.
        due: the first time that nothing was done about.
        handled: the latest time that something was done about.
        last_run: when a job was started last, by time or by hand.
        last_job: that job.
        last_state: how it ended.
        last_skipped: the newest time that was passed over.
        last_error: why no job could be started, since the last one was.
        created: when it was made.
        modified: when anybody changed it last.
    """

    id: int
    name: str
    owner: int | None
    username: str
    roles: frozenset[str]
    method: str
    arguments: bytes
    params: bytes
    sealed: bool
    options: JobChoices
    cron: str | None
    timezone: str | None
    interval: int | None
    start: int | None
    end: int | None
    jitter: float
    delay: int
    missed: Missed
    overlap: bool
    enabled: bool
    due: int | None = None
    handled: int | None = None
    last_run: int | None = None
    last_job: int | None = None
    last_state: State | None = None
    last_skipped: int | None = None
    last_error: str | None = None
    created: int
    modified: int


class ScheduleItem(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as ``schedule.query`` and its events show it.

    Attributes:
        id: its number, never used again.
        name: unique among those of its owner.
        method: name of the job method.
        arguments: params in signature order, secrets redacted.
        options: for each of its jobs.
        cron: expression, null when it goes by an interval.
        timezone: whose clock the expression means.
        interval: seconds from one time to the next, null when it goes by an expression.
        when: the expression or the interval in words.
        start: no time before counts, and intervals begin there.
        end: no time after counts.
        jitter: seconds that its times are put off at most, each by the same.
        missed: what becomes of times at which nothing could run, because the server
            was not there or the job before still ran: ``skip`` passes them over,
            ``once`` runs the newest as soon as that can be, ``all`` runs each.
        overlap: a job may start while an earlier one has not ended.
        enabled: whether it starts jobs by itself.
        next_run: when it starts a job next; null when never.
        last_run: when it started a job last, by itself or by ``schedule.run``.
        last_job: id of that job.
        last_state: how that job ended, null while it has not.
        last_skipped: the newest time that was passed over.
        last_error: why no job could be started, null since one could.
        owner: account id of who made it, null when no account did.
        username: name of who made it.
        created: when it was made.
        modified: when anybody changed it last.
    """

    id: int
    name: str
    method: str
    arguments: list[Any]
    options: JobChoices
    cron: str | None
    timezone: str | None
    interval: int | None
    when: str
    start: Date | None
    end: Date | None
    jitter: float
    missed: Missed
    overlap: bool
    enabled: bool
    next_run: Date | None
    last_run: Date | None
    last_job: int | None
    last_state: State | None
    last_skipped: Date | None
    last_error: str | None
    owner: int | None
    username: str
    created: Date
    modified: Date


class Timing(msgspec.Struct, frozen=True):
    """When a schedule is due.

    Attributes:
        times: as moments.
        words: as a person says it.
    """

    times: Times
    words: str


def timing_of(schedule: Schedule) -> Timing:
    """Read when a schedule is due.

    Raises:
        CronError: its expression cannot be read.
        ZoneError: its time zone is not known here.
    """
    if schedule.cron is not None:
        zone = schedule.timezone or "UTC"
        cron = Cron(schedule.cron, find_zone(zone))
        source: Cron | Every = cron
        words = f"{cron.words}, {zone}"
    else:
        seconds = schedule.interval or 1
        step = seconds * 1000
        first = schedule.created + step if schedule.start is None else schedule.start
        source = Every(first, step)
        words = _every(seconds)
    times = Times(source, start=schedule.start, end=schedule.end, delay=schedule.delay)
    return Timing(times, words)


def _every(seconds: int) -> str:
    size, name = next(unit for unit in _UNITS if seconds % unit[0] == 0)
    count = seconds // size
    return f"Every {name}" if count == 1 else f"Every {count} {name}s"


def item_of(schedule: Schedule, words: str) -> ScheduleItem:
    """Give what clients see of a schedule.

    Args:
        schedule: as it is kept.
        words: its timing in words.
    """
    kept = {
        name: getattr(schedule, name)
        for name in ScheduleItem.__struct_fields__
        if name in Schedule.__struct_fields__
    }
    dates = ("start", "end", "last_run", "last_skipped", "created", "modified")
    shown = kept | {name: _date(kept[name]) for name in dates}
    shown["arguments"] = _decode(schedule.arguments)
    next_run = _date(schedule.due) if schedule.enabled else None
    return ScheduleItem(**shown, when=words, next_run=next_run)


def _date(ms: int | None) -> Date | None:
    return None if ms is None else Date(ms)
