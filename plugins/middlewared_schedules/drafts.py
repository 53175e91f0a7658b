"""What clients say of a schedule, checked and made one."""

import errno
import random
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from middlewared import (
    Context,
    Credentials,
    Date,
    ValidationError,
    ValidationErrors,
    ejson,
)
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared_jobs import JobChoices, JobFunction, Seal
from middlewared_schedules.cron import LAST_MS, CronError, ZoneError
from middlewared_schedules.plan import Missed
from middlewared_schedules.schedule import Schedule, timing_of
from middlewared_schedules.settings import ScheduleSettings

__all__ = ["ScheduleCreate", "ScheduleUpdate", "draft", "find_method", "redraft"]

MAX_NAME = 100
DAY_SECONDS = 86_400
YEAR_SECONDS = 366 * DAY_SECONDS

Params = list[Any] | dict[str, Any]
Interval = Annotated[int, Meta(ge=1, le=10 * YEAR_SECONDS)]
Jitter = Annotated[float, Meta(ge=0, le=DAY_SECONDS)]

#: What makes a schedule due at other times when it is changed.
_TIMING = frozenset({"cron", "timezone", "interval", "start", "end", "jitter"})


class ScheduleCreate(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A new schedule, by a cron expression or by an interval.

    Attributes:
        name: unique among the caller's schedules.
        method: a job method that the caller may call.
        params: its params, as for a call of it; secrets are kept sealed.
        options: for each of its jobs.
        cron: five fields, or a name such as ``@daily``.
        timezone: of the expression, as in ``Europe/Berlin``; by default the server's
            setting.
        interval: seconds from one time to the next.
        start: no time before counts, and intervals begin there; they begin when the
            schedule is made otherwise.
        end: no time after counts.
        jitter: seconds that its times may be put off, each by the same, which is
            chosen at random.
        missed: what becomes of times at which nothing could run, because the server
            was not there or the job before still ran: ``skip`` passes them over,
            ``once`` runs the newest as soon as that can be, ``all`` runs each.
        overlap: a job may start while an earlier one has not ended.
        enabled: whether it starts jobs by itself.
    """

    name: str
    method: str
    params: Params = []
    options: JobChoices = JobChoices()
    cron: str | None = None
    timezone: str | None = None
    interval: Interval | None = None
    start: Date | None = None
    end: Date | None = None
    jitter: Jitter = 0.0
    missed: Missed = Missed.ONCE
    overlap: bool = False
    enabled: bool = True


class ScheduleUpdate(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What to change of a schedule; what is not given stays.

    Attributes:
        name: see `ScheduleCreate`.
        method: another job method; without params then, it is called with none.
        params: all of them, its secrets too.
        options: all of them.
        cron: in the place of what it goes by.
        timezone: of the expression.
        interval: in the place of what it goes by.
        start: see `ScheduleCreate`.
        end: see `ScheduleCreate`.
        jitter: see `ScheduleCreate`.
        missed: see `ScheduleCreate`.
        overlap: see `ScheduleCreate`.
        enabled: false pauses it; times that pass meanwhile are not missed.
    """

    name: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Params | UnsetType = UNSET
    options: JobChoices | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    interval: Interval | UnsetType = UNSET
    start: Date | UnsetType | None = UNSET
    end: Date | UnsetType | None = UNSET
    jitter: Jitter | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET
    overlap: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


def _wrong(field: str, text: str, number: int = errno.EINVAL) -> ValidationErrors:
    return ValidationErrors([ValidationError(f"data.{field}", text, number)])


def draft(ctx: Context, who: Credentials, data: ScheduleCreate) -> Schedule:
    """Make a schedule of what a client says; it has no id yet.

    Raises:
        ValidationErrors: something of it cannot be used.
        CallError: EACCES, the caller may not call the method.
    """
    now = ctx.clock.time_ms()
    given = {name: getattr(data, name) for name in data.__struct_fields__}
    given |= {"start": _ms("start", data.start), "end": _ms("end", data.end)}
    given["cron"] = _one_line(data.cron)
    given |= _bound(ctx, find_method(ctx, data.method, who), data.params)
    made = Schedule(
        **given | {"timezone": _zone(ctx, data.cron, data.timezone)},
        id=0,
        owner=who.account_id,
        username=who.username,
        roles=who.roles,
        delay=_delay(data.jitter),
        created=now,
        modified=now,
    )
    _check_name(made.name)
    return _begun(made, now) if made.enabled else _checked(made, now)


def redraft(
    ctx: Context, who: Credentials, before: Schedule, data: ScheduleUpdate
) -> Schedule:
    """Change a schedule as a client says.

    Raises:
        ValidationErrors: something of it cannot be used.
        CallError: EACCES, the caller may not call the method.
    """
    now = ctx.clock.time_ms()
    given = {
        name: value
        for name in data.__struct_fields__
        if (value := getattr(data, name)) is not UNSET
    }
    retimed = not _TIMING.isdisjoint(given)
    after = replace(before, **_changes(ctx, who, before, given), modified=now)
    _check_name(after.name)
    if not after.enabled:
        return replace(_checked(after, now) if retimed else after, due=None)
    find_method(ctx, after.method, who)
    after = replace(after, last_error=None)
    return _begun(after, now) if retimed or not before.enabled else after


def _changes(
    ctx: Context, who: Credentials, before: Schedule, given: dict[str, Any]
) -> dict[str, Any]:
    """Give what changes in a schedule, for what a client gave."""
    changes = dict(given)
    for name in ("start", "end"):
        if name in given:
            changes[name] = _ms(name, given[name])
    if "cron" in given:
        changes["cron"] = _one_line(given["cron"])
    changes |= _other_timing(ctx, before, given)
    if "jitter" in given:
        changes["delay"] = _delay(given["jitter"])
    name = given.get("method", before.method)
    if "params" in given or name != before.method:
        method = find_method(ctx, name, who)
        changes |= _bound(ctx, method, changes.pop("params", []))
    if who.account_id == before.owner:
        changes["roles"] = who.roles
    return changes


def find_method(ctx: Context, name: str, who: Credentials) -> Method:
    """Give a job method that the caller may call.

    Raises:
        ValidationErrors: there is none of this name.
        CallError: EACCES, the caller may not call it.
    """
    method = ctx.get(Registry).methods.get(name)
    if method is None:
        raise _wrong("method", f"Method {name!r} does not exist", errno.ENOENT)
    if not isinstance(method.deferred, JobFunction):
        raise _wrong("method", f"{name} is no job method")
    if method.deferred.spec.check_pipes and method.deferred.spec.pipes:
        raise _wrong("method", f"{name} needs an upload or a download")
    method.access.check(who)
    return method


def _bound(ctx: Context, method: Method, params: Params) -> dict[str, Any]:
    """Bind params to a method, and give what is kept of them."""
    args, named = (params, {}) if isinstance(params, list) else ([], params)
    try:
        values = method.params.bind(args, named)
    except ValidationErrors as exc:
        raise ValidationErrors(
            [
                ValidationError(
                    f"data.params.{e.attribute or ''}".rstrip("."), e.text, e.errno
                )
                for e in exc.errors
            ]
        ) from None
    assert isinstance(method.deferred, JobFunction)  # noqa: S101 - looked at before
    sealed = method.deferred.spec.secret
    arguments = ejson.encode(values)
    kept = arguments
    if sealed:
        kept = ctx.get(Seal).close(ejson.encode(values, clear=True))
    return {"arguments": arguments, "params": kept, "sealed": sealed}


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise _wrong(
            "name", f"is {name!r}, expected one line of 1 to {MAX_NAME} characters"
        )
    if name.isdecimal():
        raise _wrong("name", f"is {name!r}, which could be taken for an id")


# When it is due.


def _ms(field: str, date: Date | None) -> int | None:
    if date is None:
        return None
    if not 0 <= date.ms <= LAST_MS:
        raise _wrong(field, f"is {date.ms}, expected milliseconds from 0 to {LAST_MS}")
    return date.ms


def _one_line(cron: str | None) -> str | None:
    return None if cron is None else " ".join(cron.split())


def _zone(ctx: Context, cron: str | None, timezone: str | None) -> str | None:
    if cron is None:
        if timezone is not None:
            raise _wrong("timezone", "an interval has no time zone")
        return None
    return timezone or ctx.get(ScheduleSettings).timezone


def _other_timing(
    ctx: Context, before: Schedule, given: dict[str, Any]
) -> dict[str, Any]:
    """Give what else changes when the expression or the interval does."""
    if "cron" in given and "interval" in given:
        raise _wrong("interval", "a schedule has a cron expression or an interval")
    cron = None if "interval" in given else given.get("cron", before.cron)
    if "interval" in given:
        return {"cron": None, "timezone": _zone(ctx, None, given.get("timezone"))}
    zone = given.get("timezone", before.timezone)
    if "cron" in given:
        return {"interval": None, "timezone": _zone(ctx, cron, zone)}
    return {"timezone": _zone(ctx, cron, zone)} if "timezone" in given else {}


def _delay(jitter: float) -> int:
    return int(random.random() * jitter * 1000)  # noqa: S311 - spreads load


def _checked(schedule: Schedule, now: int) -> Schedule:
    """Let a schedule pass that will be due some time."""
    _next_time(schedule, now)
    return schedule


def _begun(schedule: Schedule, now: int) -> Schedule:
    """Make a schedule due at its next time from now on."""
    return replace(schedule, due=_next_time(schedule, now))


def _next_time(schedule: Schedule, now: int) -> int:
    if (schedule.cron is None) == (schedule.interval is None):
        raise _wrong("cron", "expected a cron expression or an interval, one of them")
    try:
        found = timing_of(schedule).times.after(now)
    except CronError as exc:
        raise _wrong("cron", str(exc)) from None
    except ZoneError as exc:
        raise _wrong("timezone", str(exc), errno.ENOENT) from None
    if found is None:
        last = "cron" if schedule.end is None else "end"
        raise _wrong(last, "there is no time left at which a job would start")
    return found
