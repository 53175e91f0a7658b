"""Job handles and the tracker that feeds them."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

from middlewared.client.errors import (
    ConnectionLost,
    JobAborted,
    JobFailed,
    JobNotFound,
    NotAJob,
)
from middlewared.client.jobs import JobHandle, JobTracker


def item(state: str = "RUNNING", **changes: Any) -> dict[str, Any]:
    """Make an item of job 7."""
    made: dict[str, Any] = {
        "id": 7,
        "message_ids": ["m-1"],
        "method": "demo.sleep",
        "state": state,
        "progress": {"percent": 0, "description": "", "extra": None},
        "result": "slept" if state == "SUCCESS" else None,
        "result_encoding_error": None,
        "error": "[EFAULT] boom" if state == "FAILED" else None,
        "exc_info": None,
    }
    return made | changes


def event(state: str = "RUNNING", **changes: Any) -> dict[str, Any]:
    """Make a notification of ``core.get_jobs``."""
    return {"msg": "changed", "fields": item(state, **changes)}


class Server:
    """Answers and remembers calls."""

    def __init__(self, *answers: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers = list(answers)

    async def call(self, *call: Any) -> Any:
        """Remember a call and give the next answer."""
        await anyio.lowlevel.checkpoint()
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else None


@pytest.fixture
def server() -> Server:
    """Give a server that answers null."""
    return Server()


@pytest.fixture
def tracker() -> JobTracker:
    """Give a tracker that follows nothing."""
    return JobTracker()


@pytest.fixture
def handle(server: Server, tracker: JobTracker) -> JobHandle:
    """Give the handle of a job whose request m-1 was sent."""
    made = JobHandle(server.call, method="demo.sleep", message_id="m-1")
    tracker.add(made)
    return made


async def test_result(tracker: JobTracker, handle: JobHandle) -> None:
    """Awaiting gives the result of the final item."""
    tracker.deliver(event("WAITING"))
    assert handle.id == 7
    assert not handle.ended
    tracker.deliver(event("SUCCESS"))
    assert await handle == "slept"
    assert await handle == "slept"


async def test_id_before_the_server_accepted(handle: JobHandle) -> None:
    """The id of a job that may not exist yet is an error, not None."""
    with pytest.raises(RuntimeError, match=r"not accepted demo\.sleep yet"):
        _ = handle.id


async def test_wait_accepted(tracker: JobTracker, handle: JobHandle) -> None:
    """`wait_accepted` returns as soon as the first event names the request."""
    got: list[int] = []

    async def wait() -> None:
        got.append(await handle.wait_accepted())

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await wait_all_tasks_blocked()
        assert got == []
        tracker.deliver(event("WAITING", message_ids=["other", "m-1"]))
    assert got == [7]


async def test_jobs_of_others(tracker: JobTracker, handle: JobHandle) -> None:
    """Events that name other requests concern nobody, whatever their ids are."""
    tracker.deliver(event(id=8, message_ids=[None, 0, "", "m-2"]))
    tracker.deliver({"msg": "removed", "id": 8})
    assert not handle.accepted


async def test_failed_and_aborted(tracker: JobTracker, server: Server) -> None:
    """Other ends are raised."""
    failed = JobHandle(server.call, job_id=7)
    aborted = JobHandle(server.call, job_id=8)
    tracker.add(failed)
    tracker.add(aborted)
    tracker.deliver(event("FAILED"))
    tracker.deliver(event("ABORTED", id=8))
    with pytest.raises(JobFailed, match="boom"):
        await failed
    with pytest.raises(JobAborted, match="job 8 was aborted"):
        await aborted
    assert (await aborted.wait_ended())["state"] == "ABORTED"


async def test_items_in_order(tracker: JobTracker, handle: JobHandle) -> None:
    """An iterator that keeps up sees every item, and ends after the final one."""
    seen: list[tuple[str, int]] = []

    async def read() -> None:
        seen.extend(
            [(one["state"], one["progress"]["percent"]) async for one in handle]
        )

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await wait_all_tasks_blocked()
        for state, percent in [("WAITING", 0), ("RUNNING", 10), ("RUNNING", 20)]:
            tracker.deliver(event(state, progress={"percent": percent}))
            await wait_all_tasks_blocked()
        tracker.deliver(event("FAILED", progress={"percent": 20}))
    assert seen == [("WAITING", 0), ("RUNNING", 10), ("RUNNING", 20), ("FAILED", 20)]


async def test_slow_reader(tracker: JobTracker, handle: JobHandle) -> None:
    """A reader that is behind gets the newest item of each state."""
    tracker.deliver(event("WAITING"))
    items = aiter(handle)
    assert (await anext(items))["state"] == "WAITING"
    for percent in range(1000):
        tracker.deliver(event(progress={"percent": percent}))
    tracker.deliver(event("SUCCESS"))
    rest = [(one["state"], one["progress"]["percent"]) async for one in items]
    assert rest == [("RUNNING", 999), ("SUCCESS", 0)]


async def test_late_reader(tracker: JobTracker, handle: JobHandle) -> None:
    """An iterator made after the end still gives the final item."""
    tracker.deliver(event("SUCCESS"))
    assert [one["state"] async for one in handle] == ["SUCCESS"]


async def test_stale_item_after_the_end(tracker: JobTracker, handle: JobHandle) -> None:
    """A list that was read before the end does not undo it."""
    tracker.deliver(event("SUCCESS"))
    handle.update(item("RUNNING"))
    assert handle.item is not None
    assert handle.item["state"] == "SUCCESS"


async def test_merged_calls(tracker: JobTracker, server: Server) -> None:
    """Two requests that joined one job both follow it."""
    handles = [
        JobHandle(server.call, method="demo.locked", message_id=name)
        for name in ("m-1", "m-2")
    ]
    for handle in handles:
        tracker.add(handle)
    tracker.deliver(event("WAITING"))
    tracker.deliver(event("WAITING", message_ids=["m-1", "m-2"]))
    tracker.deliver(event("SUCCESS", message_ids=["m-1", "m-2"]))
    assert [await handle for handle in handles] == ["slept", "slept"]


async def test_error_instead_of_a_job(handle: JobHandle) -> None:
    """An error before there is a job reaches whoever waits, in every way."""
    handle.fail(NotAJob("core.ping", "pong"))
    with pytest.raises(NotAJob):
        await handle.wait_accepted()
    with pytest.raises(NotAJob):
        await handle
    with pytest.raises(NotAJob):
        _ = [one async for one in handle]


async def test_cancelling_a_wait(tracker: JobTracker, handle: JobHandle) -> None:
    """A cancelled wait loses nothing: the next one gets the result."""
    with anyio.move_on_after(0) as scope:
        await handle
    assert scope.cancelled_caught
    tracker.deliver(event("SUCCESS"))
    assert await handle == "slept"


async def test_abort(server: Server, tracker: JobTracker, handle: JobHandle) -> None:
    """Aborting calls the server with the id of the job."""
    tracker.deliver(event())
    await handle.abort(force=True)
    assert server.calls == [("job.abort", 7, {"force": True})]


async def test_end_of_everything(tracker: JobTracker, handle: JobHandle) -> None:
    """When the connection is gone for good, every handle says so."""
    tracker.end(ConnectionLost("gone"))
    with pytest.raises(ConnectionLost):
        await handle


async def test_restore(tracker: JobTracker, handle: JobHandle) -> None:
    """After a reconnect a job that ended meanwhile is read from the list."""
    tracker.deliver(event("RUNNING"))
    server = Server([item("SUCCESS")])
    await tracker.restore(server.call)
    assert server.calls == [("core.get_jobs", [["id", "in", [7]]])]
    assert await handle == "slept"


async def test_restore_finds_no_job(tracker: JobTracker, handle: JobHandle) -> None:
    """A job that is gone after a reconnect is reported as such."""
    tracker.deliver(event("RUNNING"))
    await tracker.restore(Server([]).call)
    with pytest.raises(JobNotFound, match="job 7 no longer exists"):
        await handle


async def test_restore_by_request(tracker: JobTracker, handle: JobHandle) -> None:
    """A job whose first event was lost is found by the id of its request."""
    server = Server([item("RUNNING")])
    await tracker.restore(server.call)
    assert server.calls == [("core.get_jobs", [["message_ids", "rin", "m-1"]])]
    assert await handle.wait_accepted() == 7
    tracker.deliver(event("SUCCESS"))
    assert await handle == "slept"


async def test_restore_without_a_job(tracker: JobTracker, handle: JobHandle) -> None:
    """A request that never became a job ends with ConnectionLost."""
    await tracker.restore(Server([]).call)
    with pytest.raises(ConnectionLost, match=r"before the server accepted demo\.sleep"):
        await handle


async def test_many_jobs_are_restored_in_slices(tracker: JobTracker) -> None:
    """A query never asks for more jobs than a server lists."""
    server = Server()
    for number in range(1200):
        tracker.add(JobHandle(server.call, job_id=number))
    server.answers = [
        [item("SUCCESS", id=number) for number in range(start, min(1200, start + 500))]
        for start in (0, 500, 1000)
    ]
    await tracker.restore(server.call)
    assert [len(call[1][0][2]) for call in server.calls] == [500, 500, 200]
