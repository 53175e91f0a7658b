"""What ``middlewared doctor`` looks at, and what it finds."""

import contextlib
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

__all__ = ["Check", "Examined", "Finding", "check_directory"]

#: Bytes of the disk that are few, and too few.
FEW, TOO_FEW = 2**30, 100 * 2**20
#: Bytes of a database's log that are many.
MUCH_LOG = 256 * 2**20

Level = Literal["ok", "note", "problem"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        level: how it is; what is a note needs nobody to do anything.
        subject: what was looked at, a word or two.
        text: what was found.
        advice: what to do, empty when there is nothing.
    """

    level: Level
    subject: str
    text: str
    advice: str = ""


class Examined:
    """A data directory, while it is looked at; nothing of it is changed.

    Attributes:
        path: the directory.
        served: a server runs on it.
    """

    def __init__(
        self, path: Path, database: sqlite3.Connection | None, *, served: bool
    ) -> None:
        self.path = path
        self.served = served
        self._database = database

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Run a SELECT; there are no rows when there is no such table.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        if self._database is None:
            return []
        try:
            return self._database.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as exc:
            if "no such" in str(exc):
                return []  # the tables come with the next start
            raise

    def names(self, folder: str, pattern: str) -> Iterator[str]:
        """Name the files in one of its folders."""
        with contextlib.suppress(OSError):
            yield from (path.name for path in (self.path / folder).glob(pattern))


#: What a plugin looks at.
Check = Callable[[Examined], Iterable[Finding]]


def check_directory(examined: Examined) -> Iterator[Finding]:
    """Look at the directory, its keys and its disk."""
    path = examined.path
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        advice = f"chmod 700 {path}"
        yield Finding("problem", "directory", f"others may enter ({mode:04o})", advice)
    else:
        yield Finding("ok", "directory", str(path))
    for key in sorted(path.glob("*.key")):
        mode = stat.S_IMODE(key.stat().st_mode)
        if mode & 0o077:
            advice = f"chmod 600 {key}; who read it can log in, or read secrets"
            text = f"{key.name}: others may read it ({mode:04o})"
            yield Finding("problem", "key", text, advice)
        else:
            yield Finding("ok", "key", key.name)
    yield _check_disk(path)
    log = path / "middlewared.db-wal"
    if log.exists() and log.stat().st_size > MUCH_LOG:
        text = f"the log of the database has {log.stat().st_size} bytes"
        advice = "Something reads the database for long; end it, or restart the server"
        yield Finding("note", "disk", text, advice)


def _check_disk(path: Path) -> Finding:
    free = shutil.disk_usage(path).free
    text = f"{free // 2**20} MiB free"
    advice = "Make room, or keep less: keep_days and keep_jobs in the table jobs"
    if free < TOO_FEW:
        return Finding("problem", "disk", text, advice)
    if free < FEW:
        return Finding("note", "disk", text, advice)
    return Finding("ok", "disk", text)
