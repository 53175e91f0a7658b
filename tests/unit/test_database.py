"""The embedded database: group commit, migrations, and disks that fail."""

import contextlib
import logging
import os
import resource
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from middlewared.database import MAX_GROUP, Database, Statement, renew_epoch
from middlewared.errors import StoreError
from middlewared.inserts import Insert

TABLE = "CREATE TABLE t (x INTEGER PRIMARY KEY, text TEXT NOT NULL DEFAULT '') STRICT"
INSERT = "INSERT INTO t (x) VALUES (?)"
APPEND = Insert("t", ("x", "text"))
FILL = "INSERT INTO t (text) VALUES (?)"

Outcome = StoreError | sqlite3.IntegrityError | None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database.open(path) as database:
        await database.execute((TABLE, ()))
        yield database


def rows(path: Path) -> list[int]:
    """Read the file the way a stranger would."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY x")]


def break_pages(path: Path) -> None:
    """Spoil every page but those that are read when the file is opened."""
    content = bytearray(path.read_bytes())
    content[3 * 4096 :] = b"\xff" * (len(content) - 3 * 4096)
    path.write_bytes(content)


async def traced(database: Database) -> list[str]:
    """Note what the writer runs from now on."""
    statements: list[str] = []
    await database._writer.set_trace_callback(statements.append)
    return statements


class TestOpen:
    """Opening and closing the file."""

    async def test_power_cuts_are_survived(self, database: Database) -> None:
        """Every commit is on the disk before it is reported."""
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):
            (found,) = await database._writer.execute_fetchall(f"PRAGMA {pragma}")
            assert tuple(found) == (value,)

    async def test_reader_cannot_write(self, database: Database) -> None:
        """Whatever runs on the read connection changes nothing."""
        with pytest.raises(StoreError, match="attempt to write a readonly database"):
            await database.read("INSERT INTO t VALUES (1, '')")

    async def test_rows_become_something_else_on_the_way(
        self, database: Database
    ) -> None:
        """What is made of rows is made in the reader's thread; its errors come out."""
        await database.execute((INSERT, (5,)), (INSERT, (6,)))

        def total(found: list[tuple[Any, ...]]) -> tuple[int, str]:
            name = threading.current_thread().name
            return sum(x for (x,) in found), name

        value, thread = await database.read_as(
            total, "SELECT x FROM t WHERE x > ?", [4]
        )
        assert value == 11
        assert thread != threading.current_thread().name
        with pytest.raises(ZeroDivisionError):
            await database.read_as(
                lambda found: 1 // len(found), "SELECT x FROM t LIMIT 0"
            )
        with pytest.raises(StoreError):
            await database.read_as(len, "SELECT nothing FROM t")

    async def test_reads_together_see_one_moment(self, database: Database) -> None:
        """What is written between two of them shows in neither."""
        await database.execute((INSERT, (1,)))
        begun, written = threading.Event(), threading.Event()
        counts: list[int] = []

        def count(connection: sqlite3.Connection) -> None:
            counts.extend(connection.execute("SELECT count(*) FROM t").fetchone())
            begun.set()
            assert written.wait(10)
            counts.extend(connection.execute("SELECT count(*) FROM t").fetchone())

        async with anyio.create_task_group() as group:
            group.start_soon(database.read_together, count)
            await anyio.to_thread.run_sync(begun.wait, 10)
            await database.execute((INSERT, (2,)))
            written.set()
        assert counts == [1, 1]
        assert await database.read("SELECT count(*) FROM t") == [(2,)]
        with pytest.raises(ZeroDivisionError):
            await database.read_together(lambda _: 1 // 0)
        with pytest.raises(StoreError):
            await database.read_together(lambda c: c.execute("SELECT nothing FROM t"))
        assert await database.read("SELECT count(*) FROM t") == [(2,)]

    async def test_epoch_names_the_database(self, path: Path, tmp_path: Path) -> None:
        """It stays over starts, and no other database has it."""
        epochs = []
        for file in (path, path, tmp_path / "other.db"):
            async with Database.open(file) as database:
                epochs.append(database.epoch)
        assert epochs[0] == epochs[1] != epochs[2]
        assert len(epochs[0]) == 16

    async def test_epoch_is_renewed_for_a_restored_backup(self, path: Path) -> None:
        """Clients that knew the file before it was restored have to start over."""
        async with Database.open(path) as database:
            before = database.epoch
        renewed = renew_epoch(path)
        async with Database.open(path) as database:
            assert database.epoch == renewed != before
        with pytest.raises(StoreError, match="unable to open"):
            renew_epoch(path / "nowhere")
        await anyio.Path(path).write_bytes(b"no database at all" * 100)
        with pytest.raises(StoreError, match="not a database"):
            renew_epoch(path)

    async def test_content_stays(self, path: Path) -> None:
        """What was written is there after the next start."""
        async with Database.open(path) as database:
            await database.execute((TABLE, ()), (INSERT, (1,)))
        async with Database.open(path) as database:
            assert await database.read("SELECT x FROM t") == [(1,)]

    async def test_file_that_is_no_database(self, path: Path) -> None:
        """Rubbish is one clear sentence that names the file."""
        path.write_bytes(b"no database " * 1000)  # noqa: ASYNC240 - before it starts
        with pytest.raises(
            StoreError, match=f"^database '{path}': .*is not a database"
        ):
            async with Database.open(path):
                pass

    async def test_folder_in_its_place(self, tmp_path: Path) -> None:
        """What cannot be opened is one clear sentence that names the file."""
        with pytest.raises(StoreError, match=f"^database '{tmp_path}': unable to open"):
            async with Database.open(tmp_path):
                pass

    async def test_broken_file(self, path: Path) -> None:
        """A file with broken pages fails where they are read, with one sentence."""
        async with Database.open(path) as database:
            await database.execute((TABLE, ()), *[(FILL, ("x" * 5000,))] * 50)
        break_pages(path)
        async with Database.open(path) as database:
            with pytest.raises(StoreError, match="malformed"):
                await database.read("SELECT sum(length(text)) FROM t")

    async def test_what_is_queued_is_written_before_it_closes(self, path: Path) -> None:
        """Leaving the block waits for every write."""
        async with Database.open(path) as database:
            database.write([(TABLE, ())])
            for number in range(1000):
                database.write([(INSERT, (number,))])
        assert rows(path) == list(range(1000))

    async def test_cancelled_server_writes_what_is_queued(self, path: Path) -> None:
        """A cancellation reaches the writer too; it ends only when all is written."""
        with anyio.fail_after(10), anyio.CancelScope() as scope:
            async with Database.open(path) as database:
                database.write([(TABLE, ()), (INSERT, (1,))])
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert rows(path) == [1]

    async def test_failing_server_writes_what_is_queued(self, path: Path) -> None:
        """An error in the block is passed on after the last write."""

        async def failing_server() -> None:
            async with Database.open(path) as database:
                database.write([(TABLE, ()), (INSERT, (1,))])
                raise KeyError("x")

        with pytest.raises(ExceptionGroup) as caught:
            await failing_server()
        assert caught.group_contains(KeyError)
        assert rows(path) == [1]


class TestWrite:
    """Writes are committed in groups, in order."""

    async def test_execute_is_durable_when_it_returns(
        self, database: Database, path: Path
    ) -> None:
        """Another program sees it at once."""
        await database.execute((INSERT, (1,)), (INSERT, (2,)))
        assert rows(path) == [1, 2]
        assert await database.read("SELECT x FROM t WHERE x > ?", (1,)) == [(2,)]

    async def test_one_transaction_for_all_that_is_queued(
        self, database: Database
    ) -> None:
        """A hundred writes of one tick cost one commit, and one call per statement."""
        statements = await traced(database)
        for number in range(100):
            database.write([(INSERT, (number,))])
        await database.wait_committed()
        assert statements[0] == "BEGIN IMMEDIATE"
        assert statements[-1] == "COMMIT"
        assert len(statements) == 102

    async def test_commits_are_counted(self, database: Database) -> None:
        """Each with its time and with the writes in it; refused ones are not."""
        before = sum(database.commits.counts)
        for number in range(3):
            database.write([(INSERT, (number,))])
        await database.wait_committed()
        database.write([("INSERT INTO nowhere VALUES (1)", ())])
        await database.wait_committed()
        assert sum(database.commits.counts) == before + 1
        assert database.groups.counts[2] == 1
        assert 0 < database.commits.total < 60

    async def test_group_has_a_limit(self, database: Database) -> None:
        """A flood is committed in several groups, so that the first ones know soon."""
        statements = await traced(database)
        for number in range(MAX_GROUP + 1):
            database.write([(INSERT, (number,))])
        await database.wait_committed()
        assert statements.count("COMMIT") == 2

    async def test_callbacks_come_in_order_after_the_commit(
        self, database: Database, path: Path
    ) -> None:
        """Each is told once, in the order of the writes, when it is on the disk."""
        told: list[tuple[int, Outcome, int]] = []

        def listener(number: int) -> Callable[[Outcome], None]:
            return lambda outcome: told.append((number, outcome, len(rows(path))))

        for number in range(5):
            database.write([(INSERT, (number,))], listener(number))
        await database.wait_committed()
        assert told == [(number, None, 5) for number in range(5)]

    async def test_writes_of_a_callback(self, database: Database, path: Path) -> None:
        """A listener may queue the next write, which is waited for as well."""
        database.write([(INSERT, (1,))], lambda _: database.write([(INSERT, (2,))]))
        await database.wait_committed()
        assert rows(path) == [1, 2]

    async def test_failing_listener(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, the others are told, and the writer goes on."""
        told: list[Outcome] = []

        def fails(outcome: Outcome) -> None:
            raise RuntimeError("listener")

        database.write([(INSERT, (1,))], fails)
        database.write([(INSERT, (2,))], told.append)
        await database.wait_committed()
        assert told == [None]
        assert "a listener of the database writer failed" in caplog.text

    async def test_different_statements_keep_their_order(
        self, database: Database, path: Path
    ) -> None:
        """Joining equal statements never moves one past a different one."""
        delete = "DELETE FROM t WHERE x = ?"
        for statement, number in (
            (INSERT, 1),
            (INSERT, 2),
            (delete, 1),
            (INSERT, 1),
            (delete, 2),
            (delete, 3),
            (INSERT, 3),
        ):
            database.write([(statement, (number,))])
        await database.wait_committed()
        assert rows(path) == [1, 3]

    async def test_appends_are_joined_and_follow(
        self, database: Database, path: Path
    ) -> None:
        """Rows that nobody looks at are one call for all writes of a group."""
        statements = await traced(database)
        for number in range(4):
            done = [(INSERT, (number,))]
            database.write(done, appends=[(APPEND, [(10 + number, "a")])])
        await database.wait_committed()
        assert rows(path) == [0, 1, 2, 3, 10, 11, 12, 13]
        inserted = [line for line in statements if line.strip().startswith("INSERT")]
        assert [line.count("'a'") for line in inserted] == [0] * 4 + [4]

    async def test_append_belongs_to_its_write(
        self, database: Database, path: Path
    ) -> None:
        """Both are written, or neither."""
        outcomes: list[Outcome] = []
        await database.execute((INSERT, (1,)))
        database.write(
            [(INSERT, (1,))], outcomes.append, appends=[(APPEND, [(5, "a")])]
        )
        database.write(
            [(INSERT, (2,))], outcomes.append, appends=[(APPEND, [(6, "a")])]
        )
        database.write(
            [(INSERT, (3,))], outcomes.append, appends=[(APPEND, [(1, "a")])]
        )
        await database.wait_committed()
        assert [outcome is None for outcome in outcomes] == [False, True, False]
        assert rows(path) == [1, 2, 6]

    async def test_cancelled_execute_is_still_written(
        self, database: Database, path: Path
    ) -> None:
        """Whoever stopped waiting changed nothing about the write."""
        with anyio.move_on_after(0) as scope:
            await database.execute((INSERT, (1,)))
        assert scope.cancelled_caught
        await database.wait_committed()
        assert rows(path) == [1]

    async def test_nothing_queued(self, database: Database) -> None:
        """Waiting for nothing returns at once."""
        await database.wait_committed()


BAD: list[tuple[Statement, type[Exception], str]] = [
    ((INSERT, (1,)), sqlite3.IntegrityError, "UNIQUE constraint failed"),
    (("INSERT INTO t VALUES (5, NULL)", ()), sqlite3.IntegrityError, "NOT NULL"),
    (("INSERT INTO t VALUES (5, 'a', 'b')", ()), StoreError, "has 2 columns"),
    (("NO SQL", ()), StoreError, "syntax error"),
    ((INSERT, ()), StoreError, "Incorrect number of bindings"),
    ((INSERT, (object(),)), StoreError, "type 'object' is not supported"),
    ((INSERT, (2**63,)), StoreError, "too large to convert"),
    ((FILL, ("\udcff",)), StoreError, "surrogates not allowed"),
]


class TestBadWrite:
    """A write that fails is undone, alone, and told why."""

    @pytest.mark.parametrize(
        ("statement", "kind", "text"), BAD, ids=lambda v: str(v)[:40]
    )
    async def test_reason(
        self, database: Database, statement: Statement, kind: type[Exception], text: str
    ) -> None:
        """A broken rule of a table is an IntegrityError, the rest a StoreError."""
        await database.execute((INSERT, (1,)))
        with pytest.raises(kind, match=text):
            await database.execute(statement)
        await database.execute((INSERT, (2,)))

    @pytest.mark.parametrize(
        "bad", [bad for bad, _, _ in BAD], ids=lambda v: str(v)[:40]
    )
    async def test_others_of_its_group_are_written(
        self, database: Database, path: Path, bad: Statement
    ) -> None:
        """One of many that are queued together breaks none of the others."""
        await database.execute((INSERT, (1,)))
        told: list[tuple[int, bool]] = []

        def listener(number: int) -> Callable[[Outcome], None]:
            return lambda outcome: told.append((number, outcome is None))

        for number in range(10, 20):
            database.write(
                [bad] if number == 14 else [(INSERT, (number,))], listener(number)
            )
        await database.wait_committed()
        assert rows(path) == [1, 10, 11, 12, 13, 15, 16, 17, 18, 19]
        assert told == [(number, number != 14) for number in range(10, 20)]

    async def test_all_statements_of_a_write_or_none(
        self, database: Database, path: Path
    ) -> None:
        """What came before the bad statement of the same write is undone."""
        with pytest.raises(sqlite3.IntegrityError):
            await database.execute((INSERT, (1,)), (INSERT, (2,)), (INSERT, (1,)))
        assert rows(path) == []

    async def test_refused_rows_are_no_news(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Only what is wrong with the database is logged as an error."""
        caplog.set_level(logging.INFO)
        await database.execute((INSERT, (1,)))
        with pytest.raises(sqlite3.IntegrityError):
            await database.execute((INSERT, (1,)))
        assert not caplog.records
        with pytest.raises(StoreError):
            await database.execute(("NO SQL", ()))
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


@contextlib.contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let no file grow over *size* bytes: writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def unprivileged() -> Iterator[Path]:
    """Have permissions checked, for root too; give a folder where they count."""
    with tempfile.TemporaryDirectory(prefix="mw-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        uid = os.geteuid()
        if uid == 0:
            os.chown(folder, 65534, -1)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(uid)
            folder.chmod(0o755)


class TestDisk:
    """A disk that fails costs what is written now, and nothing acknowledged."""

    async def test_full(self, database: Database, path: Path) -> None:
        """The reason is the disk's; with room again the next write passes."""
        await database.execute((INSERT, (1,)))
        await database._writer.execute_fetchall("PRAGMA max_page_count=4")
        with pytest.raises(StoreError, match=f"^database '{path}': .*disk is full"):
            await database.execute((FILL, ("x" * 100_000,)))
        assert rows(path) == [1]
        await database._writer.execute_fetchall("PRAGMA max_page_count=100000")
        await database.execute((FILL, ("x" * 100_000,)))
        assert len(rows(path)) == 2

    async def test_full_for_one_of_a_group(
        self, database: Database, path: Path
    ) -> None:
        """A small write passes where a large one does not."""
        await database._writer.execute_fetchall("PRAGMA max_page_count=4")
        told: list[Outcome] = []
        for statement in ((INSERT, (1,)), (FILL, ("x" * 100_000,)), (INSERT, (3,))):
            database.write([statement], told.append)
        await database.wait_committed()
        assert [type(outcome) for outcome in told] == [
            type(None),
            StoreError,
            type(None),
        ]
        assert rows(path) == [1, 3]

    async def test_system_refuses_to_write(
        self, database: Database, path: Path
    ) -> None:
        """What the system says in the middle of a write is told, and undone."""
        await database.execute((INSERT, (1,)))
        size = path.with_name("test.db-wal").stat().st_size
        with file_limit(size + 8192):
            for _ in range(2):
                with pytest.raises(StoreError, match=r"disk I/O error|is full"):
                    await database.execute((FILL, ("x" * 1_000_000,)))
        assert await database.read("SELECT x FROM t") == [(1,)]
        await database.execute((INSERT, (2,)))
        assert rows(path) == [1, 2]

    async def test_read_only_while_running(
        self, database: Database, path: Path
    ) -> None:
        """A disk that turned read-only can still be read."""
        await database.execute((INSERT, (1,)))
        await database._writer.execute_fetchall("PRAGMA query_only=ON")
        with pytest.raises(StoreError, match="attempt to write a readonly database"):
            await database.execute((INSERT, (2,)))
        assert await database.read("SELECT x FROM t") == [(1,)]

    @pytest.mark.parametrize("folder_mode", [0o755, 0o555])
    async def test_read_only_at_the_start(self, folder_mode: int) -> None:
        """A database that cannot be written is refused when it is opened."""
        with unprivileged() as folder:
            path = folder / "test.db"
            async with Database.open(path) as database:
                await database.execute((TABLE, ()))
            path.chmod(0o444)
            folder.chmod(folder_mode)
            with pytest.raises(StoreError, match=f"^database '{path}': .*readonly"):
                async with Database.open(path):
                    pass

    async def test_folder_that_may_not_be_written(self) -> None:
        """A database that cannot be made is refused when it is opened."""
        with unprivileged() as folder:
            folder.chmod(0o555)
            with pytest.raises(StoreError, match="unable to open database file"):
                async with Database.open(folder / "test.db"):
                    pass

    async def test_other_program_holds_the_lock(
        self, database: Database, path: Path
    ) -> None:
        """The group waits once, not once for each of its writes; then it is told."""
        await database._writer.execute_fetchall("PRAGMA busy_timeout=20")
        statements = await traced(database)
        told: list[Any] = []
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in range(50):
                database.write([(INSERT, (number,))], told.append)
            await database.wait_committed()
            other.rollback()
        assert [str(reason) for reason in told] == [
            f"database '{path}': database is locked"
        ] * 50
        assert statements.count("BEGIN IMMEDIATE") == 1
        await database.execute((INSERT, (1,)))


def steps(tmp_path: Path, *texts: str) -> Path:
    folder = tmp_path / f"steps-{len(texts)}"
    folder.mkdir()
    for number, text in enumerate(texts, 1):
        (folder / f"{number:04}_step.sql").write_text(text)
    (folder / "README.md").write_text("no step")
    return folder


FIRST = "CREATE TABLE a (x INTEGER) STRICT;\nINSERT INTO a VALUES (1); -- done"
SECOND = "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 7;"
BROKEN = "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1);"


class TestMigrations:
    """Tables are brought up to date step by step."""

    async def test_steps_run_once_and_in_order(
        self, database: Database, tmp_path: Path
    ) -> None:
        """A new database runs all of them, a second start none."""
        folder = steps(tmp_path, FIRST, SECOND)
        await database.migrate("pool", folder)
        await database.migrate("pool", folder)
        assert await database.read("SELECT * FROM a") == [(1, 7)]

    async def test_newer_program(self, path: Path, tmp_path: Path) -> None:
        """An older database runs what is missing and keeps its rows."""
        async with Database.open(path) as database:
            await database.migrate("pool", steps(tmp_path, FIRST))
            await database.execute(("INSERT INTO a VALUES (2)", ()))
        async with Database.open(path) as database:
            await database.migrate("pool", steps(tmp_path, FIRST, SECOND))
            assert await database.read("SELECT * FROM a") == [(1, 7), (2, 7)]

    async def test_older_program_is_refused(
        self, database: Database, tmp_path: Path
    ) -> None:
        """It says which tables, both versions, and what to do; nothing is touched."""
        await database.migrate("pool", steps(tmp_path, FIRST, SECOND))
        with pytest.raises(StoreError) as caught:
            await database.migrate("pool", steps(tmp_path, FIRST))
        assert str(caught.value) == (
            f"database '{database.path}' has version 2 of the tables of 'pool', "
            "this program knows 1; install a newer one"
        )
        assert await database.read("SELECT * FROM a") == [(1, 7)]

    async def test_plugins_have_versions_of_their_own(
        self, database: Database, tmp_path: Path
    ) -> None:
        """One plugin's steps do not count for another."""
        await database.migrate("pool", steps(tmp_path, FIRST, SECOND))
        other = tmp_path / "other"
        other.mkdir()
        (other / "0001_b.sql").write_text("CREATE TABLE b (x INTEGER) STRICT;")
        await database.migrate("disk", other)
        versions = await database.read(
            "SELECT owner, version FROM schema_version ORDER BY owner"
        )
        assert versions == [("disk", 1), ("pool", 2)]

    async def test_failing_step_is_undone(
        self, database: Database, tmp_path: Path
    ) -> None:
        """Steps before it stay, nothing of it does, and the database can be used."""
        with pytest.raises(StoreError, match="no such table: nowhere"):
            await database.migrate("pool", steps(tmp_path, FIRST, BROKEN))
        tables = await database.read("SELECT name FROM sqlite_schema WHERE name = 'b'")
        assert tables == []
        await database.execute((INSERT, (1,)))
        await database.migrate("pool", steps(tmp_path, FIRST, SECOND, ""))
        assert await database.read("SELECT * FROM a") == [(1, 7)]

    async def test_name_with_a_quote(self, database: Database, tmp_path: Path) -> None:
        """A plugin's name is a value like any other."""
        folder = steps(tmp_path, FIRST)
        await database.migrate("o'brien", folder)
        await database.migrate("o'brien", folder)
        assert await database.read("SELECT * FROM schema_version") == [("o'brien", 1)]
