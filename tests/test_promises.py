"""The promises that the floor of row 4 is measured with are kept."""

import asyncio
import contextlib
import math
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from benchmarks.floor import PROMISES
from benchmarks.load import LoadClient, call_text
from benchmarks.promised.connected import Connected
from benchmarks.promised.counted import Counted
from benchmarks.promised.found import Found
from benchmarks.promised.owned import Owned
from benchmarks.promised.queued import Queued
from benchmarks.promised.recorded import Recorded
from benchmarks.promised.told import ITEMS
from benchmarks.row04 import LAYERS, run_jobs
from benchmarks.sketch import Sketch

from middlewared import Date, Plugin
from middlewared_jobs import Job, job
from middlewared_jobs.change import FIXED, fixed_of, record_at
from middlewared_jobs.notes import TextMessage
from middlewared_jobs.packs import unpacked
from middlewared_jobs.record import (
    Attempt,
    CoreGetJobsItem,
    CoreGetJobsItemProgress,
    encode_item,
)
from middlewared_jobs.rows import STORED, record_of
from middlewared_jobs.store import NO_CHANGE

plugin = Plugin("demo")


@plugin.method
@job
async def noop(job: Job, value: Any = None) -> Any:
    """Return *value*."""
    return value


@plugin.method
@job
async def fails(job: Job) -> None:
    """Fail."""
    raise ValueError("it is broken")


@plugin.method
@job
async def progresses(job: Job, number: int) -> float:
    """Set progress, and return what has no form."""
    job.set_progress(job.id, f"number {number}")
    return math.nan


@plugin.method
@job(abortable=True, lock="one", lock_queue_size=2)
async def waits(job: Job, number: int) -> None:
    """Wait until it is aborted."""
    await anyio.sleep_forever()


@plugin.method
@job(
    abortable=True,
    retries=2,
    priority=3,
    counts=["files"],
    steps=["one"],
    description="of {number}",
)
async def notes(job: Job, number: int) -> int:
    """Note what can be noted, and wait if it is asked to."""
    job.set_progress(30, "a third")
    job.message(7, "half a file")
    job.count("files", number)
    job.set_attribute("colour", "red")
    job.checkpoint({"at": number})
    job.set_exit("SOME", "some of it")
    if number == 1:
        await anyio.sleep_forever()
    return number


class Client:
    """What the sketch sends to, without a socket.

    Attributes:
        sent: all of it.
    """

    def __init__(self, sketch: Sketch) -> None:
        self.sent = bytearray()
        self._sketch = sketch
        self._grown = asyncio.Event()
        self._number = 1
        sketch.take(call_text(1, "core.subscribe", [ITEMS]), self.take)

    def take(self, data: bytes) -> None:
        """Take what is sent."""
        self.sent += data
        self._grown.set()

    def call(self, method: str, *params: Any) -> None:
        """Call a method."""
        self._number += 1
        text = call_text(self._number, method, params)
        self._sketch.take(text, self.take)

    async def until(self, pattern: bytes, times: int = 1) -> list[bytes]:
        """Wait until something was sent so often."""
        with anyio.fail_after(10):
            while len(found := re.findall(pattern, self.sent)) < times:
                self._grown.clear()
                await self._grown.wait()
        return found

    def told(self, number: int) -> list[CoreGetJobsItem]:
        """Give the events of a job."""
        pattern = rb'"id":%d,"fields":(.*?)}}(?=\x81|$)' % number
        texts = re.findall(pattern, self.sent, re.DOTALL)
        return [msgspec.json.decode(text, type=CoreGetJobsItem) for text in texts]


@contextlib.contextmanager
def _sketch(kind: Any, folder: Path) -> Any:
    with contextlib.closing(kind(folder / "sketch.db")) as sketch:
        if kind is not Sketch:
            sketch.methods = plugin.methods
        yield sketch, Client(sketch)


def _read(folder: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(folder / "sketch.db")) as database:
        return database.execute(sql).fetchall()


def _kept(folder: Path, job: int) -> list[bytes]:
    """Give what is kept of the events of a job."""
    sql = "SELECT events FROM job_event_packs ORDER BY last"
    packs = [unpacked(events) for (events,) in _read(folder, sql)]
    return [move[5] for pack in packs for move in pack if move[2] == job]


