"""The gate between two steps: while a job is asked to pause, its body waits there."""

import threading
from collections.abc import Callable

import anyio

from middlewared_jobs.notebook import Notebook

__all__ = ["Gate"]

#: Seconds between two looks of a thread at whether its job is aborted: in a child, the
#: signal that says so does not wake the thread that it interrupts.
LOOK_SECONDS = 0.05


class Gate:
    """Open or closed by the server, passed by the body.

    `close` and `open` are called in the loop, or by the thread of a child that reads
    its orders.

    Args:
        notebook: is told when the body begins to wait, and when it goes on.

    Attributes:
        closed: the body is to wait.
    """

    __slots__ = ("_notebook", "_opened", "_opened_in_loop", "closed")

    def __init__(self, notebook: Notebook) -> None:
        self.closed = False
        self._notebook = notebook
        # Made by `close`: few jobs are ever paused.
        self._opened: threading.Event | None = None
        self._opened_in_loop: anyio.Event | None = None

    def close(self) -> None:
        """Let the body wait when it comes."""
        self._opened = threading.Event()
        self.closed = True

    def open(self) -> None:
        """Let the body go on."""
        self.closed = False
        if self._opened is not None:
            self._opened.set()
        if self._opened_in_loop is not None:
            self._opened_in_loop.set()

    async def wait(self) -> None:
        """Pass the gate in the loop. Safe to cancel."""
        if not self.closed:
            return
        self._notebook.set_paused(True)
        while self.closed:
            self._opened_in_loop = anyio.Event()
            await self._opened_in_loop.wait()
        self._notebook.set_paused(False)

    def wait_in_thread(self, check: Callable[[], None]) -> None:
        """Pass the gate in a thread.

        Args:
            check: raises what ends the wait.
        """
        if not self.closed:
            return
        self._notebook.set_paused(True)
        while self.closed:
            check()
            opened = self._opened
            assert opened is not None  # noqa: S101 - made before it was closed
            opened.wait(LOOK_SECONDS)
        self._notebook.set_paused(False)
