"""Lets old entries go."""

import logging

import anyio

from middlewared.clock import Clock
from middlewared.database import Database
from middlewared.errors import StoreError
from middlewared_audit.declaration import AuditSettings

__all__ = ["Retention"]

logger = logging.getLogger("middlewared.audit")

#: Seconds between two looks.
INTERVAL = 600.0
#: Entries that one write removes, so that no other write waits long for it.
SLICE = 2000
DAY_MS = 24 * 60 * 60 * 1000

_REMOVE = "DELETE FROM audit WHERE id <= ?"


class Retention:
    """Removes entries over the limits of the settings, oldest first, in slices."""

    def __init__(
        self, database: Database, clock: Clock, settings: AuditSettings
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """Look every now and then, until cancelled."""
        while True:
            try:
                await self.sweep()
            except StoreError as exc:
                logger.warning("old entries stay for now: %s", exc)
            await anyio.sleep(INTERVAL)

    async def sweep(self) -> None:
        """Remove what is over the limits now.

        Raises:
            StoreError: the database cannot be read or written.
        """
        first, last = await self._first(), await self._last_to_go()
        while first <= last:
            first = min(first + SLICE, last + 1)
            await self._database.execute((_REMOVE, (first - 1,)))

    async def _first(self) -> int:
        rows = await self._database.read("SELECT coalesce(min(id), 1) FROM audit")
        return int(rows[0][0])

    async def _last_to_go(self) -> int:
        """Find the newest entry that is over the limits, 0 when there is none."""
        newest = await self._database.read("SELECT coalesce(max(id), 0) FROM audit")
        # The first entry that is young enough: what is before it may go. Times may
        # jump back with the clock, ids do not.
        since = self._clock.time_ms() - self._settings.keep_days * DAY_MS
        young = await self._database.read(
            "SELECT min(id) FROM audit WHERE time >= ?", (since,)
        )
        by_time = newest[0][0] if young[0][0] is None else young[0][0] - 1
        return max(int(by_time), int(newest[0][0]) - self._settings.keep_entries)
