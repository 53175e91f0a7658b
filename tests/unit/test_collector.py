"""Full collections in their turn."""

import gc
import weakref
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from middlewared import collector
from middlewared.collector import collect_in_proportion

pytestmark = pytest.mark.anyio


@pytest.fixture
async def taken_over(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Run the collector of a server, without its long pauses."""
    monkeypatch.setattr(collector, "PAUSE", 0.001)
    monkeypatch.setattr(collector, "SHARE", 1e9)
    monkeypatch.setattr(collector, "LONGEST", 0.0)
    before = gc.get_threshold()
    async with anyio.create_task_group() as group:
        group.start_soon(collect_in_proportion)
        await wait_all_tasks_blocked()
        assert gc.get_freeze_count() > 0
        yield
        group.cancel_scope.cancel()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


class Knot:
    """Something that refers to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.self = self


async def test_old_garbage_is_found(taken_over: None) -> None:
    """What survived the young collections is collected in the end."""
    knot, gone = Knot(), anyio.Event()
    weakref.finalize(knot, gone.set)
    gc.collect(1)
    del knot
    with anyio.fail_after(20):
        await gone.wait()


async def test_python_begins_no_full_collection(taken_over: None) -> None:
    """However many objects there are, it looks at the young ones only."""
    begun = gc.get_stats()[2]["collections"]
    kept = [[] for _ in range(200_000)]  # type: ignore[var-annotated]  # any objects
    assert gc.get_stats()[2]["collections"] == begun
    del kept


async def test_full_collection_waits_for_new_objects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With nothing new there is none, until the longest pause is over."""
    monkeypatch.setattr(collector, "PAUSE", 0.001)
    with anyio.move_on_after(0.05) as waited:
        await collector._wait_due(0.0)
    assert waited.cancelled_caught
    async with anyio.create_task_group() as group:
        group.start_soon(collector._wait_due, 0.0)
        await wait_all_tasks_blocked()
        gc.collect(0)  # as Python does when there are many
    monkeypatch.setattr(collector, "LONGEST", 0.0)
    with anyio.fail_after(20):
        await collector._wait_due(0.0)


@pytest.mark.parametrize(("took", "pause"), [(0.0, 10.0), (0.1, 10.0), (0.25, 25.0)])
def test_pause_is_in_proportion(took: float, pause: float) -> None:
    """A collection that took long is followed by a hundred times that."""
    assert collector._pause_after(took) == pytest.approx(pause)
