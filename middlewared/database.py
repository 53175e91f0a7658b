"""SQLite: one writer that commits in groups, one reader, numbered migrations."""

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import anyio
import anyio.lowlevel
import msgspec

from middlewared.errors import StoreError
from middlewared.figures import Histogram
from middlewared.freepages import SLICE, FreePages, allow_shrinking
from middlewared.inserts import Bulk

__all__ = ["Database", "Done", "Rows", "Statement", "Write", "renew_epoch"]

logger = logging.getLogger(__name__)

Statement = tuple[str, Sequence[Any]]
#: SQL, and the parameters of each time that it is to be run.
Rows = tuple[str, Sequence[Sequence[Any]]]
Row = tuple[Any, ...]
T = TypeVar("T")
#: Called in the loop once a write is committed (None) or refused (the reason).
Done = Callable[[StoreError | sqlite3.IntegrityError | None], None]

#: Writes in one transaction; beyond, the next group begins.
MAX_GROUP = 512
#: Seconds that listeners of commits may take before others have their turn.
SLICE_SECONDS = 0.002
BUSY_SECONDS = 5.0
#: Seconds of a commit, and writes in one, as they are counted.
COMMIT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
GROUP_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16384",
    "PRAGMA foreign_keys=ON",
)
_WRITER_OPENS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=1000",
    "PRAGMA journal_size_limit=67108864",
    # Finds out now, and not with the first job, that the file is read-only: BEGIN alone
    # does not mind. The value stays what it is.
    "BEGIN IMMEDIATE",
    "PRAGMA user_version=0",
    "ROLLBACK",
)
#: Names the database; clients that knew another one have to start over.
_EPOCH = (
    """
    CREATE TABLE IF NOT EXISTS database_epoch (
        one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL
    ) STRICT
    """,
    "INSERT OR IGNORE INTO database_epoch VALUES (1, lower(hex(randomblob(8))))",
)
_RENEW = "UPDATE database_epoch SET epoch = lower(hex(randomblob(8)))"


# Before it binds None or bytes, sqlite3 asks the value whether it adapts itself, by an
# error with a text that nobody reads: 0.7 us each. These say that it stays as it is.
_keep: Callable[[Any], None] = {}.get
sqlite3.register_adapter(type(None), _keep)
sqlite3.register_adapter(bytes, bytes)


class Write(msgspec.Struct, frozen=True, eq=False):
    """Statements that are committed together, and who wants to know.

    Attributes:
        statements: in order.
        done: called with the outcome.
        appends: rows that no other statement of the transaction looks at; those of
            several writes are joined, and follow all statements.
    """

    statements: Sequence[Statement]
    done: Done | None
    appends: Sequence[Rows]


