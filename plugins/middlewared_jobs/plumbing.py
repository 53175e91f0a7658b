"""The pipes of one job, both ends of each, and who closes which when."""

import errno
import os
from collections.abc import Callable, Container

from middlewared_jobs.ending import Aborted, Delivered, Ended, Failed, Succeeded
from middlewared_jobs.feed import Feed
from middlewared_jobs.outlet import Outlet
from middlewared_jobs.pipes import Body, JobPipes, not_open, open_pipes
from middlewared_jobs.spec import JobSpec, Kind
from middlewared_jobs.spool import Spool

__all__ = ["Plumbing", "check_pipes"]

#: Numbers of the errors that tell a body that a pipe of its is cut.
BROKEN = frozenset({errno.EPIPE, errno.ECONNRESET})


class Plumbing:
    """The pipes of one job.

    Args:
        feed: the upload, None when there is none.
        outlet: what is downloaded, None when nothing is.
        spool: keeps what comes out; None when it goes to a client directly.
    """

    def __init__(
        self,
        *,
        feed: Feed | None = None,
        outlet: Outlet | None = None,
        spool: Spool | None = None,
    ) -> None:
        self._feed = feed
        self._outlet = outlet
        self._spool = spool
        #: The ends that nobody has taken yet.
        self._body_ends: dict[str, int] = {}
        if feed is not None:
            self._body_ends["input"] = feed.body_end.detach()
        if outlet is not None:
            self._body_ends["output"] = outlet.body_end
        self.names = frozenset(self._body_ends)
        self._pipes: JobPipes | None = None
        self._aborted = False

    def connect(self, kind: Kind, check: Callable[[], None]) -> JobPipes:
        """Give a body in this process its ends, once.

        Args:
            kind: where it runs.
            check: raises `JobAborted` when the job is aborted.
        """
        ends = self.hand_over()
        self._pipes = open_pipes(ends, Body(kind is Kind.LOOP, check))
        return self._pipes

    @property
    def waiting(self) -> list[str]:
        """Which pipes nobody has taken yet, in the order of `hand_over`."""
        return list(self._body_ends)

    def hand_over(self) -> dict[str, int]:
        """Give the body's ends away, once; who takes the descriptors closes them."""
        ends, self._body_ends = self._body_ends, {}
        return ends

    async def settle(self, ended: Ended) -> Ended:
        """Close the ends of a body that has ended, and wait until its output is kept.

        Returns:
            How it ended; when its output went nowhere, that is why. What an abort
            broke is the abort: a child may see the end of a pipe before its signal.
        """
        self.close_body_ends()
        if self._aborted and _is_broken(ended):
            return Aborted()
        if self._spool is not None:
            await self._spool.wait_kept()
        broken = None if self._outlet is None else self._outlet.broken
        if broken is None:
            return ended
        unkept = self._spool is not None and isinstance(ended, (Succeeded, Delivered))
        return Failed(broken) if unkept or _is_broken(ended, {errno.EPIPE}) else ended

    def close_body_ends(self) -> None:
        """Close the body's ends: the server's learn that nobody is there."""
        if self._pipes is not None:
            self._pipes.close()
            self._pipes = None
        for descriptor in self.hand_over().values():
            os.close(descriptor)

    def abort(self) -> None:
        """Cut them because the job is aborted."""
        self._aborted = True
        self.cut("the job was aborted")

    def cut(self, why: str) -> None:
        """Close the server's ends, so that a body that waits for them goes on.

        Args:
            why: one clause, which its error says.
        """
        if self._feed is not None:
            self._feed.break_off(why)
        if self._outlet is not None:
            self._outlet.break_off(BrokenPipeError(errno.EPIPE, why))


def _is_broken(ended: Ended, how: Container[int] = BROKEN) -> bool:
    error = ended.error if isinstance(ended, Failed) else None
    return isinstance(error, OSError) and error.errno in how


def check_pipes(spec: JobSpec, plumbing: Plumbing | None) -> None:
    """Let a call pass that has the pipes its method needs.

    Raises:
        CallError: EINVAL, one is missing.
    """
    if not spec.pipes:
        return
    open_ones = frozenset() if plumbing is None else plumbing.names
    missing = spec.pipes - open_ones
    if spec.check_pipes and missing:
        raise not_open(min(missing))
