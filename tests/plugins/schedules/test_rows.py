"""Schedules in the database come back as they were."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import middlewared_schedules
from middlewared.database import Database
from middlewared_jobs import JobChoices, State
from middlewared_schedules.plan import Missed
from middlewared_schedules.rows import delete_row, insert_row, read_rows, update_row
from middlewared_schedules.schedule import Schedule

words = st.text(min_size=1, max_size=8)
maybe_ms = st.none() | st.integers(0, 2**53)

SCHEDULES = st.builds(
    Schedule,
    id=st.integers(1, 5),
    name=words,
    owner=st.none() | st.integers(1, 9),
    username=words,
    roles=st.frozensets(words, max_size=3),
    method=words,
    arguments=st.just(b"[1]"),
    params=st.binary(max_size=9),
    sealed=st.booleans(),
    options=st.builds(
        JobChoices,
        priority=st.none() | st.integers(-1000, 1000),
        timeout=st.none() | st.floats(0.1, 100),
        description=st.none() | st.just("null") | words,
        attributes=st.dictionaries(words, st.integers()),
    ),
    cron=st.none() | words,
    timezone=st.none() | words,
    interval=st.none() | st.integers(1, 1000),
    start=maybe_ms,
    end=maybe_ms,
    jitter=st.floats(0, 100),
    delay=st.integers(0, 1000),
    missed=st.sampled_from(Missed),
    overlap=st.booleans(),
    enabled=st.booleans(),
    due=maybe_ms,
    handled=maybe_ms,
    last_run=maybe_ms,
    last_job=st.none() | st.integers(1, 100),
    last_state=st.none() | st.sampled_from(State),
    last_skipped=maybe_ms,
    last_error=st.none() | st.just("null") | words,
    created=st.integers(0, 2**53),
    modified=st.integers(0, 2**53),
)


@settings(max_examples=10)
@given(SCHEDULES, SCHEDULES)
async def test_rows(first: Schedule, then: Schedule) -> None:
    """Whatever a schedule holds is read again, and the last id when it is gone."""
    changed = replace(then, id=first.id)
    migrations = middlewared_schedules.plugin.migrations
    assert migrations is not None
    with tempfile.TemporaryDirectory() as folder:
        async with Database.open(Path(folder) / "db") as database:
            await database.migrate("schedules", migrations)
            assert await read_rows(database) == ([], 0)
            await database.execute(insert_row(first))
            assert await read_rows(database) == ([first], first.id)
            await database.execute(update_row(changed))
            assert await read_rows(database) == ([changed], first.id)
            await database.execute(delete_row(changed))
            assert await read_rows(database) == ([], first.id)
