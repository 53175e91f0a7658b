"""A backup: the database at one moment, keys, results and logs, in one tar file."""

import contextlib
import hashlib
import importlib.metadata
import io
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from middlewared.errors import StoreError

__all__ = ["DATABASE", "FORMAT", "MANIFEST", "BackupFile", "Manifest", "write_backup"]

DATABASE, MANIFEST = "middlewared.db", "manifest.json"
#: Of the file; another number is another kind of file.
FORMAT = 1
#: Folders of files that belong to rows, and their endings.
RESULTS, LOGS = ("results", "*.json"), ("logs", "*.log")


class BackupFile(msgspec.Struct, frozen=True):
    """One file of a backup.

    Attributes:
        name: path in the data directory.
        size: bytes.
        sha256: of them.
    """

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds.

    Attributes:
        format: of the file.
        version: of the program that wrote it.
        created: when, milliseconds since 1970-01-01 UTC.
        epoch: of the database.
        files: all of its files.
    """

    format: int = FORMAT
    version: str
    created: int
    epoch: str
    files: list[BackupFile]


class _Hashed(io.RawIOBase):
    """Reads so many bytes of a file and hashes them; one that shrank ends in zeros."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self.digest = hashlib.sha256()
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._left]
        count = self._file.readinto(view)
        if not count:
            view[:] = bytes(len(view))
            count = len(view)
        self.digest.update(view[:count])
        self._left -= count
        return count


def write_backup(data_dir: Path, target: Path, *, logs: bool, created: int) -> Manifest:
    """Write a backup of a data directory, whether a server runs on it or not.

    The database is that of one moment; who writes to it goes on. Logs are as long as
    they are by then. May take long: for threads.

    Args:
        data_dir: the data directory.
        target: the file to write; there may be none yet.
        logs: with the logs of jobs.
        created: the time now, milliseconds since 1970-01-01 UTC.

    Raises:
        StoreError: the database cannot be read.
        OSError: the file exists, or cannot be written.
    """
    if target.exists():
        raise FileExistsError(17, "there is such a file already", str(target))
    part = target.with_name(f".{target.name}.part")
    snapshot = target.with_name(f".{target.name}.db")
    try:
        _make_private(snapshot)
        epoch = _copy_database(data_dir / DATABASE, snapshot)
        _make_private(part)
        with part.open("r+b") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                found = [(DATABASE, snapshot), *_files(data_dir, logs=logs)]
                added = [_add(tar, name, path) for name, path in found]
                manifest = Manifest(
                    version=importlib.metadata.version("middlewared"),
                    created=created,
                    epoch=epoch,
                    files=[entry for entry in added if entry is not None],
                )
                # The last one: what was cut off on its way has none.
                _add_manifest(tar, manifest)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        for path in (snapshot, part):
            path.unlink(missing_ok=True)
    return manifest


def _make_private(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))


def _copy_database(path: Path, target: Path) -> str:
    """Copy the database as it is at one moment, and give its epoch."""
    try:
        # In one step: it begins anew whenever somebody writes between two.
        with (
            contextlib.closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            ) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            found = copy.execute("SELECT epoch FROM database_epoch").fetchone()
    except sqlite3.Error as exc:
        raise StoreError(f"database {str(path)!r}: {exc}") from exc
    return str(found[0])


def _files(data_dir: Path, *, logs: bool) -> Iterator[tuple[str, Path]]:
    """Give names and paths of what belongs to the database."""
    yield from ((path.name, path) for path in sorted(data_dir.glob("*.key")))
    for folder, ending in (RESULTS, LOGS) if logs else (RESULTS,):
        for path in sorted((data_dir / folder).glob(ending)):
            yield f"{folder}/{path.name}", path


def _add(tar: tarfile.TarFile, name: str, path: Path) -> BackupFile | None:
    """Add a file; None when it was removed meanwhile."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        info = _info(name, os.fstat(file.fileno()).st_size)
        info.mtime = int(os.fstat(file.fileno()).st_mtime)
        hashed = _Hashed(file, info.size)
        tar.addfile(info, io.BufferedReader(hashed, 1 << 20))
    return BackupFile(name, info.size, hashed.digest.hexdigest())


def _add_manifest(tar: tarfile.TarFile, manifest: Manifest) -> None:
    text = msgspec.json.format(msgspec.json.encode(manifest))
    tar.addfile(_info(MANIFEST, len(text)), io.BytesIO(text))


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o600, size
    return info