class Database:
    """The embedded database; open it with `Database.open`.

    Every write goes through one queue and one task, which commits everything queued
    as one transaction (group commit), with ``synchronous=FULL``: what was reported
    as done survives a power cut. The queue is not bounded by itself: its feeders are
    (calls in flight, running jobs), so that no final state of a job is ever refused.

    Attributes:
        path: the file.
        epoch: names the database; it changes when a backup is restored.
        free_pages: gives back what holds nothing any more.
        commits: seconds that transactions took.
        groups: writes that were committed together.
    """

    def __init__(
        self,
        path: Path,
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
        epoch: str,
    ) -> None:
        self.path = path
        self.epoch = epoch
        self._writer = writer
        self._reader = reader
        self._queue: list[Write] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._slices: list[asyncio.Future[None]] = []
        self.free_pages = FreePages(self._count_pages, self._give_back)
        self.commits = Histogram(COMMIT_BOUNDS)
        self.groups = Histogram(GROUP_BOUNDS)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Database"]:
        """Open or create the database file; close it after the last write.

        Raises:
            StoreError: the file cannot be opened or written, is no database or is
                locked.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                writer = await stack.enter_async_context(_connected(path))
                await writer.execute_fetchall(_PRAGMAS[0])  # others may have it open
                await allow_shrinking(writer, path)
                for statement in (*_PRAGMAS, *_WRITER_OPENS, *_EPOCH):
                    await writer.execute_fetchall(statement)
                reader = await stack.enter_async_context(_connected(path))
                for pragma in (*_PRAGMAS, "PRAGMA query_only=ON"):
                    await reader.execute_fetchall(pragma)
                rows = await reader.execute_fetchall("SELECT epoch FROM database_epoch")
            except sqlite3.Error as exc:
                raise StoreError(f"database {str(path)!r}: {exc}") from exc
            database = cls(path, writer, reader, next(iter(rows))[0])
            async with anyio.create_task_group() as group:
                group.start_soon(database._commit_groups, name="database writer")
                group.start_soon(database.free_pages.keep_few, name="free pages")
                try:
                    yield database
                finally:
                    with anyio.CancelScope(shield=True):
                        await database.wait_committed()
                    database._closing = True
                    database._wake.set()
                    group.cancel_scope.cancel()  # the writer is shielded, and ends

    async def migrate(self, owner: str, folder: Traversable) -> None:
        """Bring the tables of *owner* up to date.

        Args:
            owner: name of the plugin whose tables these are.
            folder: holds ``0001_*.sql``, ``0002_*.sql`` and so on.

        Raises:
            StoreError: the database is newer than the program, or a step failed.
        """
        steps = sorted(
            (entry for entry in folder.iterdir() if entry.name.endswith(".sql")),
            key=lambda entry: entry.name,
        )
        try:
            await self._writer.execute_fetchall(
                "CREATE TABLE IF NOT EXISTS schema_version "
                "(owner TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT"
            )
            rows = await self._writer.execute_fetchall(
                "SELECT version FROM schema_version WHERE owner = ?", (owner,)
            )
            present = next(iter(rows))[0] if rows else 0
            if present > len(steps):
                raise StoreError(
                    f"database {str(self.path)!r} has version {present} of the "
                    f"tables of {owner!r}, this program knows {len(steps)}; install "
                    "a newer one"
                )
            quoted = owner.replace("'", "''")
            for number, step in enumerate(steps[present:], present + 1):
                await self._writer.executescript(
                    f"BEGIN IMMEDIATE;\n{step.read_text(encoding='utf-8')}\n"  # noqa: S608 - both are ours
                    "INSERT OR REPLACE INTO schema_version "
                    f"VALUES ('{quoted}', {number});\nCOMMIT;"
                )
        except sqlite3.Error as exc:
            await self._roll_back()
            raise StoreError(f"database {str(self.path)!r}: {exc}") from exc

    def write(
        self,
        statements: Sequence[Statement],
        done: Done | None = None,
        appends: Sequence[Rows] = (),
    ) -> None:
        """Queue statements that are committed together; does not wait.

        Args:
            statements: SQL and parameters, not changed afterwards.
            done: called in the loop after the commit, in the order of the calls,
                with None or with the reason why nothing of it was written.
            appends: rows for the same transaction, which no statement of others
                depends on. They follow all statements, those of many writes with the
                same SQL together.
        """
        if not self._queue:  # else the writer has been told, or is about to look
            self._idle.clear()
            self._wake.set()
        self._queue.append(Write(statements, done, appends))

    async def execute(self, *statements: Statement) -> None:
        """Write statements together and wait for the commit.

        Not undone by cancelling: the statements are then still written.

        Raises:
            StoreError: nothing of it was written.
            sqlite3.IntegrityError: it breaks a rule of a table.
        """
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(exc: StoreError | sqlite3.IntegrityError | None) -> None:
            if outcome.done():
                return
            if exc is None:
                outcome.set_result(None)
            else:
                outcome.set_exception(exc)

        self.write(statements, done)
        await outcome

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one SELECT on the read connection.

        Raises:
            StoreError: the database cannot be read.
        """
        return await self.read_as(list, sql, parameters)

    async def read_as(
        self, make: Callable[[list[Row]], T], sql: str, parameters: Sequence[Any] = ()
    ) -> T:
        """Run one SELECT, and make something of its rows in the same trip.

        Args:
            make: called in the thread of the read connection; others wait for it.
            sql: the SELECT.
            parameters: for its placeholders.

        Raises:
            StoreError: the database cannot be read.
            Exception: what *make* raises.
        """
        reader = self._reader
        try:
            trip = reader._execute(_fetch, reader._conn, make, sql, parameters)  # type: ignore[no-untyped-call]  # aiosqlite's own way
            found: T = await trip
        except sqlite3.Error as exc:
            raise StoreError(f"database {str(self.path)!r}: {exc}") from exc
        return found

    async def read_together(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run several SELECTs that see the database at one moment.

        Args:
            work: called with the read connection in its thread; others wait for it.

        Raises:
            StoreError: the database cannot be read.
            Exception: what *work* raises.
        """
        reader = self._reader
        try:
            trip = reader._execute(_work, reader._conn, work)  # type: ignore[no-untyped-call]  # aiosqlite's own way
            found: T = await trip
        except sqlite3.Error as exc:
            raise StoreError(f"database {str(self.path)!r}: {exc}") from exc
        return found

    async def wait_committed(self) -> None:
        """Wait until everything queued so far is committed or refused."""
        await self._idle.wait()

    async def _commit_groups(self) -> None:
        # Shielded: a cancelled server still waits for what is queued, so this task has
        # to outlive the cancellation. `open` ends it.
        with anyio.CancelScope(shield=True):
            while not self._closing or self._queue:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    group = self._queue[:MAX_GROUP]
                    del self._queue[:MAX_GROUP]
                    await self._commit(group)
                self._idle.set()
                await self._give_slices()

    async def _count_pages(self) -> tuple[int, int, int]:
        counts = []
        for name in ("page_count", "freelist_count", "page_size"):
            ((number,),) = await self._reader.execute_fetchall(f"PRAGMA {name}")
            counts.append(number)
        return counts[0], counts[1], counts[2]

    async def _give_back(self) -> None:
        """Give some free pages back, once nothing else is to be written."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._slices.append(done)
        self._wake.set()
        await done

    async def _give_slices(self) -> None:
        for done in self._slices:
            error = None
            try:
                await self._writer.execute_fetchall(SLICE)
            except sqlite3.Error as exc:
                error = exc
            if done.done():
                continue  # nobody waits any more
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        self._slices.clear()

    async def _commit(self, group: list[Write]) -> None:
        """Commit a group as one transaction; apart, when one of them breaks it."""
        began = time.perf_counter()
        try:
            await self._transaction(group)
        except (sqlite3.Error, ValueError, OverflowError) as exc:
            # sqlite3 lets out the last two for a lone surrogate and a large integer.
            busy = getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
            if len(group) > 1 and not busy:  # apart, each would wait BUSY_SECONDS
                for write in group:
                    await self._commit([write])
                return
            reason: StoreError | sqlite3.IntegrityError = (
                exc
                if isinstance(exc, sqlite3.IntegrityError)
                else StoreError(f"database {str(self.path)!r}: {exc}")
            )
            logger.log(logging.DEBUG if reason is exc else logging.ERROR, "%s", reason)
            await _report(group, reason)
        else:
            self.commits.observe(time.perf_counter() - began)
            self.groups.observe(len(group))
            await _report(group, None)

    async def _transaction(self, group: list[Write]) -> None:
        # All of it in one trip to the writer's thread: each costs two context switches.
        connection = self._writer._conn
        await self._writer._execute(_transact, connection, _runs(group))  # type: ignore[no-untyped-call]  # aiosqlite's own way

    async def _roll_back(self) -> None:
        if self._writer.in_transaction:
            await self._writer.execute_fetchall("ROLLBACK")


@contextlib.asynccontextmanager
async def _connected(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """Connect, and close even when cancelled: its thread would outlive the loop."""
    with contextlib.suppress(OSError):  # SQLite names what is wrong with the place
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = aiosqlite.connect(path, isolation_level=None)
    with anyio.CancelScope(shield=True):
        try:
            await connection
        except sqlite3.Error:
            # aiosqlite has told its thread to end, but nobody waits for it (0.22.1).
            connection._thread.join()
            raise
    try:
        yield connection
    finally:
        with anyio.CancelScope(shield=True):
            await connection.close()


def _runs(group: list[Write]) -> list[tuple[str, list[Sequence[Any]]]]:
    """Join neighbouring statements with the same SQL: one call into SQLite each."""
    runs: list[tuple[str, list[Sequence[Any]]]] = []
    appends: dict[str, list[Sequence[Any]]] = {}
    last, rows = "", list[Sequence[Any]]()
    for write in group:
        for sql, parameters in write.statements:
            if sql != last:
                last, rows = sql, []
                runs.append((sql, rows))
            rows.append(parameters)
        for sql, more in write.appends:
            kept = appends.get(sql)
            if kept is None:
                kept = appends[sql] = []
            kept += more
    runs.extend(appends.items())
    return runs


def _fetch(
    connection: sqlite3.Connection,
    make: Callable[[list[Row]], T],
    sql: str,
    parameters: Sequence[Any],
) -> T:
    """Read, and make something of the rows; in the reader's thread."""
    return make(connection.execute(sql, parameters).fetchall())


def _work(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Read several times in one transaction; in the reader's thread."""
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        connection.execute("ROLLBACK")


def _transact(
    connection: sqlite3.Connection, runs: list[tuple[str, list[Sequence[Any]]]]
) -> None:
    """Write runs of statements as one transaction; in the writer's thread."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for sql, rows in runs:
            if isinstance(sql, Bulk):
                sql.run(connection, rows)
            else:
                connection.executemany(sql, rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


async def _report(
    group: list[Write], reason: StoreError | sqlite3.IntegrityError | None
) -> None:
    """Call the listeners in order; others have their turn every now and then."""
    until = time.perf_counter() + SLICE_SECONDS
    for write in group:
        done = write.done
        if done is None:
            continue
        if time.perf_counter() > until:
            await anyio.lowlevel.checkpoint()
            until = time.perf_counter() + SLICE_SECONDS
        try:
            done(reason)
        except Exception:
            logger.exception("a listener of the database writer failed")


def renew_epoch(path: Path) -> str:
    """Give the database in a file another epoch, once a backup was restored to it.

    Clients then learn that their positions are those of another past. No server may
    have the file open.

    Returns:
        The new epoch.

    Raises:
        StoreError: it cannot be written, or no server has ever opened it.
    """
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(_RENEW)
            found = connection.execute("SELECT epoch FROM database_epoch").fetchone()
    except sqlite3.Error as exc:
        raise StoreError(f"database {str(path)!r}: {exc}") from exc
    return str(found[0])
