"""Cron expressions against a look at every minute, where clocks jump."""

import datetime as dt
import os
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from middlewared_schedules.cron import Cron, CronError, ZoneError, find_zone

UTC = dt.UTC
MINUTE = dt.timedelta(minutes=1)
EXAMPLES = 2000 if os.environ.get("SOAK") else 40

#: Days on which clocks jump, or do not: an hour, half an hour, at midnight, by decree.
JUMPS = [
    ("Europe/Berlin", (2026, 3, 29)),
    ("Europe/Berlin", (2026, 10, 25)),
    ("America/New_York", (2026, 3, 8)),
    ("America/New_York", (2026, 11, 1)),
    ("America/Havana", (2026, 3, 8)),
    ("America/Havana", (2026, 11, 1)),
    ("Africa/Cairo", (2026, 4, 24)),
    ("Africa/Cairo", (2026, 10, 30)),
    ("Asia/Beirut", (2026, 3, 29)),
    ("Australia/Lord_Howe", (2026, 4, 5)),
    ("Australia/Lord_Howe", (2026, 10, 4)),
    ("Africa/Casablanca", (2026, 2, 15)),
    ("Africa/Casablanca", (2026, 3, 22)),
    ("Pacific/Apia", (2011, 12, 30)),
    ("Asia/Kathmandu", (2026, 6, 1)),
    ("UTC", (2026, 3, 29)),
]


class Fields(NamedTuple):
    """A cron expression that every zone's days around a jump may meet."""

    minute: tuple[int, ...] | None
    hour: tuple[int, ...] | None
    weekday: tuple[int, ...] | None

    @property
    def text(self) -> str:
        return (
            f"{written(self.minute)} {written(self.hour)} * * {written(self.weekday)}"
        )

    def matches(self, time: dt.datetime) -> bool:
        """Compare a time on the wall with the fields, one by one."""
        return (
            (self.minute is None or time.minute in self.minute)
            and (self.hour is None or time.hour in self.hour)
            and (self.weekday is None or time.isoweekday() % 7 in self.weekday)
        )


def written(values: tuple[int, ...] | None) -> str:
    return "*" if values is None else ",".join(map(str, values))


def some(most: int, size: int) -> st.SearchStrategy[tuple[int, ...] | None]:
    values = st.lists(st.integers(0, most), min_size=1, max_size=size, unique=True)
    return st.none() | values.map(sorted).map(tuple)


FIELDS = st.builds(Fields, some(59, 3), some(6, 3), some(6, 3))


@cache
def minutes_around(
    zone: str, day: tuple[int, int, int]
) -> list[tuple[int, dt.datetime]]:
    """Give every minute of some days, as milliseconds and as the wall shows it."""
    begin = dt.datetime(*day, tzinfo=UTC) - dt.timedelta(days=1, hours=12)
    info = find_zone(zone)
    moments = (begin + n * MINUTE for n in range(4 * 24 * 60))
    return [
        (int(m.timestamp() * 1000), m.astimezone(info).replace(tzinfo=None))
        for m in moments
    ]


def named_by(fields: Fields, minutes: list[tuple[int, dt.datetime]]) -> list[int]:
    """Say by looking at every minute which moments an expression names."""
    if fields.hour is None:
        return [ms for ms, time in minutes if fields.matches(time)]
    found = set()
    shown: dict[dt.datetime, int] = {}
    for ms, time in minutes:
        shown.setdefault(time, ms)
    time, last = minutes[0][1], minutes[-1][1]
    while time <= last:
        if fields.matches(time):
            later = time
            while later not in shown:
                later += MINUTE
            found.add(shown[later])
        time += MINUTE
    return sorted(found)


def moments_of(cron: Cron, begin: int, end: int) -> Iterator[int]:
    """List what an expression names after *begin*, up to *end*."""
    moment = cron.after(begin)
    while moment is not None and moment <= end:
        yield moment
        moment = cron.after(moment)


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(JUMPS), FIELDS)
@example(JUMPS[0], Fields((0, 30), (2,), None))
@example(JUMPS[1], Fields((0, 30), (2,), None))
@example(JUMPS[1], Fields((30,), None, None))
@example(JUMPS[4], Fields((0,), (0,), None))
@example(JUMPS[10], Fields((15, 45), None, None))
def test_moments_are_those_of_every_minute(
    place: tuple[str, tuple[int, int, int]], fields: Fields
) -> None:
    """What comes after each moment is what a look at every minute finds."""
    zone, day = place
    minutes = minutes_around(zone, day)
    begin, end = minutes[0][0], minutes[-1][0]
    expected = [ms for ms in named_by(fields, minutes) if ms > begin]
    assert list(moments_of(Cron(fields.text, find_zone(zone)), begin, end)) == expected


