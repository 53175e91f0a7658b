"""Old entries leave, from the oldest end."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from middlewared.database import Database
from middlewared.testing import ManualClock
from middlewared_audit import AuditSettings, plugin
from middlewared_audit.retention import DAY_MS, SLICE, Retention

NOW = 100 * DAY_MS
_INSERT = "INSERT INTO audit (time, event, outcome) VALUES (?, 'CALL', 'OK')"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "middlewared.db") as opened:
        assert plugin.migrations is not None
        await opened.migrate("audit", plugin.migrations)
        yield opened


async def sweep(database: Database, **settings: Any) -> list[Any]:
    """Let old entries go and give the ids that are left."""
    retention = Retention(database, ManualClock(NOW), AuditSettings(**settings))
    await retention.sweep()
    return [row[0] for row in await database.read("SELECT id FROM audit ORDER BY id")]


async def fill(database: Database, *times: int) -> None:
    """Write an entry for each time, in days."""
    await database.execute(*((_INSERT, (day * DAY_MS,)) for day in times))


async def test_entries_leave_by_age(database: Database) -> None:
    """What is older than the settings say, up to the first that is younger."""
    assert await sweep(database, keep_days=10) == []
    await fill(database, 1, 89, 90, 5, 100)
    assert await sweep(database, keep_days=10) == [3, 4, 5]
    assert await sweep(database, keep_days=10) == [3, 4, 5]


async def test_entries_leave_by_number(database: Database) -> None:
    """The newest so many stay, and ids go on."""
    await fill(database, *([100] * 5))
    assert await sweep(database, keep_entries=2) == [4, 5]
    await fill(database, 100)
    assert await sweep(database, keep_entries=2) == [5, 6]


async def test_everything_may_be_old(database: Database) -> None:
    """Then nothing is left, in as many steps as it takes; ids are not used again."""
    await fill(database, *([1] * (2 * SLICE + 5)))
    assert await sweep(database) == []
    await fill(database, 100)
    assert await sweep(database) == [2 * SLICE + 6]
