"""All schedules: in memory, every change committed first, then announced."""

import errno
import logging
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
from msgspec.structs import replace

from middlewared import (
    Audience,
    CallError,
    Context,
    Event,
    ValidationError,
    ValidationErrors,
)
from middlewared.errors import StoreError
from middlewared.events import Message
from middlewared.registry import Registry
from middlewared_jobs import JobFunction
from middlewared_schedules.cron import CronError, ZoneError
from middlewared_schedules.rows import delete_row, insert_row, read_rows, update_row
from middlewared_schedules.schedule import (
    Schedule,
    ScheduleItem,
    Timing,
    item_of,
    timing_of,
)
from middlewared_schedules.settings import ScheduleSettings

__all__ = ["COLLECTION", "Entry", "Schedules"]

logger = logging.getLogger(__name__)

COLLECTION = "schedule.query"
#: Seconds before a write that failed is tried again.
RETRY_SECONDS = 1.0

Edit = Callable[[Schedule], Schedule]


class Entry:
    """One schedule in memory.

    Attributes:
        schedule: as it is; what is only a matter of time may be newer than its row.
        timing: when it is due; None when that cannot be read.
        lock: held while it is changed, or starts a job.
        running: ids of its jobs that have not ended.
        retry_at: not to start a job before, by the monotonic clock.
        attended: somebody does what is due.
        removed: it is gone.
    """

    __slots__ = (
        "attended",
        "lock",
        "removed",
        "retry_at",
        "running",
        "schedule",
        "timing",
    )

    def __init__(self, schedule: Schedule) -> None:
        self.lock = anyio.Lock()
        self.running: set[int] = set()
        self.retry_at = 0.0
        self.attended = False
        self.removed = False
        self.put(schedule)

    def __str__(self) -> str:
        return f"schedule {self.schedule.id} {self.schedule.name!r}"

    def put(self, schedule: Schedule) -> None:
        """Take what the schedule is from now on."""
        timing: Timing | None = None
        try:
            timing = timing_of(schedule)
        except (CronError, ZoneError) as exc:
            schedule = replace(schedule, last_error=str(exc))
        self.schedule, self.timing = schedule, timing

    @property
    def item(self) -> ScheduleItem:
        """What clients see; may be asked for in any thread."""
        schedule, timing = self.schedule, self.timing
        if timing is None:
            return item_of(replace(schedule, due=None), "")
        return item_of(schedule, timing.words)

    @property
    def busy(self) -> bool:
        """Whether it may not start a job because of one that has not ended."""
        return bool(self.running) and not self.schedule.overlap


class Schedules:
    """The schedules that there are, by id.

    Reading never waits. A change is visible, and told, once it is committed.

    Attributes:
        entries: all of them, by id.
        changed: set when another one may be due next.
    """

    def __init__(self, context: Context) -> None:
        self._database = context.database
        self._events = context.events
        self._registry = context.get(Registry)
        self._limit = context.get(ScheduleSettings).max_schedules
        self._names: set[tuple[int | None, str]] = set()
        self._last_id = 0
        self.entries: dict[int, Entry] = {}
        self.changed = anyio.Event()

    async def load(self) -> None:
        """Read the table; once, before anything else."""
        found, self._last_id = await read_rows(self._database)
        for schedule in found:
            entry = self.entries[schedule.id] = Entry(schedule)
            if entry.timing is None:
                logger.warning("%s is never due: %s", entry, entry.schedule.last_error)
            self._names.add((schedule.owner, schedule.name))

    def audience(self, entry: Entry) -> Audience:
        """Say who may see a schedule: who may see the jobs of its method."""
        method = self._registry.methods.get(entry.schedule.method)
        roles = frozenset[str]()
        if method is not None and isinstance(method.deferred, JobFunction):
            roles = method.deferred.read_roles
        return Audience(entry.schedule.owner, roles)

    def get(self, number: int) -> Entry | None:
        """Give one schedule, None when there is none."""
        return self.entries.get(number)

    def wake(self) -> None:
        """Let whoever waits for the next time look again."""
        self.changed.set()
        self.changed = anyio.Event()

    # Changes.

    async def create(self, drafted: Schedule) -> Entry:
        """Keep a new schedule.

        Raises:
            ValidationErrors: EEXIST, the owner has one of this name.
            CallError: EDQUOT, there are too many.
            StoreError: it cannot be written.
        """
        if len(self._names) >= self._limit:
            raise CallError(f"There are {self._limit} schedules already", errno.EDQUOT)
        name = (drafted.owner, drafted.name)
        self._take_name(name)
        self._last_id += 1
        entry = Entry(replace(drafted, id=self._last_id))
        with anyio.CancelScope(shield=True):
            try:
                await self._database.execute(insert_row(entry.schedule))
            except BaseException:
                self._names.discard(name)
                raise
            self.entries[entry.schedule.id] = entry
            self._tell(entry, "added")
        return entry

    async def change(self, entry: Entry, edit: Edit) -> None:
        """Change a schedule; the caller holds its lock.

        Raises:
            ValidationErrors: EEXIST, the owner has another one of this name.
            StoreError: it cannot be written.
        """
        before, after = entry.schedule, edit(entry.schedule)
        old, new = (before.owner, before.name), (after.owner, after.name)
        if new != old:
            self._take_name(new)
        with anyio.CancelScope(shield=True):
            try:
                await self._database.execute(update_row(after))
            except BaseException:
                if new != old:
                    self._names.discard(new)
                raise
            if new != old:
                self._names.discard(old)
            entry.put(after)
            self._tell(entry, "changed")

    async def note(self, entry: Entry, **news: Any) -> None:
        """Write what has happened to a schedule, again and again until it is committed.

        The caller holds its lock. In memory it counts at once.
        """
        entry.schedule = replace(entry.schedule, **news)
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    await self._database.execute(update_row(entry.schedule))
                    break
            except StoreError as exc:
                logger.error("%s could not be written: %s", entry, exc)  # noqa: TRY400 - the database told
            await anyio.sleep(RETRY_SECONDS)
        self._tell(entry, "changed")

    async def remove(self, entry: Entry) -> None:
        """Remove a schedule; its jobs go on. The caller holds its lock.

        Raises:
            StoreError: it cannot be written.
        """
        schedule = entry.schedule
        with anyio.CancelScope(shield=True):
            await self._database.execute(delete_row(schedule))
            entry.removed = True
            del self.entries[schedule.id]
            self._names.discard((schedule.owner, schedule.name))
            self._tell(entry, "removed")

    def _take_name(self, name: tuple[int | None, str]) -> None:
        if name in self._names:
            text = f"there is a schedule {name[1]!r} already"
            raise ValidationErrors([ValidationError("data.name", text, errno.EEXIST)])
        self._names.add(name)

    def _tell(self, entry: Entry, msg: Message) -> None:
        if self._events.has_subscribers(COLLECTION):
            self._events.publish(self.event(entry, msg))
        self.wake()

    def event(self, entry: Entry, msg: Message) -> Event:
        """Make the event that tells of a schedule."""
        schedule = entry.schedule
        audience = self.audience(entry)
        fields = None if msg == "removed" else msgspec.json.encode(entry.item)
        return Event(COLLECTION, msg, schedule.id, fields, audience=audience)
