"""Keeps the logs of running jobs short that something writes to by itself."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import anyio.to_thread

from middlewared_jobs.joblog import cut_log

__all__ = ["LogGuard"]

logger = logging.getLogger(__name__)

#: Seconds between two looks. What is written meanwhile is over the limit for so long.
LOOK_SECONDS = 1.0


class LogGuard:
    """Cuts logs back to the limit.

    Lines of ``job.log`` and writes to ``job.logs_fd`` keep the limit themselves. A
    child process that inherited the descriptor knows no limit.

    Args:
        logs: gives the logs that are being written.
        limit: bytes that a log may have.
    """

    def __init__(self, logs: Callable[[], Iterable[Path]], limit: int) -> None:
        self._logs = logs
        self._limit = limit

    async def watch(self) -> None:
        """Look every now and then, until it is cancelled."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            paths = list(self._logs())
            if paths:
                await anyio.to_thread.run_sync(self._cut, paths)

    def _cut(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                cut_log(path, self._limit)
            except OSError as exc:
                logger.warning("log %s cannot be cut: %s", path, exc)
