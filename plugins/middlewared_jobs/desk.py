"""Where the body of a job asks for what only the server can do."""

import errno
from typing import Any, Protocol

from middlewared import CallError

__all__ = ["NO_DESK", "Desk"]


class Desk(Protocol):
    """What `Job` hands on to the server; see the methods of `Job` with these names."""

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


class _Closed:
    """The desk of a body in a child process, which has no way to the server."""

    def check_open(self) -> None:
        raise CallError(
            "A process job cannot start or wrap jobs: they live in the server",
            errno.EOPNOTSUPP,
        )

    async def adopt(self, pid: int, grace: float | None) -> None:
        raise CallError(
            f"Process {pid} ends with the job's own process", errno.EOPNOTSUPP
        )

    def release(self) -> None:
        pass

    async def wrap(self, number: int) -> Any:
        self.check_open()


NO_DESK: Desk = _Closed()
