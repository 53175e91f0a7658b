"""What a database holds no more is given back, slowly, and only when it is much."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from middlewared import freepages
from middlewared.database import Database
from middlewared.freepages import FreePages, allow_shrinking

TABLE = ("CREATE TABLE t (x INTEGER PRIMARY KEY, text TEXT) STRICT", ())
FILL = "INSERT INTO t (text) VALUES (?)"
MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give back from 1 MiB on, and without rest."""
    monkeypatch.setattr(freepages, "BEGIN_BYTES", MIB)
    monkeypatch.setattr(freepages, "REST", 0.0)


async def fill(database: Database, rows: int) -> None:
    """Write rows of 4 KiB."""
    await database.execute(*[(FILL, ("x" * 4096,))] * rows)


def mode(path: Path) -> Any:
    """Tell whether a file can shrink: 2 if so."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA auto_vacuum").fetchone()[0]


def size(path: Path) -> int:
    """Give the bytes of a file."""
    return path.stat().st_size


def write_old(path: Path) -> None:
    """Write a database as earlier programs did."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(TABLE[0])
        connection.executemany(FILL, [("x" * 4096,)] * 500)
        connection.execute("DELETE FROM t WHERE x > 10")


async def test_a_file_shrinks(path: Path) -> None:
    """Much that is removed is given back, while others write."""
    async with Database.open(path) as database:
        await database.execute(TABLE)
        await fill(database, 3000)
        await database.execute(("DELETE FROM t WHERE x % 10", ()))
        database.write([(FILL, ("later",))])
        await database.free_pages.reduce()
        await fill(database, 1)
        assert await database.read("SELECT count(*) FROM t") == [(302,)]
    assert size(path) < 3 * MIB
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_little_stays(path: Path) -> None:
    """What the next rows will use is not given back."""
    async with Database.open(path) as database:
        await database.execute(TABLE)
        await fill(database, 2000)
        await database.execute(("DELETE FROM t WHERE x <= 400", ()))
        await database.free_pages.reduce()
        ((free,),) = await database.read("PRAGMA freelist_count")
        assert free >= 400


async def test_an_old_file_is_rewritten(path: Path) -> None:
    """It opens, with all that it had, and can shrink from then on."""
    write_old(path)
    assert mode(path) == 0
    async with Database.open(path) as database:
        assert await database.read("SELECT count(*) FROM t") == [(10,)]
    assert mode(path) == 2
    assert size(path) < MIB


async def test_a_large_old_file_is_left(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write it anew would take long; it works as before."""
    monkeypatch.setattr(freepages, "REWRITE_BYTES", MIB)
    write_old(path)
    async with Database.open(path) as database:
        await database.free_pages.reduce()
        assert await database.read("SELECT count(*) FROM t") == [(10,)]
    assert mode(path) == 0
    assert size(path) > MIB


async def test_an_old_file_that_others_read(path: Path) -> None:
    """They see what they saw."""
    write_old(path)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM t").fetchall()
        async with Database.open(path) as database:
            await fill(database, 1)
            found = other.execute("SELECT count(*) FROM t").fetchone()
            assert found == (10,)
    assert mode(path) == 2


async def test_an_old_file_that_cannot_be_written(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays as large as it is, and that is said."""
    write_old(path)
    where = f"file:{path}?mode=ro"
    async with aiosqlite.connect(where, uri=True, isolation_level=None) as reader:
        await allow_shrinking(reader, path)
    assert "stays as large as it is" in caplog.text
    assert mode(path) == 0


async def test_it_gives_up_when_nothing_comes_of_it() -> None:
    """A file that cannot shrink is not tried for ever."""
    slices = 0

    async def count() -> tuple[int, int, int]:
        return 1000, 900, 4096

    async def give_back() -> None:
        nonlocal slices
        slices += 1

    await FreePages(count, give_back).reduce()
    assert slices == 1
