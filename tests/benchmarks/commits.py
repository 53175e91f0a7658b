"""How the sketch of row 4 writes: jobs, and a thread that commits their rows."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from middlewared import Audience
from middlewared.database import MAX_GROUP
from middlewared.inserts import Insert
from middlewared_jobs.notes import Exit
from middlewared_jobs.packs import PACK
from middlewared_jobs.record import CoreGetJobsItem
from middlewared_jobs.spec import Kind
from middlewared_jobs.store import Move

__all__ = ["COLUMNS", "Job", "Row", "Write", "Writer"]

PLUGINS = Path(__file__).parents[2] / "plugins"
#: The columns of a new job that are not NULL, in order.
COLUMNS = (
    "id", "uid", "method", "message_ids", "arguments", "abortable", "progress",
    "result", "result_encoding_error", "exc_info", "state", "time_created",
    "time_started", "credentials", "attempt", "abort", "params", "phase", "exit",
    "instance", "is_restart", "priority", "time_modified", "node",
)  # fmt: skip
INSERT = Insert("jobs", COLUMNS)
END = (
    "UPDATE jobs SET state = 'SUCCESS', phase = 'finished', params = NULL, "
    'progress = \'{"percent":100,"description":"","extra":null}\', '
    'exit = \'{"kind":"COMPLETED","code":"OK","message":null}\', '
    "result = ?1, time_finished = ?2, time_modified = ?2 WHERE id = ?3"
)
Row = tuple[Any, ...]


class Job(msgspec.Struct, eq=False):
    """A job from its request to its end.

    Attributes:
        id: its number.
        item: what is told of it.
        caller: who asked for it.
        number: id of the call.
        answer: what is sent once its first row is committed.
        created: when it was accepted, milliseconds.
        method: its method; this and all that follows is for the promises.
        spec: how its method declares it.
        values: its params.
        lock: jobs with the same one run one at a time.
        limits: keys that it counts against.
        kind: where its body runs.
        priority: those with a higher one go first.
        audience: who may see it.
        scope: cancels its body.
        seen: what its body sees.
        aborted: who aborted it.
        exit: how it comes out, as its body chose.
        waiters: called once its end is committed.
    """

    id: int
    item: CoreGetJobsItem
    caller: Any
    number: bytes
    answer: bytes
    created: int
    method: Any = None
    spec: Any = None
    values: Sequence[Any] = ()
    lock: str | None = None
    limits: tuple[tuple[str, int], ...] = ()
    kind: Kind = Kind.LOOP
    priority: int = 0
    audience: Audience | None = None
    scope: Any = None
    seen: Any = None
    aborted: str | None = None
    exit: Exit | None = None
    waiters: tuple[Callable[[], None], ...] = ()


class Write(msgspec.Struct, eq=False):
    """What is to be committed of a job, and what follows the commit.

    Attributes:
        then: called in the loop.
        job: the job.
        new: its first row.
        end: what its end changes.
        audit: its entry in the audit log.
        other: another statement, and its values.
        failure: why it could not be written.
        moves: what is kept, in packs.
        told: what is published.
    """

    then: Callable[["Write"], None]
    job: Job
    new: Row | None = None
    end: Row | None = None
    audit: Row | None = None
    other: tuple[str, Row] | None = None
    failure: sqlite3.Error | None = None
    moves: list[Move] = []
    told: list[Any] = []


class Writer:
    """A thread that commits what was queued while it committed.

    Args:
        path: the database, made here.
        sketch: whose jobs they are.

    Attributes:
        tables: plugins whose tables it makes.
        first: writes the first rows of most jobs.
        last: writes the ends of most jobs.
    """

    tables: tuple[str, ...] = ("jobs",)
    first: Insert = INSERT
    last: str = END

    def __init__(self, path: Path, sketch: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.sketch = sketch
        self._pending: list[Write] = []
        self._busy = False
        self._groups = queue.SimpleQueue[list[Write] | None]()
        self._database = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16384"):
            self._database.execute(f"PRAGMA {pragma}")
        for step in self._steps():
            self._database.executescript(step.read_text(encoding="utf-8"))
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _steps(self) -> Iterable[Path]:
        for name in self.tables:
            folder = PLUGINS / f"middlewared_{name}" / "migrations"
            yield from sorted(folder.glob("*.sql"))

    def put(self, write: Write) -> None:
        """Queue something."""
        self._pending.append(write)
        if not self._busy:
            self._busy = True
            self.loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        group = self._pending[:MAX_GROUP]
        del self._pending[:MAX_GROUP]
        self._groups.put(group)

    def _committed(self, group: list[Write]) -> None:
        self._busy = bool(self._pending)
        if self._busy:
            self._hand_over()
        self.report(group)
        self.sketch.flush()

    def report(self, group: list[Write]) -> None:
        """Go on with what is committed."""
        for write in group:
            write.then(write)

    def _work(self) -> None:
        database = self._database
        while group := self._groups.get():
            self.transact(database, group)
            self.loop.call_soon_threadsafe(self._committed, group)

    def transact(self, database: sqlite3.Connection, group: list[Write]) -> None:
        """Write a group as one transaction; in the thread."""
        database.execute("BEGIN IMMEDIATE")
        self.insert(database, group)
        database.execute("COMMIT")

    def insert(self, database: sqlite3.Connection, group: list[Write]) -> None:
        """Write the rows of a group; in the thread."""
        self.first.run(database, [one.new for one in group if one.new is not None])
        for write in group:
            if write.other is not None:
                database.execute(*write.other)
        ends = [one.end for one in group if one.end is not None]
        database.executemany(self.last, ends)
        PACK.run(database, list(chain.from_iterable([one.moves for one in group])))

    def close(self) -> None:
        """End the thread."""
        self._groups.put(None)
        self._thread.join()
        self._database.close()
