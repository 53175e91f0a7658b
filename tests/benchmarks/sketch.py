"""The least that a durable job costs in Python: ``sketch FOLDER`` serves it.

What row 4 promises demands this work, whoever does it: a request is decoded, a row of
as many columns, which says RUNNING as that of ours does when nothing holds it back,
goes into the same tables with the same indexes, commits wait for the disk and are
shared by what came meanwhile, the answer and the events come after the commit, the body
runs in a task, its end is written, and three events are kept. That is all there is: no
locks, rights, limits, queues, secrets, audit, replays, aborts, errors.

Nothing is done twice, and everything in the cheapest way known: the WebSocket is C, a
job is one struct that is changed in place, frames are put together from bytes, rows go
in many at a time by one thread. So it is a limit for what does the same in Python and
SQLite, and no proposal.
"""

import asyncio
import gc
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from middlewared import Date
from middlewared.collector import NEVER, YOUNG
from middlewared.database import MAX_GROUP
from middlewared.frames import text_frame
from middlewared.inserts import Insert
from middlewared_jobs.record import (
    NULL,
    CoreGetJobsItem,
    CoreGetJobsItemCredentials,
    CoreGetJobsItemProgress,
    LoginData,
)
from middlewared_jobs.states import State
from middlewared_jobs.uids import Uids

__all__ = ["Sketch"]

JOBS = Path(__file__).parents[2] / "plugins" / "middlewared_jobs" / "migrations"
#: The columns of a new job, in order.
COLUMNS = (
    "id", "uid", "method", "message_ids", "arguments", "description", "abortable",
    "logs_path", "logs_excerpt", "progress", "result", "result_encoding_error", "error",
    "exception", "exc_info", "state", "time_created", "time_started", "time_finished",
    "credentials", "owner", "attempt", "lock", "abort", "params", "child_pid",
    "child_started", "phase", "exit", "instance", "is_restart", "restart_of", "parent",
    "schedule", "priority", "run_at", "key", "tracking_id", "app_id", "time_modified",
    "node", "details",
)  # fmt: skip
INSERT = Insert("jobs", COLUMNS)
END = (
    "UPDATE jobs SET state = 'SUCCESS', phase = 'finished', progress = ?, result = ?, "
    "exit = ?, time_finished = ?, time_modified = ?, params = NULL WHERE id = ?"
)
KEEP = Insert("job_events", ("seq", "at", "job", "msg", "change", "size"))
AT_FIRST, AT_LAST = CoreGetJobsItemProgress(), CoreGetJobsItemProgress(100)
DONE = '{"kind":"COMPLETED","code":"OK","message":null}'

_encode = msgspec.json.Encoder().encode
_FIRST_TEXT, _LAST_TEXT = _encode(AT_FIRST).decode(), _encode(AT_LAST).decode()
Row = tuple[Any, ...]
Send = Callable[[bytes], None]


class Request(msgspec.Struct):
    """A call."""

    id: msgspec.Raw
    method: str
    params: msgspec.Raw


_decode = msgspec.json.Decoder(Request).decode


class Change(msgspec.Struct, omit_defaults=True):
    """What is kept of an event."""

    message_ids: list[msgspec.Raw]
    time_modified: Date
    state: str | None = None
    time_started: Date | None = None
    attempt: int | None = None
    phase: str | None = None
    node: str | None = None


class Write(msgspec.Struct):
    """What is to be committed of a job, and what follows the commit.

    Attributes:
        done: called in the loop.
        new: its first row.
        end: what its end changes.
        events: what is kept.
    """

    done: Callable[[], None]
    new: Row | None
    end: Row | None
    events: list[Row]


class Writer:
    """A thread that commits what was queued while it committed.

    Args:
        path: the database, made here.
        flush: called in the loop once all of a group are done.
    """

    def __init__(self, path: Path, flush: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._flush = flush
        self._pending: list[Write] = []
        self._busy = False
        self._groups = queue.SimpleQueue[list[Write] | None]()
        self._database = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16384"):
            self._database.execute(f"PRAGMA {pragma}")
        for step in sorted(JOBS.glob("*.sql")):
            self._database.executescript(step.read_text(encoding="utf-8"))
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def put(self, write: Write) -> None:
        """Queue something."""
        self._pending.append(write)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        group = self._pending[:MAX_GROUP]
        del self._pending[:MAX_GROUP]
        self._groups.put(group)

    def _committed(self, group: list[Write]) -> None:
        self._busy = bool(self._pending)
        if self._busy:
            self._hand_over()
        for write in group:
            write.done()
        self._flush()

    def _work(self) -> None:
        database = self._database
        while group := self._groups.get():
            database.execute("BEGIN IMMEDIATE")
            INSERT.run(database, [one.new for one in group if one.new is not None])
            ends = [one.end for one in group if one.end is not None]
            database.executemany(END, ends)
            events = chain.from_iterable(one.events for one in group)
            KEEP.run(database, list(events))
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._committed, group)

    def close(self) -> None:
        """End the thread."""
        self._groups.put(None)
        self._thread.join()
        self._database.close()


class Job(msgspec.Struct):
    """A job from its request to its end.

    Attributes:
        item: what is told of it.
        caller: who asked for it.
        answer: what is sent once its first row is committed.
    """

    item: CoreGetJobsItem
    caller: Send
    answer: bytes