@settings(max_examples=EXAMPLES)
@given(
    st.sampled_from(JUMPS),
    FIELDS,
    st.integers(0, 4 * 24 * 60 - 1),
    st.integers(0, 59_999),
)
def test_next_moment_from_anywhere(
    place: tuple[str, tuple[int, int, int]], fields: Fields, minute: int, ms: int
) -> None:
    """From any moment, also a repeated one, the next one is later and the first."""
    minutes = minutes_around(*place)
    since = minutes[minute][0] + ms
    found = Cron(fields.text, find_zone(place[0])).after(since)
    assert found is not None
    assert found > since
    later = [moment for moment in named_by(fields, minutes) if moment > since]
    if later:
        assert found == later[0]


def local(zone: str, text: str) -> int:
    """Give the milliseconds of a time as ``2026-03-29 01:00+01:00``."""
    moment = dt.datetime.fromisoformat(text)
    assert moment.utcoffset() == moment.astimezone(find_zone(zone)).utcoffset()
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        (  # 02:00 to 03:00 is left out: once, when the clock goes on
            "*/20 2 * * *",
            "Europe/Berlin",
            ["2026-03-29 03:00+02:00", "2026-03-30 02:00+02:00"],
        ),
        (  # two times at one moment are one
            "0 2,3 * * *",
            "Europe/Berlin",
            ["2026-03-29 03:00+02:00", "2026-03-30 02:00+02:00"],
        ),
        (  # every hour follows the clock
            "30 * * * *",
            "Europe/Berlin",
            [
                "2026-03-29 00:30+01:00",
                "2026-03-29 01:30+01:00",
                "2026-03-29 03:30+02:00",
            ],
        ),
        (  # midnight is left out
            "0 0 24,25 4 *",
            "Africa/Cairo",
            ["2026-04-24 01:00+03:00", "2026-04-25 00:00+03:00"],
        ),
        (  # the last day of a month, through its name
            "30 4 L * *",
            "UTC",
            ["2026-03-31 04:30+00:00", "2026-04-30 04:30+00:00"],
        ),
        ("@weekly", "UTC", ["2026-03-29 00:00+00:00", "2026-04-05 00:00+00:00"]),
        (  # the day of the month or the day of the week
            "0 0 1 * MON",
            "UTC",
            ["2026-03-30 00:00+00:00", "2026-04-01 00:00+00:00"],
        ),
    ],
)
def test_known_moments(text: str, zone: str, expected: list[str]) -> None:
    """What people expect of expressions that they know."""
    begin = local("UTC", "2026-03-28 22:59+00:00")
    wanted = [local(zone, moment) for moment in expected]
    cron = Cron(text, find_zone(zone))
    assert list(moments_of(cron, begin, wanted[-1])) == wanted


def test_repeated_hour() -> None:
    """A named time runs at its first moment, an hourly one in both hours."""
    begin, end = (
        local("Europe/Berlin", f"2026-10-25 {text}")
        for text in ("00:59+02:00", "03:59+01:00")
    )
    named = Cron("30 2 * * *", find_zone("Europe/Berlin"))
    assert list(moments_of(named, begin, end)) == [
        local("Europe/Berlin", "2026-10-25 02:30+02:00")
    ]
    hourly = Cron("30 * * * *", find_zone("Europe/Berlin"))
    assert list(moments_of(hourly, begin, end)) == [
        local("Europe/Berlin", f"2026-10-25 {text}")
        for text in ("01:30+02:00", "02:30+02:00", "02:30+01:00", "03:30+01:00")
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "expected five fields"),
        ("* * * *", "expected five fields"),
        ("0 * * * * *", "expected five fields"),
        ("@reboot", "expected five fields"),
        ("61 * * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("0 0 * 13 *", "bad month"),
        ("0 0 * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("0," * 200 + "0 * * * *", "the limit is 256"),
    ],
)
def test_bad_expressions(text: str, part: str) -> None:
    """An expression that means nothing is refused, and the error names it."""
    with pytest.raises(CronError, match=part):
        Cron(text, UTC)


@settings(max_examples=EXAMPLES)
@given(st.text("0123456789*,-/#LWMONJAN@ ²٣\n", max_size=24))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever somebody writes is an expression or a `CronError`."""
    try:
        cron = Cron(text, UTC)
    except CronError:
        return
    assert cron.words
    cron.after(0)


def test_expression_that_never_comes() -> None:
    """One that matches no day in fifty years has no next moment."""
    assert Cron("* * */20 * 1L", UTC).after(0) is None
    assert Cron("0 0 1 1 *", UTC).after(10**17) is None


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b"]
)
def test_unknown_zones(name: str) -> None:
    """A name that is no zone is refused."""
    with pytest.raises(ZoneError, match="there is no time zone"):
        find_zone(name)


def test_utc_needs_no_data() -> None:
    """UTC is there in any spelling, whatever the machine knows of zones."""
    assert find_zone("utc") is UTC