def test_row_shows_all_promises() -> None:
    """Row 4 has a line for each promise, in their order."""
    assert list(LAYERS) == list(PROMISES)


WITHOUT_SOCKET = [kind for kind in PROMISES.values() if kind is not Connected]


@pytest.mark.parametrize("kind", WITHOUT_SOCKET)
async def test_all_do_the_work(kind: type[Sketch], tmp_path: Path) -> None:
    """With any promises, a job is answered, told and kept as one of ours is."""
    with _sketch(kind, tmp_path) as (_, client):
        for number in range(2, 102):
            client.call("demo.noop", number)
        await client.until(rb'"state":"SUCCESS"', 100)
    assert b'{"jsonrpc":"2.0","result":7,"id":8}' in client.sent
    told = client.told(7)
    assert [item.state for item in told] == ["WAITING", "RUNNING", "SUCCESS"]
    rows = _read(tmp_path, f"SELECT {', '.join(STORED)} FROM jobs")  # noqa: S608 - our own names
    records = list(map(record_of, rows))
    assert {(one.state, one.phase) for one in records} == {("SUCCESS", "finished")}
    assert encode_item(records[6]) == msgspec.json.encode(told[2])
    assert bytes(records[6].result) == b"8"
    fixed, kept = fixed_of(records[6]), _kept(tmp_path, 7)
    states = [record_at(fixed, change).state for change in kept[:2]]
    assert (states, kept[2]) == (["WAITING", "RUNNING"], NO_CHANGE)


async def test_calls_that_cannot_be(tmp_path: Path) -> None:
    """What is wrong with a call is answered, and makes no job."""
    with _sketch(Found, tmp_path) as (sketch, client):
        client.call("demo.waits", "one")
        client.call("demo.nothing")
        sketch.take(b"{", client.take)
        await client.until(rb'"error":', 3)
        assert sketch.refused.failed == {"invalid": 1, "error": 2}
        client.call("demo.noop", 5)
        await client.until(rb'"state":"SUCCESS"')
    assert re.findall(rb'"code":(-?\d+)', client.sent) == [
        b"-32602",
        b"-32601",
        b"-32600",
    ]
    assert [row[0] for row in _read(tmp_path, "SELECT id FROM jobs")] == [1]
    entries = _read(tmp_path, "SELECT event, username, method, params FROM audit")
    assert entries == [("JOB", "root", "demo.noop", "[5]")]


async def test_ends_of_all_kinds(tmp_path: Path) -> None:
    """A body that fails, or returns what has no form, ends as one of ours does."""
    with _sketch(Owned, tmp_path) as (_, client):
        client.call("demo.fails")
        client.call("demo.progresses", 3)
        await client.until(rb'"state":"(?:SUCCESS|FAILED)"', 2)
    failed, odd = client.told(1)[-1], client.told(2)[-1]
    assert (failed.state, failed.error) == ("FAILED", "it is broken")
    assert failed.exception is not None
    assert "raise ValueError" in failed.exception
    assert odd.result_encoding_error is not None
    assert (odd.state, odd.progress.description) == ("SUCCESS", "number 3")
    rows = _read(tmp_path, f"SELECT {', '.join(STORED)} FROM jobs")  # noqa: S608 - our own names
    assert encode_item(record_of(rows[0])) == msgspec.json.encode(failed)


@pytest.mark.parametrize("kind", [Found, Recorded])
async def test_jobs_with_a_lock(kind: type[Found], tmp_path: Path) -> None:
    """They run one at a time, wait in order, are shared, refused, aborted, awaited."""
    with _sketch(kind, tmp_path) as (sketch, client):
        for number in (1, 2, 3, 3, 4):
            client.call("demo.waits", number)
        await client.until(rb'"result":3', 2)
        assert b"Lock 'one' has enough jobs" in client.sent
        assert [len(job.item.message_ids) for job in sketch.live.values()] == [1, 1, 2]
        await client.until(rb'"state":"RUNNING"')
        sketch.abort(2, "somebody")
        await client.until(rb'"state":"ABORTED"')
        async with anyio.create_task_group() as group:
            group.start_soon(sketch.wait, 1)
            await anyio.wait_all_tasks_blocked()
            sketch.abort(1, "somebody")
        # Who asked to abort it is told, too.
        asked = ["RUNNING"] if kind is Recorded else []
        await client.until(rb'"state":"RUNNING"', 2 + len(asked))
        assert [one.item.state for one in sketch.live.values()] == ["RUNNING"]
    states = [[item.state for item in client.told(number)] for number in (1, 2, 3)]
    assert states[0] == ["WAITING", "RUNNING", *asked, "ABORTED"]
    assert states[1] == ["WAITING", "ABORTED"]
    assert states[2] == ["WAITING", "WAITING", "RUNNING"]


