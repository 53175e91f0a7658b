"""The owner of every task that starts on a hot path.

An anyio ``start_soon`` costs 31 us, a bare task 3-5 us (design, section 4). This is
the only module allowed to create bare tasks: it keeps them, cancels them and awaits
them at shutdown, so that none is lost and no exception goes unseen. anyio scopes work
inside them.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["Tasks"]

logger = logging.getLogger(__name__)


class Tasks:
    """A set of running tasks with one owner."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run *work* as a task; an exception that it lets out is logged."""
        task = self._loop.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=exc)

    async def close(self, *, deadline: float) -> int:
        """Cancel what runs and wait for it.

        Args:
            deadline: seconds to wait at most.

        Returns:
            How many tasks still run after the deadline.
        """
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=deadline)
        return len(self._running)
