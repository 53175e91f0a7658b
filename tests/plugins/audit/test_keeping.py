"""How entries get to the disk, and what becomes of those that do not."""

import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from middlewared import Origin
from middlewared.access import SYSTEM
from middlewared.audit import Entry
from middlewared.database import Database
from middlewared.errors import StoreError
from middlewared.testing import ManualClock
from middlewared_audit import AuditSettings, plugin
from middlewared_audit.keeping import (
    MAX_PENDING,
    MAX_REFUSED,
    MAX_REFUSED_EACH,
    Keeper,
)

REFUSE = (
    "CREATE TEMP TRIGGER t BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
)
ENTRY = Entry(time=1, event="CALL", outcome="OK", who=SYSTEM, method="a.b")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "middlewared.db") as opened:
        assert plugin.migrations is not None
        await opened.migrate("audit", plugin.migrations)
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def keeper(database: Database, clock: ManualClock, **settings: Any) -> Keeper:
    return Keeper(database, clock, AuditSettings(**settings))


async def read(database: Database, columns: str = "event, detail") -> list[Any]:
    await database.wait_committed()
    return await database.read(f"SELECT {columns} FROM audit ORDER BY id")  # noqa: S608 - our own names


async def test_entries_are_written_in_groups(
    database: Database, clock: ManualClock
) -> None:
    """In the order they came, a moment after the first of them."""
    kept = keeper(database, clock)
    for number in range(5):
        kept.keep(Entry(time=number, event="JOB", outcome="OK", job_id=number))
    assert await read(database) == []
    with anyio.fail_after(20):
        while not (found := await read(database, "job_id")):  # noqa: ASYNC110 - nobody is told
            await anyio.sleep(0.01)
    assert found == [(0,), (1,), (2,), (3,), (4,)]


async def test_more_than_the_disk_takes_is_counted(
    database: Database, clock: ManualClock
) -> None:
    """What is over the bound is lost, and the log says how much."""
    kept = keeper(database, clock)
    for _ in range(MAX_PENDING + 7):
        kept.keep(ENTRY)
    kept.flush()
    found = await read(database)
    assert len(found) == MAX_PENDING + 1
    assert found[-1] == ("LOST", "7 entries")
    kept.keep(ENTRY)
    kept.flush()
    assert (await read(database))[-1] == ("CALL", None)


async def test_what_cannot_be_written_is_counted(
    database: Database, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that refuses loses entries, not the count of them."""
    kept = keeper(database, clock)
    await database.execute((REFUSE, ()))
    for _ in range(2):
        kept.keep(ENTRY)
        kept.keep(ENTRY)
        kept.flush()
        assert await read(database) == []
    assert "entries are lost: no" in caplog.text
    await database.execute(("DROP TRIGGER t", ()))
    kept.keep(ENTRY)
    kept.flush()
    assert await read(database) == [("CALL", None), ("LOST", "4 entries")]


async def test_strangers_do_not_fill_the_log(
    database: Database, clock: ManualClock
) -> None:
    """What was refused is written down so often a minute; what was allowed, always."""
    kept = keeper(database, clock)
    denied = Entry(time=1, event="CALL", outcome="EACCES", who=SYSTEM, method="a.b")
    for _ in range(MAX_REFUSED_EACH + 5):
        kept.keep(denied)
        kept.keep(ENTRY)
    for number in range(MAX_REFUSED):
        origin = Origin(address=f"192.0.2.{number}")
        kept.keep(Entry(time=1, event="LOGIN", outcome="AUTH_ERR", origin=origin))
        kept.keep(Entry(time=1, event="CALL", outcome="EBUSY", origin=origin))
    kept.flush()
    found = await read(database, "outcome, event")
    assert found.count(("OK", "CALL")) == MAX_REFUSED_EACH + 5
    assert found.count(("EACCES", "CALL")) == MAX_REFUSED_EACH
    strangers = found.count(("AUTH_ERR", "LOGIN")) + found.count(("EBUSY", "CALL"))
    assert strangers == MAX_REFUSED - MAX_REFUSED_EACH
    lost = 5 + 2 * MAX_REFUSED - strangers
    assert (await read(database))[-1] == ("LOST", f"{lost} entries")
    clock.advance(61)
    kept.keep(denied)
    kept.flush()
    assert (await read(database, "outcome"))[-1] == ("EACCES",)


async def test_entries_go_to_the_server_log_when_told(
    database: Database, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A line of JSON each, for whoever collects logs elsewhere."""
    caplog.set_level(logging.INFO)
    for told in (False, True):
        kept = keeper(database, clock, log=told)
        kept.keep(ENTRY)
        kept.flush()
        await database.wait_committed()
    (record,) = [r for r in caplog.records if r.name == "middlewared.audit"]
    assert json.loads(record.getMessage()) == {
        "time": 1,
        "event": "CALL",
        "outcome": "OK",
        "username": "system",
        "credentials": "SYSTEM",
        "login_id": "system",
        "method": "a.b",
    }


async def test_entries_with_and_without_keep_their_order(
    database: Database, clock: ManualClock
) -> None:
    """Those of a group that have what few have do not overtake the others."""
    kept = keeper(database, clock)
    keyed = msgspec.structs.replace(SYSTEM, api_key=7)
    for who in (SYSTEM, keyed, SYSTEM):
        kept.keep(Entry(time=1, event="CALL", outcome="OK", who=who, method="a.b"))
    kept.keep(msgspec.structs.replace(ENTRY, detail="last"))
    kept.flush()
    kept.keep(ENTRY)
    kept.flush()
    rows = [(None, None), (7, None), (None, None), (None, "last"), (None, None)]
    assert await read(database, "api_key, detail") == rows
    assert await read(database, "id") == [(n,) for n in range(1, 6)]


async def test_ids_have_no_gaps(database: Database, clock: ManualClock) -> None:
    """A write that fails takes no id, so a row that is missing shows."""
    kept = keeper(database, clock)
    kept.keep(ENTRY)
    kept.flush()
    await database.wait_committed()
    with pytest.raises((StoreError, sqlite3.IntegrityError)):
        await database.execute(
            ("INSERT INTO audit (time, event, outcome) VALUES (1, 'x', 'OK')", ()),
            ("INSERT INTO audit (time) VALUES (1)", ()),
        )
    kept.keep(ENTRY)
    kept.flush()
    assert await read(database, "id") == [(1,), (2,)]
