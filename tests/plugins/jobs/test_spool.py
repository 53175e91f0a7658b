"""Output that is kept in a file: read while it grows, broken when it does not fit."""

import io
import os
from pathlib import Path
from typing import BinaryIO

import anyio
import pytest

from middlewared_jobs.outlet import Outlet
from middlewared_jobs.spool import Spool

PATIENCE = 10.0


def spool_to(file: BinaryIO, *, limit: int = 2**30, reserve: int = 0) -> Spool:
    """Make a spool with a full pipe in front of it."""
    outlet = Outlet()
    os.write(outlet.body_end, b"x" * 1000)
    os.close(outlet.body_end)
    return Spool(outlet, file, limit=limit, reserve=reserve)


async def test_read_while_it_grows(tmp_path: Path) -> None:
    """Readers wait for what is not there yet, and learn of the end."""
    outlet = Outlet()
    with (tmp_path / "x").open("wb", buffering=0) as file:
        spool = Spool(outlet, file, limit=100, reserve=0)
        read: list[int] = []

        async def follow() -> None:
            while await spool.wait_beyond(sum(read)):
                read.append(spool.size - sum(read))

        ended: list[bool] = []
        spool.on_ended(lambda: ended.append(True))
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            group.start_soon(spool.keep)
            for size in (1, 2, 3):
                os.write(outlet.body_end, b"x" * size)
                with anyio.fail_after(PATIENCE):
                    while sum(read) < sum(range(size + 1)):
                        await anyio.lowlevel.checkpoint()
            assert not spool.ended
            os.close(outlet.body_end)
        assert read == [1, 2, 3]
        assert (spool.ended, spool.broken, ended) == (True, None, [True])
        spool.on_ended(lambda: ended.append(True))
        assert ended == [True, True]
        descriptor = spool.open()
        spool.close()
        assert os.pread(descriptor, 100, 0) == b"x" * 6
        os.close(descriptor)


@pytest.mark.parametrize(
    ("limit", "reserve", "number"), [(999, 0, 27), (2**30, 2**62, 28)]
)
async def test_limits(tmp_path: Path, limit: int, reserve: int, number: int) -> None:
    """What is over a limit breaks the output, with the limit in the error."""
    with (tmp_path / "x").open("wb", buffering=0) as file:
        spool = spool_to(file, limit=limit, reserve=reserve)
        await spool.keep()
        assert spool.broken is not None
        assert (spool.size, spool.broken.errno) == (0, number)
        assert str(max(limit % 2**30, reserve)) in str(spool.broken)


async def test_full_disk() -> None:
    """A disk that is full breaks it like a limit."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with io.FileIO(descriptor, "w") as file:
        spool = spool_to(file)
        await spool.keep()
        assert isinstance(spool.broken, OSError)
        assert spool.broken.errno == 28
