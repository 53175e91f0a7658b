"""The doctor finds what is wrong with a data directory, and changes nothing."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from middlewared.database import Database
from middlewared.datadir import locked_data_dir
from middlewared.doctor import examine
from middlewared.examination import FEW, TOO_FEW, Examined, Finding, check_directory
from middlewared.testing import running_server


async def make(path: Path) -> None:
    """Let a server make its data directory."""
    async with running_server(data_dir=path):
        pass


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory that tests copy."""
    path = tmp_path_factory.mktemp("sound") / "data"
    anyio.run(make, path)
    return path


@pytest.fixture
def data_dir(sound: Path, tmp_path: Path) -> Path:
    """Give a data directory of a stopped server."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


@contextlib.contextmanager
def opened(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """Open the database to change it by hand."""
    with contextlib.closing(sqlite3.connect(data_dir / "middlewared.db")) as database:
        yield database
        database.commit()


def bad(data_dir: Path, config: Path | None = None) -> list[Finding]:
    """Give what is not in order."""
    return [f for f in examine(data_dir, config, full=True) if f.level != "ok"]


def test_a_sound_directory(data_dir: Path) -> None:
    """There is nothing to do, and every part was looked at."""
    found = examine(data_dir, None, full=False)
    assert [finding for finding in found if finding.level != "ok"] == []
    subjects = {finding.subject for finding in found}
    assert subjects >= {
        "settings",
        "directory",
        "key",
        "disk",
        "server",
        "database",
        "tables",
        "ids",
        "jobs",
        "files",
    }


def test_what_is_not_there_yet(tmp_path: Path) -> None:
    """Without directory or database there is no problem."""
    (one,) = bad(tmp_path / "none")
    assert (one.level, one.subject) == ("note", "directory")
    assert not (tmp_path / "none").exists()
    tmp_path.chmod(0o700)
    (two,) = bad(tmp_path)
    assert (two.level, two.subject) == ("note", "database")
    assert list(tmp_path.iterdir()) == []


def test_rights_of_others(data_dir: Path) -> None:
    """Directory and keys are for the owner; it is said how to mend them."""
    data_dir.chmod(0o755)
    (data_dir / "token.key").chmod(0o644)
    directory, key = bad(data_dir)
    assert directory.advice == f"chmod 700 {data_dir}"
    assert (key.level, "token.key" in key.text) == ("problem", True)


@pytest.mark.parametrize(
    ("free", "level"), [(FEW, "ok"), (FEW - 1, "note"), (TOO_FEW - 1, "problem")]
)
def test_a_full_disk(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    """Little room is a note, hardly any a problem."""
    usage = shutil._ntuple_diskusage(10**12, 10**12 - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    examined = Examined(data_dir, None, served=False)
    disk = [f for f in check_directory(examined) if f.subject == "disk"]
    assert [finding.level for finding in disk] == [level]


def test_versions_of_tables(data_dir: Path) -> None:
    """Of a newer program, of an older one, and of a plugin that is gone."""
    with opened(data_dir) as database:
        database.execute("UPDATE schema_version SET version = 99 WHERE owner = 'jobs'")
        database.execute("UPDATE schema_version SET version = 1 WHERE owner = 'auth'")
        database.execute("INSERT INTO schema_version VALUES ('gone', 1)")
    found = {f.text.partition(" ")[0]: f for f in bad(data_dir)}
    assert {name: f.level for name, f in found.items()} == {
        "auth": "note",
        "gone": "note",
        "jobs": "problem",
    }


def test_a_database_that_cannot_shrink(data_dir: Path) -> None:
    """An earlier program made it, and most of it holds nothing."""
    with opened(data_dir) as database:
        database.isolation_level = None
        database.execute("PRAGMA auto_vacuum=0")
        database.execute("VACUUM")
        database.execute("CREATE TABLE filler (x)")
        database.execute("INSERT INTO filler VALUES (zeroblob(4000000))")
        database.execute("DROP TABLE filler")
    (found,) = bad(data_dir)
    assert (found.level, found.subject) == ("note", "database")
    assert "VACUUM" in (found.advice or "")


def test_a_damaged_database(data_dir: Path) -> None:
    """A page of zeros, and a file that is none."""
    path = data_dir / "middlewared.db"
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096 * 4)
    assert [(f.level, f.subject) for f in bad(data_dir)] == [("problem", "database")]
    path.write_text("x" * 9999)
    (found,) = bad(data_dir)
    assert "not a database" in found.text


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("listen = 5", "listen"),
        ("[jobs]\nkeep_days = -1", "keep_days"),
        ("[none]\na = 1", "none"),
        ("no toml", "Expected"),
    ],
)
def test_wrong_settings(data_dir: Path, text: str, word: str) -> None:
    """What the server would not start with, in its own words."""
    config = data_dir.parent / "c.toml"
    config.write_text(text)
    (found,) = bad(data_dir, config)
    assert (found.level, found.subject) == ("problem", "settings")
    assert word in found.text


async def test_a_running_server_is_looked_at(data_dir: Path) -> None:
    """Its lock says that it runs, and it may write meanwhile."""
    with locked_data_dir(data_dir):
        async with Database.open(data_dir / "middlewared.db") as database:
            await database.execute(("CREATE TABLE later (a)", ()))
            found = examine(data_dir, None, full=False)
    assert [f.text for f in found if f.subject == "server"] == ["one runs"]
    assert [f for f in found if f.level == "problem"] == []
