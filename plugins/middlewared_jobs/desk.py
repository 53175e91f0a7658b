"""Where the body of a job asks for what only the server can do, and what it needs."""

import errno
from typing import Any, Protocol

from middlewared import CallError, Context
from middlewared_jobs.notebook import Notebook

__all__ = ["ClosedDesk", "Desk"]


class Desk(Protocol):
    """What `Job` hands on to the server; see the methods of `Job` with these names."""

    def make_context(self) -> Context:
        """Give the rights that the body runs with; asked for when they are needed."""
        ...

    def open_notebook(self) -> Notebook:
        """Give what the body notes in; asked for by its first note."""
        ...

    def check_open(self) -> None:
        """Let pass who may start jobs and wait for them.

        Raises:
            CallError: EOPNOTSUPP, from a child process.
        """
        ...

    async def adopt(self, pid: int, grace: float | None) -> None:
        """Tie a child process of the body to the job."""
        ...

    def release(self) -> None:
        """Let it go."""
        ...

    async def wrap(self, number: int) -> Any:
        """Wait for another job."""
        ...


class ClosedDesk:
    """The desk of a body in a child process, which has no way to the server.

    Args:
        context: the rights that the body runs with.
        notebook: what it notes in.
    """

    def __init__(self, context: Context, notebook: Notebook) -> None:
        self._context = context
        self._notebook = notebook

    def make_context(self) -> Context:
        """Give the rights that it was made with."""
        return self._context

    def open_notebook(self) -> Notebook:
        """Give the notebook that it was made with."""
        return self._notebook

    def check_open(self) -> None:
        """Let nobody pass.

        Raises:
            CallError: EOPNOTSUPP.
        """
        raise CallError(
            "A process job cannot start or wrap jobs: they live in the server",
            errno.EOPNOTSUPP,
        )

    async def adopt(self, pid: int, grace: float | None) -> None:
        """Tie nothing: it ends with the process as it is.

        Raises:
            CallError: EOPNOTSUPP.
        """
        raise CallError(
            f"Process {pid} ends with the job's own process", errno.EOPNOTSUPP
        )

    def release(self) -> None:
        """Do nothing: it ties nothing."""

    async def wrap(self, number: int) -> Any:
        """Wait for nothing.

        Raises:
            CallError: EOPNOTSUPP.
        """
        self.check_open()
