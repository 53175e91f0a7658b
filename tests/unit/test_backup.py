"""A backup: one moment, private, whole or not at all."""

import contextlib
import sqlite3
import stat
import tarfile
from pathlib import Path

import msgspec
import pytest

from middlewared.backup import MANIFEST, Manifest, write_backup
from middlewared.errors import StoreError


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Make a data directory with a database."""
    path = tmp_path / "data"
    path.mkdir()
    with contextlib.closing(sqlite3.connect(path / "middlewared.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE database_epoch (one, epoch)")
        database.execute("INSERT INTO database_epoch VALUES (1, 'e1')")
        database.commit()
    for name in ("jobs.key", "logs/1.log", "results/2.json", "logs/x", "other"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(f"this is {name}")
    return path


def names(path: Path) -> list[str]:
    """Name what is in a backup."""
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_what_is_in_a_backup(data_dir: Path, tmp_path: Path) -> None:
    """Database, keys, results and, if wanted, logs; the manifest is the last one."""
    target = tmp_path / "b.tar"
    manifest = write_backup(data_dir, target, logs=False, created=7)
    wanted = ["middlewared.db", "jobs.key", "results/2.json"]
    assert names(target) == [*wanted, MANIFEST]
    assert [entry.name for entry in manifest.files] == wanted
    assert (manifest.created, manifest.epoch) == (7, "e1")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    write_backup(data_dir, tmp_path / "l.tar", logs=True, created=7)
    assert names(tmp_path / "l.tar") == [*wanted, "logs/1.log", MANIFEST]
    with tarfile.open(target) as tar:
        text = tar.extractfile(MANIFEST)
        assert text is not None
        assert msgspec.json.decode(text.read(), type=Manifest) == manifest
    assert {entry.name for entry in tmp_path.iterdir()} == {"data", "b.tar", "l.tar"}


def test_nothing_is_overwritten(data_dir: Path, tmp_path: Path) -> None:
    """A file that is there stays as it is, and nothing is left beside it."""
    target = tmp_path / "b.tar"
    target.write_text("mine")
    with pytest.raises(FileExistsError):
        write_backup(data_dir, target, logs=False, created=7)
    assert target.read_text() == "mine"
    with pytest.raises(OSError, match="No such file"):
        write_backup(data_dir, tmp_path / "none" / "b.tar", logs=False, created=7)


def test_no_database_is_no_backup(data_dir: Path, tmp_path: Path) -> None:
    """A file that is none is an error, and nothing is left behind."""
    (data_dir / "middlewared.db").write_text("x" * 5000)
    with pytest.raises(StoreError, match="not a database"):
        write_backup(data_dir, tmp_path / "b.tar", logs=False, created=7)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]
