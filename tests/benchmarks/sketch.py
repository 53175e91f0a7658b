"""The least that a durable job costs in Python.

What row 4 promises demands this work, whoever does it: a request is decoded, a row,
which says RUNNING as that of ours does when nothing holds it back, goes into the same
tables with the same indexes, commits wait for the disk and are shared by what came
meanwhile, the answer and the events come after the commit, the body runs in a task, its
end is written, and three events are kept. That is all there is here: no locks, rights,
limits, queues, secrets, audit, replays, aborts, errors. `benchmarks.promised` has them,
one after another; `benchmarks.floor` serves it.

Nothing is done twice, and everything in the cheapest way known: the WebSocket is C, a
job is one struct that is changed in place, frames are put together from bytes, rows go
in many at a time by one thread. So it is a limit for what does the same in Python and
SQLite, and no proposal.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.commits import Job, Write, Writer

from middlewared import Date
from middlewared.events import Message
from middlewared.frames import text_frame
from middlewared_jobs.record import (
    NULL,
    CoreGetJobsItem,
    CoreGetJobsItemCredentials,
    CoreGetJobsItemProgress,
    LoginData,
)
from middlewared_jobs.states import State
from middlewared_jobs.store import NO_CHANGE
from middlewared_jobs.uids import Uids

__all__ = [
    "NODE",
    "RUNNING",
    "SUBSCRIBE",
    "SUCCESS",
    "WAITING",
    "Change",
    "Send",
    "Sketch",
    "encode",
    "frame_of",
    "now",
]

SUBSCRIBE = "core.subscribe"
AT_FIRST, AT_LAST = CoreGetJobsItemProgress(), CoreGetJobsItemProgress(100)
NODE = "node"

encode = msgspec.json.Encoder().encode
_FIRST_TEXT = encode(AT_FIRST).decode()
Send = Callable[[bytes], None]
# Looking a member up in its enum takes 0.1 us.
WAITING, RUNNING, SUCCESS = State.WAITING, State.RUNNING, State.SUCCESS


class Request(msgspec.Struct):
    """A call."""

    id: msgspec.Raw
    method: str
    params: msgspec.Raw


_decode = msgspec.json.Decoder(Request).decode


class Change(msgspec.Struct, omit_defaults=True):
    """What is kept of an event."""

    message_ids: list[Any]
    time_modified: Date
    state: str | None = None
    time_started: Date | None = None
    attempt: int | None = None
    phase: str | None = None
    node: str | None = None


class Sketch:
    """Jobs of clients that are known by what sends to them.

    Args:
        path: the database.
    """

    writer = Writer

    def __init__(self, path: Path) -> None:
        self.loop = asyncio.get_running_loop()
        self.writes = self.writer(path, self)
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.last_id = self.last_seq = 0
        self._subscribers: list[Send] = []
        self._due: dict[Send, list[bytes]] = {}
        self._uids = Uids()
        login = LoginData("root", "594d3c04-e41d-4826-a260-64c183090dbd", Date(now()))
        self.who = CoreGetJobsItemCredentials("UNIX_SOCKET", login)
        self.who_text = encode(self.who).decode()

    # From the message to the first row.

    def take(self, raw: bytes, caller: Any) -> None:
        """Take a message of a client."""
        request = _decode(raw)
        if request.method == SUBSCRIBE:
            self.subscribe(caller, request.id)
        else:
            job = self.job(request.method, request.params, request.id, caller)
            self.accept(job)

    def subscribe(self, caller: Any, number: bytes) -> None:
        """Tell a client of all jobs from now on."""
        self._subscribers.append(caller)
        self.send(caller, b'{"jsonrpc":"2.0","result":"1","id":%b}' % number)
        self.flush()

    def job(
        self, method: str, arguments: msgspec.Raw, number: msgspec.Raw, caller: Any
    ) -> Job:
        """Make a job of a call."""
        self.last_id += 1
        item = CoreGetJobsItem(
            self.last_id, [number], method, arguments, False, None, False,
            None, None, AT_FIRST, NULL, None, None, None, None, WAITING, None,
            None, self.who,
        )  # fmt: skip
        answer = b'{"jsonrpc":"2.0","result":%d,"id":%b}' % (self.last_id, number)
        return Job(self.last_id, item, caller, number, answer, now())

    def accept(self, job: Job) -> None:
        """Write a job down; it runs as soon as that is committed, if it may."""
        self.enter(job)

    def enter(self, job: Job) -> None:
        """Take down a new job, and that it runs, if it may."""
        item, at = job.item, Date(job.created)
        write = Write(self.begun, job)
        self.move(write, "added", job.created, Change(item.message_ids, at))
        if self.may_run(job):
            item.state, item.time_started = RUNNING, at
            change = Change(item.message_ids, at, "RUNNING", at, 1, "running", NODE)
            self.move(write, "changed", job.created, change)
        self.write_new(write)

    def may_run(self, job: Job) -> bool:
        """Tell whether a job may run at once."""
        return True

    def write_new(self, write: Write) -> None:
        """Write the first row of a job."""
        self.fill(write)
        self.writes.put(write)

    def fill(self, write: Write) -> None:
        """Make the first row of a job."""
        job = write.job
        item, at = job.item, job.created
        running = item.state is RUNNING
        ids = str(item.message_ids[0], "utf-8")
        asked = str(item.arguments, "utf-8")
        write.new = (
            job.id, self._uids.take(), item.method, f"[{ids}]", asked, 0, _FIRST_TEXT,
            "null", "null", "null", item.state._value_, at, at if running else None,
            self.who_text, 1 if running else 0, "null", bytes(item.arguments),
            "running" if running else "pending", "null", job.id, 0, 0, at, NODE,
        )  # fmt: skip

    # From there to the end.

    def begun(self, write: Write) -> None:
        """Answer, tell, and begin the body."""
        job, told = write.job, write.told
        self.publish(told[0])
        self.send(job.caller, job.answer)
        if len(told) > 1:
            self.publish(told[1])
            self.launch(job)

    def launch(self, job: Job) -> None:
        """Run the body in a task."""
        self.tasks[job.id] = self.loop.create_task(self.run(job))

    async def run(self, job: Job) -> None:
        """Run the body, and write down its end."""
        value = await noop(*msgspec.json.decode(job.item.arguments))
        self.end(job, encode(value))
        del self.tasks[job.id]

    def end(self, job: Job, result: bytes) -> None:
        """End a job that returned."""
        self.succeed(job, result)

    def succeed(self, job: Job, result: bytes) -> None:
        """Write the end of a job that returned."""
        item, at = job.item, now()
        item.state, item.time_finished = SUCCESS, Date(at)
        item.progress, item.result = AT_LAST, msgspec.Raw(result)
        write = Write(self.over, job, end=(result.decode(), at, job.id))
        self.move(write, "changed", at, None)
        self.writes.put(write)

    def over(self, write: Write) -> None:
        """Tell that a job has ended."""
        self.publish(write.told[0])

    # What is told.

    def move(self, write: Write, msg: Message, at: int, change: Change | None) -> None:
        """Take down what a job is like, to be kept and to be told."""
        self.last_seq += 1
        job = write.job
        kept = NO_CHANGE if change is None else encode(change)
        size = 512 + len(kept)
        write.moves.append((self.last_seq, at, job.id, msg, size, kept))
        write.told.append(self.event(job, msg))

    def event(self, job: Job, msg: str) -> Any:
        """Make what is published of a job as it is now."""
        return frame_of(msg, job.id, encode(job.item))

    def publish(self, event: Any) -> None:
        """Tell the subscribers."""
        for send in self._subscribers:
            self._due.setdefault(send, []).append(event)

    def send(self, caller: Any, message: bytes) -> None:
        """Answer a client."""
        self._due.setdefault(caller, []).append(text_frame(message))

    def flush(self) -> None:
        """Send what is due."""
        for send, frames in self._due.items():
            send(b"".join(frames))
        self._due.clear()

    def close(self) -> None:
        """End the thread of the database."""
        self.writes.close()


async def noop(value: Any) -> Any:
    """Return *value*, as the body of row 4 does."""
    return value


def now() -> int:
    """Give milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def frame_of(msg: str, number: int, fields: bytes) -> bytes:
    """Frame an event."""
    return text_frame(
        b'{"jsonrpc":"2.0","method":"collection_update","params":{"msg":"%b",'
        b'"collection":"core.get_jobs","id":%d,"fields":%b}}'
        % (msg.encode(), number, fields)
    )
