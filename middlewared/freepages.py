"""Pages of the database that hold nothing any more: who gives them back, and when."""

import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiosqlite
import anyio

__all__ = ["SLICE", "FreePages", "allow_shrinking"]

logger = logging.getLogger(__name__)

#: Gives some pages back in one transaction: a few milliseconds of the writer.
SLICE = "PRAGMA incremental_vacuum(64)"
#: Seconds between two looks at how many there are.
LOOK_SECONDS = 60.0
#: They are given back when they are more than a quarter of the file and 16 MiB, until
#: they are a tenth of it: what comes and goes every day is not given back every day.
BEGIN_SHARE, END_SHARE, BEGIN_BYTES = 0.25, 0.1, 16 << 20
#: After each slice the writer is left to others for so many times what it took.
REST = 9.0
#: Databases of earlier programs up to this size are made able to shrink when opened.
REWRITE_BYTES = 64 << 20

_INCREMENTAL = 2


async def allow_shrinking(writer: aiosqlite.Connection, path: Path) -> None:
    """Make a database able to give pages back, before anything else is done with it.

    A new one gets that for nothing. One of an earlier program has to be written anew,
    which is left alone when it would take long, or does not work.

    Raises:
        sqlite3.Error: it is no database, or cannot be read.
    """
    ((mode,),) = await writer.execute_fetchall("PRAGMA auto_vacuum")
    if mode == _INCREMENTAL:
        return
    await writer.execute_fetchall(f"PRAGMA auto_vacuum={_INCREMENTAL}")
    ((pages,),) = await writer.execute_fetchall("PRAGMA page_count")
    ((size,),) = await writer.execute_fetchall("PRAGMA page_size")
    if not 0 < pages * size <= REWRITE_BYTES:
        return
    try:
        await writer.execute_fetchall("VACUUM")
    except sqlite3.Error as exc:
        logger.warning("database %r stays as large as it is: %s", str(path), exc)


class FreePages:
    """Gives free pages back to the file system, slowly, when there are many.

    Args:
        count: gives pages in all, free ones, and bytes of a page.
        give_back: runs a slice once nothing else is to be written.
    """

    def __init__(
        self,
        count: Callable[[], Awaitable[tuple[int, int, int]]],
        give_back: Callable[[], Awaitable[None]],
    ) -> None:
        self._count = count
        self._give_back = give_back

    async def keep_few(self) -> None:
        """Look every now and then, until it is cancelled."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            try:
                await self.reduce()
            except sqlite3.Error as exc:
                logger.warning("the database gives no pages back: %s", exc)

    async def reduce(self) -> None:
        """Give pages back if there are too many.

        Raises:
            sqlite3.Error: it does not work.
        """
        pages, free, size = await self._count()
        if free < pages * BEGIN_SHARE or free * size < BEGIN_BYTES:
            return
        while free > pages * END_SHARE:
            began = time.perf_counter()
            await self._give_back()
            await anyio.sleep(REST * (time.perf_counter() - began))
            before = free
            pages, free, size = await self._count()
            if free >= before:
                return  # it cannot shrink, or others free more than that
