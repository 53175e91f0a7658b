"""A data directory from a backup: every byte is checked before anything is served."""

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import tarfile
from pathlib import Path
from typing import IO

import msgspec

from middlewared.backup import DATABASE, FORMAT, MANIFEST, BackupFile, Manifest
from middlewared.database import renew_epoch
from middlewared.datadir import LOCK, locked_data_dir
from middlewared.errors import StoreError

__all__ = ["restore_backup"]

_NAME = re.compile(r"middlewared\.db|[a-z]+\.key|results/[0-9]+\.json|logs/[0-9]+\.log")
_BLOCK = 1 << 20


def restore_backup(source: Path, data_dir: Path) -> Manifest:
    """Make a data directory of a backup; its database gets another epoch.

    Clients so learn that their positions are those of another past.

    Args:
        source: the backup.
        data_dir: the directory; it is made, or empty.

    Returns:
        What the backup said of itself.

    Raises:
        StoreError: it is no backup, or a damaged one; the directory is as before.
        StartError: the directory cannot be written, or a server runs on it.
    """
    made = not data_dir.exists()
    if not made and any(entry.name != LOCK for entry in data_dir.iterdir()):
        raise StoreError(f"{str(data_dir)!r} is not empty, expected a new directory")
    with locked_data_dir(data_dir):
        try:
            manifest = _restore(source, data_dir)
        except BaseException:
            for entry in data_dir.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != LOCK:
                    entry.unlink()
            if made:
                shutil.rmtree(data_dir)
            raise
    return manifest


def _restore(source: Path, data_dir: Path) -> Manifest:
    try:
        with tarfile.open(source, "r:") as tar:
            manifest = _extract(source, tar, data_dir)
    except (tarfile.TarError, EOFError) as exc:
        raise StoreError(f"{str(source)!r} is no backup: {exc}") from exc
    except OSError as exc:
        text = exc.strerror or exc
        raise StoreError(f"{str(source)!r} cannot be restored: {text}") from exc
    _check_database(data_dir / DATABASE)
    renew_epoch(data_dir / DATABASE)
    return manifest


def _extract(source: Path, tar: tarfile.TarFile, data_dir: Path) -> Manifest:
    """Write the files of a backup, and compare them with what it says of itself."""
    found: list[BackupFile] = []
    for member in tar:
        file = tar.extractfile(member) if member.isreg() else None
        if file is not None and member.name == MANIFEST:
            manifest = _read_manifest(source, file)
            _compare(source, found, manifest.files)
            return manifest
        if file is None or not _NAME.fullmatch(member.name):
            raise StoreError(
                f"{str(source)!r} is no backup: it has a file {member.name!r}"
            )
        found.append(_write(file, member.name, data_dir))
    raise StoreError(f"{str(source)!r} is not complete: its end is missing")


def _read_manifest(source: Path, file: IO[bytes]) -> Manifest:
    try:
        manifest = msgspec.json.decode(file.read(), type=Manifest)
    except msgspec.DecodeError as exc:
        raise StoreError(f"{str(source)!r} is no backup: {exc}") from exc
    if manifest.format != FORMAT:
        raise StoreError(
            f"{str(source)!r} has format {manifest.format}, expected {FORMAT}; "
            f"middlewared {manifest.version} wrote it"
        )
    return manifest


def _compare(source: Path, found: list[BackupFile], said: list[BackupFile]) -> None:
    files = {entry.name: entry for entry in found}
    for entry in said:
        if files.pop(entry.name, None) != entry:
            raise StoreError(f"{str(source)!r} is damaged: {entry.name} is another")
    if files or not any(entry.name == DATABASE for entry in said):
        raise StoreError(f"{str(source)!r} is damaged: it has other files than it says")


def _write(file: IO[bytes], name: str, data_dir: Path) -> BackupFile:
    path = data_dir / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        while data := file.read(_BLOCK):
            digest.update(data)
            size += len(data)
            target.write(data)
        target.flush()
        os.fsync(target.fileno())
    return BackupFile(name, size, digest.hexdigest())


def _check_database(path: Path) -> None:
    """Let a sound database pass.

    Raises:
        StoreError: it is none.
    """
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as exc:
        found = exc
    if found != "ok":
        raise StoreError(f"the database in the backup is damaged: {found}")