async def test_jobs_wait_for_slots(tmp_path: Path) -> None:
    """More jobs than there are slots all run, and are counted."""
    with _sketch(Counted, tmp_path) as (sketch, client):
        for number in range(1500):
            client.call("demo.noop", number)
        await client.until(rb'"state":"SUCCESS"', 1500)
        assert sketch.ended == {("demo.noop", "SUCCESS"): 1500}
        assert sketch.calls["demo.noop"].ok == sum(sketch.waits.counts) == 1500
        newest = sketch.bus.rings[ITEMS].after(4498, 10)
        assert [event.seq for event in newest] == [4499, 4500]
        assert sketch.bus.rings[ITEMS].after(3000, 10) is None


async def test_record_is_complete(tmp_path: Path) -> None:
    """What a spec or a body sets is in the row, in what is kept, and shown."""
    with _sketch(Recorded, tmp_path) as (sketch, client):
        client.call("demo.notes", 1)
        client.call("demo.notes", 2)
        await client.until(rb'"state":"SUCCESS"')
        await client.until(rb'"description":"a third"')
        (noted,) = sketch.live.values()
        sketch.abort(noted.id, "somebody")
        await client.until(rb'"state":"ABORTED"')
        assert not sketch.rows
        sets = ([item.progress.percent for item in client.told(n)] for n in (1, 2))
        assert [sorted(set(found)) for found in sets] == [[0, 30], [0, 100]]
    rows = _read(tmp_path, f"SELECT {', '.join(STORED)} FROM jobs ORDER BY id")  # noqa: S608 - our own names
    aborted, done = map(record_of, rows)
    for number, record in ((1, aborted), (2, done)):
        (message,) = record.messages
        assert (message.text, message.code) == ("half a file", 7)
        assert record.counts == {"files": number}
        assert record.attributes == {"colour": "red"}
        assert bytes(record.checkpoint) == b'{"at":%d}' % number
        assert (record.retries, record.priority, record.attempt) == (2, 3, 1)
        assert record.description == f"of {number}"
        assert [step.name for step in record.steps] == ["one"]
        assert encode_item(record) == msgspec.json.encode(client.told(number)[-1])
    assert (done.state, done.exit.code if done.exit else "") == ("SUCCESS", "SOME")
    assert aborted.abort is not None
    texts = _kept(tmp_path, 1)
    assert texts.pop() == NO_CHANGE
    fixed = fixed_of(aborted)
    added, started, asked = (record_at(fixed, text) for text in texts)
    assert (added.state, added.counts, added.retries) == ("WAITING", {"files": 0}, 2)
    assert (started.state, started.messages) == ("RUNNING", [])
    assert (asked.messages, asked.counts) == (aborted.messages, aborted.counts)
    assert asked.attributes == {"colour": "red"}
    assert asked.abort is not None
    assert asked.abort == aborted.abort
    assert (asked.phase, asked.progress.percent) == ("aborting", 30)


