"""How a body ended whose pipes were cut."""

import errno

import pytest

from middlewared_jobs.ending import Aborted, Ended, Failed, Succeeded
from middlewared_jobs.outlet import Outlet
from middlewared_jobs.plumbing import Plumbing

LOST = Failed(ConnectionResetError(errno.ECONNRESET, "the upload broke off"))
OTHER = Failed(PermissionError(errno.EPERM, "no"))


@pytest.mark.parametrize(
    ("ended", "settled"),
    [
        (LOST, Aborted()),
        (Failed(BrokenPipeError(errno.EPIPE, "nobody reads")), Aborted()),
        (OTHER, OTHER),
        (Succeeded(1), Succeeded(1)),
    ],
)
async def test_what_an_abort_broke_is_the_abort(ended: Ended, settled: Ended) -> None:
    """The signal for a child may come later than the end of its pipe."""
    plumbing = Plumbing(outlet=Outlet())
    plumbing.abort()
    assert await plumbing.settle(ended) == settled


async def test_what_somebody_else_broke_fails_the_job() -> None:
    """Without an abort the error is told."""
    plumbing = Plumbing(outlet=Outlet())
    plumbing.cut("the client is gone")
    assert await plumbing.settle(LOST) == LOST
