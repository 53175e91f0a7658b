"""A backup is restored when every byte is as it was, or not at all."""

import contextlib
import io
import re
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from middlewared.backup import MANIFEST, write_backup
from middlewared.database import Database
from middlewared.errors import StoreError
from middlewared.restore import restore_backup


async def fill(data_dir: Path, path: Path) -> None:
    """Write a backup of a database with a table."""
    async with Database.open(data_dir / "middlewared.db") as database:
        await database.execute(("CREATE TABLE kept (a)", ()))
        await database.execute(("INSERT INTO kept VALUES (42)", ()))
        # The file of a server that runs: what is new is in its log only.
        write_backup(data_dir, path, logs=True, created=7)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Write a backup of a running database."""
    data_dir = tmp_path / "before"
    (data_dir / "results").mkdir(parents=True)
    (data_dir / "results" / "1.json").write_text("[]")
    (data_dir / "token.key").write_bytes(b"secret")
    anyio.run(fill, data_dir, tmp_path / "b.tar")
    return tmp_path / "b.tar"


def members(path: Path) -> list[tuple[str, bytes]]:
    """Read a backup."""
    with tarfile.open(path) as tar:
        found = ((member.name, tar.extractfile(member)) for member in tar)
        return [(name, file.read()) for name, file in found if file is not None]


def written(path: Path, found: list[tuple[str, bytes]]) -> Path:
    """Write a tar file."""
    with tarfile.open(path, "w") as tar:
        for name, data in found:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def files_in(folder: Path) -> set[str]:
    """Name the files in a folder and in its folders."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_everything_comes_back(backup: Path, tmp_path: Path) -> None:
    """With its rows, in private files, and with another epoch."""
    target = tmp_path / "after" / "deep"
    manifest = restore_backup(backup, target)
    wanted = {"lock", "middlewared.db", "token.key", "results/1.json"}
    assert files_in(target) == wanted
    assert (target / "token.key").stat().st_mode & 0o777 == 0o600
    assert target.stat().st_mode & 0o777 == 0o700
    with contextlib.closing(sqlite3.connect(target / "middlewared.db")) as database:
        assert database.execute("SELECT a FROM kept").fetchall() == [(42,)]
        epoch = database.execute("SELECT epoch FROM database_epoch").fetchone()[0]
    assert epoch != manifest.epoch


def test_only_into_an_empty_directory(backup: Path, tmp_path: Path) -> None:
    """Nothing that is there is touched."""
    target = tmp_path / "used"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(StoreError, match="not empty"):
        restore_backup(backup, target)
    assert files_in(target) == {"mine"}
    (target / "mine").unlink()
    restore_backup(backup, target)


Members = list[tuple[str, bytes]]


def other_format(found: Members) -> Members:
    """Say that the file is of another kind."""
    text = found[-1][1].replace(b'"format": 1', b'"format": 9')
    return [*found[:-1], (MANIFEST, text)]


#: What may be wrong with a backup, and what is said then.
DAMAGES: list[tuple[str, Callable[[Members], Members]]] = [
    ("is another", lambda f: [f[0], (f[1][0], f[1][1] + b"x"), *f[2:]]),
    ("is another", lambda f: [f[0], *f[2:]]),
    ("its end is missing", lambda f: f[:-1]),
    ("other files than it says", lambda f: [("other.key", b"x"), *f]),
    ("it has a file '../evil'", lambda f: [("../evil", b"x"), *f]),
    ("has format 9", other_format),
    ("is no backup", lambda f: [*f[:-1], (MANIFEST, b"{}")]),
]


@pytest.mark.parametrize(("why", "damage"), DAMAGES)
def test_a_damaged_one_leaves_nothing(
    backup: Path, tmp_path: Path, why: str, damage: Callable[[Members], Members]
) -> None:
    """Whatever is wrong with it, it is said, and the directory is as it was."""
    bad = written(tmp_path / "bad.tar", damage(members(backup)))
    target = tmp_path / "after"
    for made in (False, True):
        if made:
            target.mkdir()
        with pytest.raises(StoreError, match=re.escape(why)):
            restore_backup(bad, target)
        assert target.exists() == made
    assert files_in(target) <= {"lock"}
    restore_backup(backup, target)


def test_what_is_no_tar_file(tmp_path: Path) -> None:
    """It is said, and no directory is made."""
    (tmp_path / "b.tar").write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match="is no backup"):
        restore_backup(tmp_path / "b.tar", tmp_path / "after")
    assert not (tmp_path / "after").exists()


def test_a_damaged_database_is_noticed(tmp_path: Path) -> None:
    """Also when its bytes are those that were backed up."""
    data_dir = tmp_path / "before"
    data_dir.mkdir()
    with contextlib.closing(sqlite3.connect(data_dir / "middlewared.db")) as database:
        database.execute("CREATE TABLE database_epoch (one, epoch)")
        database.execute("INSERT INTO database_epoch VALUES (1, 'e1')")
        database.execute("CREATE TABLE many (a)")
        database.execute("CREATE INDEX of_many ON many (a)")
        database.executemany("INSERT INTO many VALUES (?)", [(n,) for n in range(9999)])
        database.commit()
        pages = database.execute("PRAGMA page_count").fetchone()[0]
    with (data_dir / "middlewared.db").open("r+b") as file:
        file.seek((pages - 2) * 4096)
        file.write(b"\0" * 4096)
    write_backup(data_dir, tmp_path / "b.tar", logs=False, created=7)
    with pytest.raises(StoreError, match="damaged"):
        restore_backup(tmp_path / "b.tar", tmp_path / "after")
