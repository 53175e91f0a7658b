"""Keeps entries: in groups, never in the way of what they are about."""

import asyncio
import errno
import logging
from collections import Counter

import msgspec

from middlewared.audit import Entry
from middlewared.clock import Clock
from middlewared.database import Database
from middlewared_audit.declaration import AuditSettings
from middlewared_audit.item import INSERT, row_of, rows_of

__all__ = ["MAX_PENDING", "Keeper"]

logger = logging.getLogger("middlewared.audit")

#: Seconds that entries are collected before they are written together.
COLLECT_SECONDS = 0.05
#: Entries that may wait for the disk; beyond, they are lost, and that is written down.
MAX_PENDING = 10_000
#: What those without rights may have written down in a minute, one account or address
#: and all together, so that nobody fills the log with attempts.
MAX_REFUSED_EACH, MAX_REFUSED = 30, 300
WINDOW_SECONDS = 60.0
_DENIED = errno.errorcode[errno.EACCES]


class Keeper:
    """Writes entries to the table, in the order they are noted.

    What is lost, since the disk does not keep up or the database cannot be written, is
    counted, and the count is written down as an entry as soon as that is possible.
    """

    def __init__(
        self, database: Database, clock: Clock, settings: AuditSettings
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._collected: list[Entry] = []
        self._writing = 0
        self._lost = 0
        self._timer: asyncio.TimerHandle | None = None
        self._refused: Counter[object] = Counter()
        self._refused_since = 0.0

    def keep(self, entry: Entry) -> None:
        """Take an entry; never waits."""
        if len(self._collected) + self._writing >= MAX_PENDING or self._floods(entry):
            self._lost += 1
        else:
            self._collected.append(entry)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(COLLECT_SECONDS, self.flush)

    def _floods(self, entry: Entry) -> bool:
        """Count what was refused, and tell whether it is too much to write down."""
        by: object
        if entry.event in ("LOGIN", "CALL") and entry.origin and entry.who is None:
            by = entry.origin.address
        elif entry.event == "CALL" and entry.outcome == _DENIED and entry.who:
            by = entry.who.account_id
        else:
            return False
        now = self._clock.monotonic()
        if now - self._refused_since > WINDOW_SECONDS:
            self._refused.clear()
            self._refused_since = now
        if (
            self._refused.total() >= MAX_REFUSED
            or self._refused[by] >= MAX_REFUSED_EACH
        ):
            return True
        self._refused[by] += 1
        return False

    def flush(self) -> None:
        """Write what was collected; the next entries are collected anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        entries, self._collected = self._collected, []
        lost, self._lost = self._lost, 0
        if lost:
            now = self._clock.time_ms()
            text = f"{lost} entries"
            entries.append(Entry(time=now, event="LOST", outcome="ENOSPC", detail=text))
        if not entries:
            return
        count = len(entries)
        self._writing += count

        def written(reason: Exception | None) -> None:
            self._writing -= count
            if reason is not None:
                logger.error("%d entries are lost: %s", count, reason)
                self._lost += lost + count - bool(lost)

        self._database.write((), written, (rows_of(entries),))
        if self._settings.log:
            for entry in entries:
                logger.info("%s", _line(entry))


def _line(entry: Entry) -> str:
    """Write an entry on one line."""
    names = INSERT.partition("(")[2].partition(")")[0].split(", ")
    values = dict(zip(names, row_of(entry), strict=True))
    kept = {name: value for name, value in values.items() if value is not None}
    return msgspec.json.encode(kept).decode()