#: Of each field of a record but what the way of a job decides.
OPTIONS: dict[str, Any] = {
    "description": "what",
    "progress": CoreGetJobsItemProgress(3, "three", [1]),
    "owner": 7,
    "abortable": True,
    "logs_path": "/log",
    "logs_excerpt": "line",
    "error": "e",
    "exception": "x",
    "child_pid": 5,
    "child_started": "then",
    "is_restart": True,
    "restart_of": 4,
    "parent": 3,
    "schedule": 2,
    "priority": 9,
    "key": "k",
    "key_digest": "d",
    "tracking_id": "t",
    "app_id": "a",
    "restartable": True,
    "pausable": True,
    "retries": 5,
    "timeout": 2.5,
    "source_customer": "s",
    "target_customer": "u",
    "scopes": ["x"],
    "counts": {"n": 1},
    "messages": [TextMessage(1, Date(5), "info", None, "m")],
    "item_errors": 3,
    "attributes": {"a": [1]},
    "checkpoint": msgspec.Raw(b"[1]"),
    "attempts": [Attempt(1, None, Date(4), "e", None, None)],
    "paused_ms": 8,
}


@pytest.mark.parametrize("when", ["made", "runs"])
async def test_each_field_is_kept(when: str, tmp_path: Path) -> None:
    """Whoever sets a field, and when, its row has it at the end, and what is kept."""

    class Choosing(Recorded):
        """Sets one field of each job."""

        def _choose(self, job: Any) -> None:
            name = list(OPTIONS)[job.id - 1]
            setattr(job.item, name, OPTIONS[name])

        def enter(self, job: Any) -> None:
            if when == "made":
                self._choose(job)
            super().enter(job)

        def succeed(self, job: Any, result: bytes) -> None:
            if when == "runs" and list(OPTIONS)[job.id - 1] not in FIXED:
                self._choose(job)
            super().succeed(job, result)

    with _sketch(Choosing, tmp_path) as (_, client):
        for number in range(len(OPTIONS)):
            client.call("demo.noop", number)
        await client.until(rb'"state":"SUCCESS"', len(OPTIONS))
    rows = _read(tmp_path, f"SELECT {', '.join(STORED)} FROM jobs ORDER BY id")  # noqa: S608 - our own names
    for row, (name, value) in zip(rows, OPTIONS.items(), strict=True):
        record = record_of(row)
        assert record.state == "SUCCESS"
        if when == "runs" and name in FIXED:
            continue
        expected = (
            msgspec.structs.replace(value, percent=100) if name == "progress" else value
        )
        assert getattr(record, name) == expected
        kept = [text for text in _kept(tmp_path, record.id) if text != NO_CHANGE]
        for text in kept if when == "made" else ():
            assert getattr(record_at(fixed_of(record), text), name) == value
        assert encode_item(record) == msgspec.json.encode(client.told(record.id)[-1])


async def test_what_cannot_be_written(tmp_path: Path) -> None:
    """A job whose row is refused is answered so; those written with it are there."""
    with _sketch(Queued, tmp_path) as (sketch, client):
        client.call("demo.noop", 1)
        sketch.last_id = 0
        client.call("demo.noop", 2)
        client.call("demo.noop", 3)
        await client.until(rb'"state":"SUCCESS"', 2)
    assert client.sent.count(b'"error":{"code":-32001') == 1
    assert [row[0] for row in _read(tmp_path, "SELECT id FROM jobs")] == [1, 2]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Connected], Any]]:
    """Listen for a sketch."""
    async with contextlib.AsyncExitStack() as stack:

        async def listen(sketch: Connected) -> LoadClient:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(sketch.connect, "127.0.0.1", 0)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            client = await LoadClient.open(server.sockets[0].getsockname())
            stack.callback(client.close)
            return client

        yield listen


async def test_our_connections(
    tmp_path: Path, serve: Callable[[Connected], Any]
) -> None:
    """Jobs come and are told by a socket of ours, and no more is read than is room."""
    sketch = Connected(tmp_path / "sketch.db")
    with contextlib.closing(sketch):
        client = await serve(sketch)
        await client.call("core.subscribe", ITEMS)
        assert await run_jobs(client, 400, 400) == 400
        assert "error" in await client.ask("demo.nothing")
        assert await client.call("demo.noop", 1) == 401
        sketch.last_id = 400
        answer = await client.ask("demo.noop", 1)
        assert "could not be written" in answer["error"]["data"]["reason"]
        (session,) = {connection.session for connection in sketch.connections}
        assert session is not None
        assert session.entrusted == 0
        assert sketch.traffic.events >= 1200
        assert not sketch.live
        assert not sketch.in_flight
