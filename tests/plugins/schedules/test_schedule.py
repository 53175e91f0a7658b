"""A schedule: when it is due, and what of it is shown."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from middlewared import Date
from middlewared_jobs import JobChoices, State
from middlewared_schedules.cron import CronError, ZoneError
from middlewared_schedules.plan import Missed
from middlewared_schedules.schedule import Schedule, item_of, timing_of

BASE = Schedule(
    id=1,
    name="nightly",
    owner=None,
    username="root",
    roles=frozenset({"A", "B"}),
    method="pool.scrub",
    arguments=b'["tank",{"repair":true}]',
    params=b"sealed \x00\xff",
    sealed=True,
    options=JobChoices(timeout=5, scopes=["a"], attributes={"b": [1, None]}),
    cron="0 2 * * *",
    timezone="Europe/Berlin",
    interval=None,
    start=None,
    end=None,
    jitter=0.5,
    delay=100,
    missed=Missed.ONCE,
    overlap=False,
    enabled=True,
    due=5_000,
    created=1_000,
    modified=2_000,
)


def by_interval(seconds: int, **changes: Any) -> Schedule:
    """Make a schedule that goes by an interval."""
    return replace(BASE, cron=None, timezone=None, interval=seconds, **changes)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1, "Every second"),
        (90, "Every 90 seconds"),
        (60, "Every minute"),
        (600, "Every 10 minutes"),
        (7200, "Every 2 hours"),
        (86_400, "Every day"),
    ],
)
def test_intervals_in_words(seconds: int, expected: str) -> None:
    """The largest unit that fits is used."""
    assert timing_of(by_interval(seconds)).words == expected


def test_intervals_begin() -> None:
    """At the start, or a first interval after the schedule was made; then delayed."""
    assert timing_of(by_interval(60)).times.after(0) == 61_100
    assert timing_of(by_interval(60, start=7_000)).times.after(0) == 7_100


def test_expression_and_zone() -> None:
    """Both have to mean something, also when the row is read again."""
    timing = timing_of(BASE)
    assert timing.words == "At 02:00 every day, Europe/Berlin"
    assert timing.times.after(0) == 3_600_100
    with pytest.raises(CronError):
        timing_of(replace(BASE, cron="nonsense"))
    with pytest.raises(ZoneError):
        timing_of(replace(BASE, timezone="Mars/Olympus"))


def test_item() -> None:
    """Clients see dates, the redacted params, and nothing that is kept sealed."""
    schedule = replace(BASE, last_run=7, last_job=3, last_state=State.FAILED, end=9)
    item = item_of(schedule, "in words")
    assert item.arguments == ["tank", {"repair": True}]
    assert (item.when, item.next_run, item.end) == ("in words", Date(5_000), Date(9))
    assert (item.last_run, item.last_job, item.last_state) == (Date(7), 3, "FAILED")
    assert b"sealed" not in msgspec.json.encode(item)
    assert item_of(replace(schedule, enabled=False), "").next_run is None