class Sketch:
    """Jobs of clients that are known by what sends to them.

    Args:
        path: the database.
    """

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, self.flush)
        self._loop = asyncio.get_running_loop()
        self._subscribers: list[Send] = []
        self._due: dict[Send, list[bytes]] = {}
        self._tasks = set[asyncio.Task[None]]()
        self._uids = Uids()
        self._last_id = self._last_seq = 0
        self._who = CoreGetJobsItemCredentials(
            "UNIX_SOCKET",
            LoginData("root", "594d3c04-e41d-4826-a260-64c183090dbd", Date(_now())),
        )
        self._who_text = _encode(self._who).decode()

    def take(self, raw: bytes, send: Send) -> None:
        """Take a message of a client."""
        request = _decode(raw)
        if request.method == "core.subscribe":
            self._subscribers.append(send)
            self._send(send, b'{"jsonrpc":"2.0","result":"1","id":%b}' % request.id)
            self.flush()
        else:
            self._accept(request, send)

    def _accept(self, request: Request, send: Send) -> None:
        """Write a job down that runs as soon as that is committed."""
        number = self._last_id = self._last_id + 1
        item = CoreGetJobsItem(
            number, [request.id], request.method, request.params, False, None, False,
            None, None, AT_FIRST, NULL, None, None, None, None, State.WAITING, None,
            None, self._who,
        )  # fmt: skip
        answer = b'{"jsonrpc":"2.0","result":%d,"id":%b}' % (number, request.id)
        job, now = Job(item, send, answer), _now()
        at = Date(now)
        first = Change(item.message_ids, at)
        moves = [self._keep(number, "added", now, _encode(first))]
        added = _frame(b"added", item)
        item.state, item.time_started = State.RUNNING, at
        second = Change(item.message_ids, at, "RUNNING", at, 1, "running", "node")
        moves.append(self._keep(number, "changed", now, _encode(second)))
        ids, asked = str(request.id, "utf-8"), str(request.params, "utf-8")
        row = (
            number, self._uids.take(), request.method, f"[{ids}]", asked, None, False,
            None, None, _FIRST_TEXT, "null", "null", None, None, "null", "RUNNING", now,
            now, None, self._who_text, None, 1, None, "null", bytes(request.params),
            None, None, "running", "null", number, False, None, None, None, 0, None,
            None, None, None, now, "node", None,
        )  # fmt: skip
        frames = (added, _frame(b"changed", item))
        self._writer.put(Write(lambda: self._start(job, frames), row, None, moves))

    def _start(self, job: Job, frames: tuple[bytes, bytes]) -> None:
        """Answer, tell, and begin the body."""
        added, running = frames
        self._publish(added)
        self._send(job.caller, job.answer)
        self._publish(running)
        task = self._loop.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        """Run the body, and write down its end."""
        item = job.item
        result = _encode(await noop(*msgspec.json.decode(item.arguments)))
        now = _now()
        item.state, item.time_finished = State.SUCCESS, Date(now)
        item.progress, item.result = AT_LAST, msgspec.Raw(result)
        end = (_LAST_TEXT, result.decode(), DONE, now, now, item.id)
        frame = _frame(b"changed", item)
        move = self._keep(item.id, "changed", now, None)
        self._writer.put(Write(lambda: self._publish(frame), None, end, [move]))

    def _keep(self, job: int, msg: str, now: int, change: bytes | None) -> Row:
        self._last_seq += 1
        text = None if change is None else change.decode()
        return (self._last_seq, now, job, msg, text, 512 + len(text or ""))

    def _publish(self, frame: bytes) -> None:
        for send in self._subscribers:
            self._due.setdefault(send, []).append(frame)

    def _send(self, send: Send, message: bytes) -> None:
        self._due.setdefault(send, []).append(text_frame(message))

    def flush(self) -> None:
        """Send what is due."""
        for send, frames in self._due.items():
            send(b"".join(frames))
        self._due.clear()

    def close(self) -> None:
        """End the thread of the database."""
        self._writer.close()


async def noop(value: Any) -> Any:
    """Return *value*, as the body of row 4 does."""
    return value


def _now() -> int:
    return time.time_ns() // 1_000_000


def _frame(msg: bytes, item: CoreGetJobsItem) -> bytes:
    return text_frame(
        b'{"jsonrpc":"2.0","method":"collection_update","params":{"msg":"%b",'
        b'"collection":"core.get_jobs","id":%d,"fields":%b}}'
        % (msg, item.id, _encode(item))
    )


async def _serve(folder: Path) -> None:
    import picows  # noqa: PLC0415 - where it is installed

    sketch = Sketch(folder / "sketch.db")

    class Listener(picows.WSListener):  # type: ignore[misc]  # it may not be there
        """One connection."""

        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            """Keep what sends to it."""
            self._send = transport.underlying_transport.write

        def on_ws_frame(
            self, transport: picows.WSTransport, frame: picows.WSFrame
        ) -> None:
            """Take a message."""
            if frame.msg_type == picows.WSMsgType.TEXT:
                sketch.take(frame.get_payload_as_bytes(), self._send)

    gc.freeze()
    gc.set_threshold(YOUNG, NEVER, NEVER)
    server = await picows.ws_create_server(lambda _: Listener(), "127.0.0.1", 0)
    sys.stdout.write(f"{next(iter(server.sockets)).getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
