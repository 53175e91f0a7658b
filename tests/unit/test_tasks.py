"""Tasks with an owner."""

import asyncio
import contextlib
import logging

import anyio
import pytest

from middlewared.tasks import Tasks


async def test_work_runs_and_is_forgotten() -> None:
    """A task that ended is no longer kept."""
    tasks = Tasks()
    done = anyio.Event()

    async def work() -> str:
        await done.wait()
        return "result"

    task = tasks.start(work(), name="work")
    assert task.get_name() == "work"
    assert len(tasks) == 1
    done.set()
    assert await task == "result"
    assert len(tasks) == 0


async def test_exception_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing that a task lets out goes unseen."""
    tasks = Tasks()

    async def work() -> None:
        raise ValueError("bad")

    task = tasks.start(work(), name="call pool.scrub")
    await asyncio.wait([task])
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.ERROR, "call pool.scrub failed")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_close_cancels_and_waits(caplog: pytest.LogCaptureFixture) -> None:
    """Tasks may clean up; being cancelled is no failure."""
    tasks = Tasks()
    cleaned: list[int] = []

    async def work(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await anyio.lowlevel.cancel_shielded_checkpoint()
            cleaned.append(number)

    for number in range(3):
        tasks.start(work(number), name="work")
    await anyio.wait_all_tasks_blocked()
    assert await tasks.close(deadline=5) == 0
    assert sorted(cleaned) == [0, 1, 2]
    assert not caplog.records


async def test_close_has_a_deadline() -> None:
    """A task that will not end is counted, and does not hold up the stop."""
    tasks = Tasks()
    let_go = anyio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    task = tasks.start(stubborn(), name="stubborn")
    await anyio.wait_all_tasks_blocked()
    assert await tasks.close(deadline=0.05) == 1
    let_go.set()
    await asyncio.wait([task])
    assert len(tasks) == 0


async def test_close_without_tasks() -> None:
    """Nothing to end is no error."""
    assert await Tasks().close(deadline=1) == 0


async def test_cancel_scopes_work_inside() -> None:
    """Bodies use anyio as if they had been started by it."""
    tasks = Tasks()

    async def work() -> bool:
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        return scope.cancelled_caught

    assert await tasks.start(work(), name="work") is True
