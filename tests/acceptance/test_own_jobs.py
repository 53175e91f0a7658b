"""Two people and an administrator: everybody sees and touches own jobs only."""

import contextlib
import errno
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import httpx
import pytest
from jobs_wire import Wire, open_wire
from server_process import ServerProcess

numbers = itertools.count(1)


class People(NamedTuple):
    """Connections of an administrator and two people with the role JOB_USER."""

    admin: Wire
    ann: Wire
    bob: Wire
    server: ServerProcess
    names: tuple[str, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the real program once for all tests here."""
    with ServerProcess(tmp_path_factory.mktemp("own") / "data") as running:
        yield running


@pytest.fixture
async def people(server: ServerProcess) -> AsyncIterator[People]:
    """Make two new accounts, and connect all three with their passwords."""
    number = next(numbers)
    names = f"ann{number}", f"bob{number}"
    secret = str(server.admin_password)
    async with contextlib.AsyncExitStack() as stack:

        async def connect(name: str, password: str) -> Wire:
            opened = open_wire(server.ws_url, login=(name, password), watch=True)
            return await stack.enter_async_context(opened)

        admin = await connect("admin", secret)
        for name in names:
            account = {"username": name, "password": "pw", "roles": ["JOB_USER"]}
            await admin.call("user.create", account)
        ann, bob = [await connect(name, "pw") for name in names]
        yield People(admin, ann, bob, server, names)


async def test_lists_show_own_jobs(people: People) -> None:
    """Each sees own jobs, the administrator all, in lists, counts and records."""
    _, ann, bob, *_ = people
    mine = (await ann.run("demo.noop", "ann's"))["id"]
    theirs = (await bob.run("demo.noop", "bob's"))["id"]
    both = [["id", "in", [mine, theirs]]]
    for method in ("core.get_jobs", "job.query"):
        for wire, wanted in ((ann, [mine]), (bob, [theirs])):
            assert [i["id"] for i in await wire.call(method, both)] == wanted
            assert [i["id"] for i in await wire.call(method)] == wanted
            assert await wire.call(method, [], {"count": True}) == 1
        assert len(await people.admin.call(method, both)) == 2


async def test_filters_tell_nothing_of_others(people: People) -> None:
    """No filter, order or error lets one look at the job of another."""
    _, ann, bob, *_ = people
    job = (await ann.run("demo.noop", "secret text"))["id"]
    await bob.run("demo.noop", 7)
    for filters in (
        [["id", "=", job]],
        [["arguments.0", "=", "secret text"]],
        [["OR", [["id", "=", job], ["method", "=", "none"]]]],
        [["credentials.data.username", "=", people.names[0]]],
        [["message_ids", "rin", ann.events(job)[0]["fields"]["message_ids"][0]]],
    ):
        assert await bob.call("core.get_jobs", filters) == []
        assert await bob.call("core.get_jobs", filters, {"count": True}) == 0
        error = await bob.fail("core.get_jobs", filters, {"get": True})
        assert "MatchNotFound" in error.reason
    # It compares a text with a number, which fails where it is evaluated.
    loud = [["arguments.0", ">", 5]]
    assert len(await bob.call("core.get_jobs", loud)) == 1
    assert (await ann.fail("core.get_jobs", loud)).code == -32001
    first = await bob.call("core.get_jobs", [], {"order_by": ["id"], "limit": 1})
    assert first[0]["id"] != job


async def test_events_are_of_own_jobs(people: People) -> None:
    """Events go to the owner and to the administrator, to nobody else."""
    admin, ann, bob, *_ = people
    job = (await ann.run("demo.log", 2))["id"]
    await admin.final(job)
    await bob.call("demo.noop")
    assert {event["id"] for event in bob.events()}.isdisjoint({job})
    assert all(
        event["fields"]["credentials"]["data"]["username"] == people.names[1]
        for event in bob.events()
    )
    assert len(admin.events(job)) == len(ann.events(job)) >= 3


async def tail_error(wire: Wire, name: str) -> dict[str, Any]:
    """Subscribe to a source that ends with an error; give that."""
    await wire.call("core.subscribe", name)
    frame = await wire.wait(lambda f: f.get("method") == "notify_unsubscribed")
    assert frame["params"]["collection"] == name
    error: dict[str, Any] = frame["params"]["error"]
    return error


async def test_jobs_of_others_are_not_touched(people: People) -> None:
    """Waiting, aborting, reading and downloading another's job is EPERM."""
    _, ann, bob, *_ = people
    job = await ann.start("demo.locked", 30, people.names[0])
    logged = (await ann.run("demo.log", 3))["id"]
    await ann.event(job, "RUNNING")
    for method, params in (
        ("core.job_wait", [job]),
        ("core.job_abort", [job]),
        ("job.abort", [job, {"force": True}]),
        ("job.get", [job]),
        ("job.get", [logged]),
        ("job.read_log", [logged]),
        ("core.job_download_logs", [logged, "x.log"]),
    ):
        error = await bob.fail(method, *params)
        assert (error.code, error.errno) == (-32001, errno.EPERM), method
        assert error.reason == "[EPERM] Job is not owned by current session"
    ended = await tail_error(bob, f'job.logs:{{"id":{logged},"offset":0}}')
    assert ended["error"] == errno.EPERM
    assert (await ann.call("job.get", job))["abort"] is None
    await ann.call("core.job_abort", job)
    assert (await ann.final(job))["state"] == "ABORTED"


async def test_owner_may_do_all_that(people: People) -> None:
    """The owner waits, reads, tails and downloads; from another connection, too."""
    _, ann, _, server, names = people
    final = await ann.run("demo.log", 3)
    job = final["id"]
    async with open_wire(server.ws_url, login=(names[0], "pw"), watch=True) as again:
        assert await again.call("core.job_wait", job) == 3
        assert (await again.call("job.get", job))["result"] == 3
        data = (await again.call("job.read_log", job))["data"]
        assert data == final["logs_excerpt"]
        path = await again.call("core.job_download_logs", job, "x.log")
        answer = await anyio.to_thread.run_sync(httpx.get, server.url + path)
        assert answer.text == data
        held = await ann.start("demo.sleep", 30)
        await again.event(held, "RUNNING")
        await again.call("core.job_abort", held)
        assert (await ann.final(held))["state"] == "ABORTED"


async def test_administrator_may_do_everything(people: People) -> None:
    """A full administrator sees, reads and aborts the jobs of everybody."""
    admin, ann, *_ = people
    job = await ann.start("demo.sleep", 30)
    logged = (await ann.run("demo.log", 1))["id"]
    assert (await admin.call("job.read_log", logged))["final"] is True
    await admin.event(job, "RUNNING")
    await admin.call("core.job_abort", job)
    await ann.final(job)
    error = await ann.fail("core.job_wait", job)
    assert error.errno == errno.ECANCELED
    assert "aborted by admin at" in error.reason


async def test_jobs_of_the_system_are_its_own(people: People) -> None:
    """Jobs that no account owns are for administrators."""
    _, ann, _, server, _ = people
    done = await anyio.to_thread.run_sync(server.command, "call", "demo.noop", '"x"')
    assert done.returncode == 0
    newest = {"order_by": ["-id"], "get": True}
    record = await people.admin.call("job.query", [["owner", "=", None]], newest)
    error = await ann.fail("job.get", record["id"])
    assert error.errno == errno.EPERM
    assert "full administrative privileges" in error.reason


async def test_waits_of_others_are_hidden(people: People) -> None:
    """Helper jobs, as those behind waits, belong to who waits."""
    admin, ann, bob, *_ = people
    job = await ann.start("demo.sleep", 30)
    number = await ann.send("core.job_wait", [job])
    waiting = await ann.started(number)
    assert (await bob.fail("job.get", waiting)).errno == errno.EPERM
    assert await bob.call("core.get_jobs") == []
    assert [i["id"] for i in await ann.call("core.get_jobs")] == [job, waiting]
    await admin.call("core.job_abort", job)
    assert (await ann.answer(number))["error"]["data"]["error"] == errno.ECANCELED
