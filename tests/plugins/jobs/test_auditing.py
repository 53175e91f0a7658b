"""What is written down of jobs, however they come about."""

from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest
from wire_server import WireServer, wire_server

from middlewared import Plugin, Secret
from middlewared.audit import Entry, Trail
from middlewared_jobs import Job, job

work = Plugin("work", requires=("jobs",))


@work.method(roles=["WORKER"])
@job(lock="work", lock_queue_size=1, abortable=True)
async def wait(job: Job, seconds: float) -> None:
    """Hold the lock."""
    await anyio.sleep(seconds)


@work.method(roles=["WORKER"])
@job
async def seal(job: Job, name: str, key: Secret[str], more: str = "") -> None:
    """Take a secret."""


@work.method(roles=["WORKER"])
@job
async def outer(job: Job) -> None:
    """Start another one."""
    await job.context.call("work.seal", "inner", "hush")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(work) as running:
        yield running


@pytest.fixture
def entries(server: WireServer) -> list[Entry]:
    """Keep what is noted during a test instead of the plugin."""
    found: list[Entry] = []
    server.running.context.get(Trail).attach(found.append)
    return found


async def test_job_is_written_down_when_it_is_accepted(
    server: WireServer, entries: list[Entry]
) -> None:
    """With its id, who asked from where, and its arguments as everybody sees them."""
    client = await server.user("WORKER")
    entries.clear()
    number = await client.call("work.seal", "box", "hush")
    (entry,) = entries
    assert (entry.event, entry.outcome, entry.method) == ("JOB", "OK", "work.seal")
    assert (entry.job_id, entry.params) == (number, b'["box","********"]')
    assert entry.who is not None
    assert entry.who.username == "WORKER"
    assert entry.origin is not None
    assert entry.origin.address == "127.0.0.1"
    await client.call("work.seal", "box", "hush", "x" * 5000)
    assert entries[-1].params is not None
    (shown,) = msgspec.json.decode(entries[-1].params)
    assert shown == "(5021 bytes)"


async def test_call_that_waits_is_written_down_once(
    server: WireServer, entries: list[Entry]
) -> None:
    """How the job ends is the job's history, not the call's outcome."""
    client = await server.user("WORKER")
    await client.call("core.set_options", {"legacy_jobs": False})
    entries.clear()
    await client.call("work.seal", "box", "hush")
    assert [entry.event for entry in entries] == ["JOB"]


async def test_whoever_shares_a_job_is_written_down(
    server: WireServer, entries: list[Entry]
) -> None:
    """With the id of the job that was there already."""
    client = await server.user("WORKER")
    entries.clear()
    running = await client.call("work.wait", 60)
    waiting = await client.call("work.wait", 61)
    assert await client.call("work.wait", 61) == waiting
    refused = await client.request("work.wait", [62])
    assert refused["error"]["data"]["errname"] == "EBUSY"
    for number in (running, waiting):
        await client.call("core.job_abort", number)
    assert [(e.event, e.outcome, e.job_id) for e in entries] == [
        ("JOB", "OK", running),
        ("JOB", "OK", waiting),
        ("JOB", "OK", waiting),
        ("CALL", "EBUSY", None),
        ("CALL", "OK", None),
        ("CALL", "OK", None),
    ]


async def test_giving_a_job_up_is_written_down_as_an_abort(
    server: WireServer, entries: list[Entry]
) -> None:
    """``$/cancelRequest`` is another way to abort."""
    client = await server.user("WORKER")
    await client.call("core.set_options", {"legacy_jobs": False})
    entries.clear()
    wanted = {"jsonrpc": "2.0", "id": 77, "method": "work.wait", "params": [70]}
    await client.send_json(wanted)
    given_up = {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 77}}
    await client.send_json(given_up)
    assert "error" in await client.answer_to(77)
    assert [(e.event, e.method, e.outcome) for e in entries] == [
        ("JOB", "work.wait", "OK"),
        ("CALL", "core.job_abort", "OK"),
    ]
    assert entries[1].params == b"[%d]" % (entries[0].job_id or 0)


async def test_jobs_of_jobs_and_of_methods_are_written_down(
    server: WireServer, entries: list[Entry]
) -> None:
    """A body that starts a job is named; so is the method that made one."""
    client = await server.user("WORKER")
    await client.call("core.set_options", {"legacy_jobs": False})
    entries.clear()
    await client.call("work.outer")
    outer, inner = entries
    assert (inner.method, inner.detail) == ("work.seal", f"job {outer.job_id}")
    assert inner.params == b'["inner","********"]'
    assert inner.who is not None
    assert inner.who.username == "WORKER"
    number = await client.call("job.submit", "work.seal", ["box", "hush"])
    assert [(e.event, e.method, e.job_id) for e in entries[2:]] == [
        ("JOB", "work.seal", number),
        ("CALL", "job.submit", None),
    ]
    assert not any(b"hush" in (entry.params or b"") for entry in entries)


async def test_waiting_for_a_job_is_not(
    server: WireServer, entries: list[Entry]
) -> None:
    """Helper jobs that change nothing are no news."""
    client = await server.user("WORKER")
    number = await client.call("work.seal", "box", "hush")
    entries.clear()
    await client.call("core.job_wait", number)
    assert entries == []
