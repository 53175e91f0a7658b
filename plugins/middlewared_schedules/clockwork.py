"""Starts the jobs of schedules when they are due."""

import errno
import logging
import math
from typing import Any

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from middlewared import CallError, Context
from middlewared.shutdown import Shutdown
from middlewared_jobs import JobRecord, Jobs
from middlewared_schedules.moment import moment
from middlewared_schedules.plan import Missed, Plan, first_due, make_plan
from middlewared_schedules.rights import RightsLost
from middlewared_schedules.schedules import Entry, Schedules
from middlewared_schedules.settings import ScheduleSettings
from middlewared_schedules.starter import Starter

__all__ = ["Clockwork"]

logger = logging.getLogger(__name__)

#: Seconds after which the wall clock is looked at again: somebody may have set it.
LOOK_SECONDS = 1.0
#: Schedules that are begun with in one tick of the loop.
SLICE = 8
#: Seconds before a job is tried again that could not be started for now.
RETRY_SECONDS = 10.0
#: What passes: a full queue, a full disk.
_PASSING = (errno.EBUSY, errno.EIO)


class Clockwork:
    """Looks at the clock, and starts what is due.

    A time is run in this order: its job is committed, with a key that names the time;
    then the schedule is, with what is due next. After a crash in between the time is
    due again, and its key leads to the job that there is.

    Args:
        context: the server's.
        schedules: all of them.
    """

    def __init__(self, context: Context, schedules: Schedules) -> None:
        settings = context.get(ScheduleSettings)
        self._schedules = schedules
        self._clock = context.clock
        self._tasks = context.tasks
        self._jobs = context.get(Jobs)
        self._stop = context.get(Shutdown).requested
        self._starter = Starter(context)
        self._grace = int(settings.grace * 1000)
        self._limit = settings.max_missed

    async def begin(self) -> None:
        """Find out how jobs of an earlier start ended, and wait for the others."""
        for entry in list(self._schedules.entries.values()):
            self._find_due(entry)
            schedule = entry.schedule
            if schedule.last_job is None or schedule.last_state is not None:
                continue
            record = await self._jobs.get(schedule.last_job)
            if record is None or record.final:
                await self._ended(entry, schedule.last_job, record)
        for number, run in list(self._jobs.live.items()):
            found = self._schedules.get(run.record.schedule or 0)
            if found is not None and not run.record.final:
                self._watch(found, number)

    def _find_due(self, entry: Entry) -> None:
        """Look for the next time anew: the rules of its zone may be others by now."""
        schedule, now = entry.schedule, self._clock.time_ms()
        if entry.timing is None or schedule.due is None or schedule.due <= now:
            return
        due = entry.timing.times.after(max(now, schedule.handled or 0))
        entry.schedule = replace(schedule, due=due)

    async def run(self) -> None:
        """Start what is due, until it is cancelled."""
        while True:
            changed = self._schedules.changed
            await self.look()
            with anyio.move_on_after(self._seconds()):
                await changed.wait()

    async def look(self) -> None:
        """Begin to do what is due by now; when it is much, let others have turns."""
        now = self._clock.time_ms()
        entries = self._schedules.entries.values()
        due = [e for e in entries if not e.attended and self._wants(e, now)]
        for number, entry in enumerate(due, 1):
            entry.attended = True
            name = f"schedule {entry.schedule.id}"
            self._tasks.start(self._attend(entry), name=name)
            if number % SLICE == 0:
                await anyio.lowlevel.checkpoint()

    def _wants(self, entry: Entry, now: int) -> bool:
        schedule = entry.schedule
        if self._stop.is_set() or not schedule.enabled or entry.timing is None:
            return False
        due = first_due(schedule, entry.timing.times, now)
        if due != schedule.due:
            return True  # the clock was set back
        if due is None or due > now:
            return False
        if entry.busy and schedule.missed is not Missed.SKIP:
            return False
        return entry.retry_at <= self._clock.monotonic()

    def _seconds(self) -> float:
        """Say how long nothing is due, as far as the clock is not set meanwhile."""
        now = self._clock.time_ms()
        enabled = [
            entry.schedule
            for entry in self._schedules.entries.values()
            if entry.schedule.enabled
        ]
        waits = [s.due - now for s in enabled if s.due is not None and s.due > now]
        if not enabled:
            return math.inf
        return min([LOOK_SECONDS, *(wait / 1000 for wait in waits)])

    async def _attend(self, entry: Entry) -> None:
        try:
            async with entry.lock:
                while await self._step(entry):
                    pass
        except Exception as exc:
            # Whatever it is, the other schedules go on, and so does this one later.
            logger.exception("%s", entry)
            entry.schedule = replace(entry.schedule, last_error=str(exc))
            self._hold(entry)
        finally:
            entry.attended = False

    def _hold(self, entry: Entry) -> None:
        entry.retry_at = self._clock.monotonic() + RETRY_SECONDS

    async def _step(self, entry: Entry) -> bool:
        """Do one thing that is due; tell whether there may be more."""
        now = self._clock.time_ms()
        if entry.removed or entry.timing is None or not self._wants(entry, now):
            return False
        plan = make_plan(
            entry.schedule,
            entry.timing.times,
            now,
            grace=self._grace,
            limit=self._limit,
            busy=entry.busy,
        )
        if plan.run is not None:
            due = entry.timing.times.after(plan.run)
            return await self._run(entry, plan.run, due, _passed(entry, plan))
        if plan.passed is None:
            entry.schedule = replace(entry.schedule, due=plan.due)
        else:
            news = {"due": plan.due, "handled": _later(entry, plan.passed)}
            await self._schedules.note(entry, **news, **_passed(entry, plan))
        return False

    async def _run(
        self, entry: Entry, time: int, due: int | None, passed: dict[str, Any]
    ) -> bool:
        """Start the job of a time; tell whether the schedule may go on."""
        schedule, starter = entry.schedule, self._starter
        handled = {"due": due, "handled": _later(entry, time), **passed}
        lasting = starter.leaves_record(schedule)
        again = schedule.handled is not None and time <= schedule.handled
        if again and not (lasting and await starter.find(schedule, time) is None):
            # The clock was set back, and the time had its job before.
            entry.schedule = replace(schedule, due=due)
            return True
        if not lasting:
            # Nothing would tell later that this time had its job.
            await self._schedules.note(entry, **handled)
        try:
            record = await starter.start(schedule, time)
        except RightsLost as exc:
            logger.warning("%s is disabled: %s", entry, exc)
            news = {"enabled": False, "due": None, "last_error": f"Disabled: {exc}"}
            await self._schedules.note(entry, **news)
            return False
        except CallError as exc:
            return await self._failed(entry, exc, handled)
        await self._started(entry, record, handled)
        return True

    async def _failed(
        self, entry: Entry, exc: CallError, handled: dict[str, Any]
    ) -> bool:
        """Take note that a job could not be started; tell whether to go on."""
        if self._stop.is_set():
            return False  # it is due again at the next start
        passing = exc.errno in _PASSING
        if not passing or entry.schedule.last_error != exc.text:
            logger.warning("%s could not start a job: %s", entry, exc.text)
            news = {} if passing else handled
            await self._schedules.note(entry, **news, last_error=exc.text)
        if passing:
            self._hold(entry)
        return not passing

    async def _started(
        self, entry: Entry, record: JobRecord, handled: dict[str, Any]
    ) -> None:
        if not record.final:
            self._watch(entry, record.id)
        await self._schedules.note(
            entry,
            **handled,
            last_run=self._clock.time_ms(),
            last_job=record.id,
            last_state=record.state if record.final else None,
            last_error=None,
        )

    async def run_now(self, entry: Entry) -> JobRecord:
        """Start a further job of a schedule.

        Raises:
            CallError: EBUSY, one has not ended; EACCES, the owner may not; else as
                `Starter.start` says.
        """
        async with entry.lock:
            schedule = entry.schedule
            if entry.removed:
                raise CallError(f"Schedule {schedule.id} was removed", errno.ENOENT)
            if entry.busy:
                raise CallError(
                    f"Job {min(entry.running)} of schedule {schedule.name!r} has not "
                    "ended",
                    errno.EBUSY,
                )
            try:
                record = await self._starter.start(schedule, None)
            except RightsLost as exc:
                raise CallError(str(exc), errno.EACCES) from None
            await self._started(entry, record, {})
            return record

    # The ends of jobs.

    def _watch(self, entry: Entry, number: int) -> None:
        if number in entry.running:
            return  # found at the start, and again by the key of its time
        entry.running.add(number)
        name = f"end of job {number} of schedule {entry.schedule.id}"
        self._tasks.start(self._wait_end(entry, number), name=name)

    async def _wait_end(self, entry: Entry, number: int) -> None:
        record = await self._jobs.wait(number)
        entry.running.discard(number)
        await self._ended(entry, number, record)
        self._schedules.wake()

    async def _ended(self, entry: Entry, number: int, record: JobRecord | None) -> None:
        """Note how a job ended, if it is the last one; without a record it is lost."""
        async with entry.lock:
            if entry.removed or entry.schedule.last_job != number:
                return
            if record is None:
                await self._schedules.note(entry, last_job=None)
            else:
                await self._schedules.note(entry, last_state=record.state)


def _later(entry: Entry, time: int) -> int:
    handled = entry.schedule.handled
    return time if handled is None else max(handled, time)


def _passed(entry: Entry, plan: Plan) -> dict[str, Any]:
    """Give what changes because times are passed over, and say so."""
    if plan.passed is None:
        return {}
    logger.info("%s passes over what it missed up to %s", entry, moment(plan.passed))
    before = entry.schedule.last_skipped
    return {"last_skipped": plan.passed if before is None else max(before, plan.passed)}
