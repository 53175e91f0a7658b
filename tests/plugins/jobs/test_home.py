"""A data directory that is moved or restored is noticed."""

from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import anyio
import pytest
from jobs_records import make_record

from middlewared.database import Database, renew_epoch
from middlewared_jobs import State
from middlewared_jobs.home import RESTORE_GAP, settle_in
from middlewared_jobs.sqlite_store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a database."""
    return tmp_path / "middlewared.db"


async def opened(path: Path) -> AsyncIterator[tuple[Database, SqliteStore]]:
    """Open a database as another start does."""
    async with Database.open(path) as database:
        await database.migrate("jobs", files("middlewared_jobs") / "migrations")
        yield database, SqliteStore(database)


async def fill(store: SqliteStore) -> None:
    """Save a job with a log that runs in a child, and one without."""
    ran = make_record(
        1,
        state=State.RUNNING,
        logs_path="/old/logs/1.log",
        child_pid=4711,
        child_started="boot 1",
    )
    store.save(ran, None, None)
    saved = anyio.Event()
    store.save(make_record(2), None, lambda _: saved.set())
    await saved.wait()


async def test_paths_of_logs_follow_the_directory(path: Path) -> None:
    """Moved, the rows name the new place, and nothing else changes."""
    async for database, store in opened(path):
        await settle_in(database, Path("/old/logs"))
        await fill(store)
        await settle_in(database, Path("/new/logs"))
        await settle_in(database, Path("/new/logs"))
        ran, waits = await store.get(1), await store.get(2)
        assert ran is not None
        assert waits is not None
        assert (ran.logs_path, waits.logs_path) == ("/new/logs/1.log", None)
        assert ran.child_pid == 4711
        assert await store.first_id() == 1


async def test_a_restored_database_keeps_apart(path: Path) -> None:
    """Its ids go on behind a gap, once, and no child is its own."""
    async for database, store in opened(path):
        await settle_in(database, Path("/old/logs"))
        await fill(store)
    renew_epoch(path)
    for _ in range(2):
        async for database, store in opened(path):
            await settle_in(database, Path("/old/logs"))
            assert await store.first_id() == 1 + RESTORE_GAP
            ran = await store.get(1)
            assert ran is not None
            assert (ran.child_pid, ran.child_started) == (None, None)
            assert ran.logs_path == "/old/logs/1.log"
