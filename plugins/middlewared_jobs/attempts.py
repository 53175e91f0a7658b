"""Runs jobs: from waiting to running, and to the end or to the next attempt."""

import logging
import random
import socket
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from middlewared import CallError, Context, Date
from middlewared.access import SYSTEM
from middlewared.clock import Clock
from middlewared.pieces import is_large
from middlewared.sendqueue import Importance
from middlewared.tasks import Tasks
from middlewared_jobs.aborting import Aborting
from middlewared_jobs.announcement import Announcement
from middlewared_jobs.announcer import Announcer
from middlewared_jobs.body import run_body
from middlewared_jobs.deadlines import Deadlines
from middlewared_jobs.deadlock import check_deadlock
from middlewared_jobs.ending import Aborted, Delivered, Ended, Failed, Succeeded
from middlewared_jobs.exits import exit_of
from middlewared_jobs.jobfiles import JobFiles
from middlewared_jobs.joblog import log_size
from middlewared_jobs.largeresult import keep_large
from middlewared_jobs.ledger import Ledger
from middlewared_jobs.lockqueue import LockQueue, Queued
from middlewared_jobs.outcome import (
    ServerStopped,
    WorkerLost,
    encode_large_result,
    encode_result,
    record_aborted,
    record_attempt,
    record_failure,
    record_success,
)
from middlewared_jobs.phase import Phase
from middlewared_jobs.processes import Processes
from middlewared_jobs.recorder import end_pause, take_notes
from middlewared_jobs.removal import Removal
from middlewared_jobs.retrying import may_retry
from middlewared_jobs.roster import Roster
from middlewared_jobs.run import Run
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.spec import Kind
from middlewared_jobs.states import State, check_move
from middlewared_jobs.timetable import Timetable
from middlewared_jobs.tracking import Tracker

__all__ = ["Attempts"]

logger = logging.getLogger(__name__)

NODE = socket.gethostname()
# Looking a member up in its enum takes 0.1 us.
RUNNING, MOVE, PROCESS = State.RUNNING, Importance.MOVE, Kind.PROCESS
FIRST = Phase.RUNNING


class Attempts:
    """Starts what may start, runs bodies, records how they ended.

    Each move is written first and announced once it is committed, in order.

    Args:
        context: for the owner of tasks.
        roster: the jobs that there are.
        queue: those that wait for a lock, a limit or a slot.
        processes: gives children to process jobs.
        tracker: prepares later attempts.
        ledger: writes them.
        announcer: tells of them.
        settings: their limits.
        files: where their logs are.
    """

    def __init__(
        self,
        context: Context,
        roster: Roster,
        queue: LockQueue,
        processes: Processes,
        tracker: Tracker,
        ledger: Ledger,
        announcer: Announcer,
        settings: JobSettings,
        files: JobFiles,
    ) -> None:
        self._roster = roster
        self._queue = queue
        self._processes = processes
        self._tracker = tracker
        self._ledger = ledger
        self._announcer = announcer
        self._settings = settings
        self._clock = context.get(Clock)  # type: ignore[type-abstract]  # by protocol
        self._tasks = context.get(Tasks)
        self._files = files
        self._threads = anyio.CapacityLimiter(settings.thread_jobs)
        self._timetable = Timetable(self._clock, self._due)
        self._deadlines = Deadlines(self._expire)
        self._chance = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self.aborting = Aborting(self._tasks, settings.abort_grace)

    # Waiting.

    def count_waiting(self) -> int:
        """Count the jobs that wait, or help somebody wait."""
        return len(self._queue) + len(self._timetable) + len(self._roster.helpers)

    def wait_turn(self, run: Run) -> None:
        """Let a job wait for its time, its lock, its limits and its slot."""
        if self._timetable.is_early(run):
            self._timetable.add(run)
            return
        held = self._roster.stopping or self._roster.draining
        if not held and self._queue.pass_by(run):
            self._launch(run)
            return
        run.queued = True
        self._queue.add(run)
        self.start_next()

    def _due(self, run: Run) -> None:
        if not self._roster.stopping:
            self.wait_turn(run)

    def leave(self, run: Run) -> None:
        """Take a waiting job out, wherever it waits."""
        if self._timetable.remove(run):
            return
        if self._processes.forget(run):
            self._queue.release(run)
        elif run.queued:
            run.queued = False
            self._queue.remove(run)

    def forget(self, run: Run) -> None:
        """Give back what a job holds that could not be accepted."""
        if self._roster.leave(run):
            self._queue.release(run)
            self._processes.release(run)
        elif not run.record.transient:
            self.leave(run)

    # From waiting to running.

    def start_next(self) -> None:
        """Start every job that has its lock and its slot."""
        while not self._roster.stopping:
            run = self._take()
            if run is None:
                return
            assert isinstance(run, Run)  # noqa: S101 - only runs are added
            run.queued = False
            self._launch(run)

    def _launch(self, run: Run) -> None:
        """Start a job that has its lock and its slot, as soon as it has its child."""
        if run.kind is PROCESS:
            self._processes.equip(run, partial(self._equipped, run))
        else:
            self.start(run)

    def lend(self, parent: Run, child: Run) -> bool:
        """Let other jobs have the slot of one that only waits for *child*.

        Returns:
            Whether it runs; then `take_back` has to follow.

        Raises:
            CallError: EDEADLK, it would wait for ever.
        """
        helps = parent in self._roster.helpers
        if helps and parent.record.parent is None and child is not parent:
            return False  # a client waits, and nobody for it
        if not (helps or parent in self._roster.running):
            return False
        check_deadlock(parent, child, self._roster, self._queue)
        parent.awaits += (child,)
        if len(parent.awaits) == 1 and not helps:
            self._queue.lend(parent)
            if parent.kind is Kind.THREAD:
                self._threads.total_tokens += 1
        self.start_next()
        return True

    def take_back(self, parent: Run, child: Run) -> None:
        """Undo one `lend`: it waits for one job less."""
        place = parent.awaits.index(child)  # it may wait for a job several times
        parent.awaits = parent.awaits[:place] + parent.awaits[place + 1 :]
        if not parent.awaits and not parent.spec.helper:
            self._queue.take_back(parent)
            if parent.kind is Kind.THREAD:
                self._threads.total_tokens -= 1

    def _take(self) -> Queued | None:
        roster = self._roster
        if not roster.draining:
            return self._queue.take()
        for run in roster.needed():
            if run.queued and self._queue.take_past(run):
                return run
        return None

    @property
    def idle(self) -> bool:
        """Whether nothing runs or is about to."""
        return not self._roster.running and not self._processes.starting

    def _equipped(self, run: Run, exc: Exception | None) -> None:
        """Start a job that has its child; until then it waits, with lock and slot."""
        if self._roster.stopping:
            self._processes.release(run)  # it waits for the next start
        elif exc is None:
            self.start(run)
        else:
            # No attempt has begun that another one could follow.
            self._roster.running.add(run)
            self.fail(run, exc)

    def start(self, run: Run) -> None:
        """Begin the next attempt of a job; its body runs once that is committed."""
        record = run.record
        check_move(record.state, RUNNING)
        if record.attempt:
            self._tracker.renew(run)
        record.state = RUNNING
        record.attempt += 1
        record.phase = _first_phase(run)
        record.node = NODE
        if record.run_at is not None:  # to set a field takes longer than to look
            record.run_at = None
        now = run.started_at = Date(self._clock.time_ms())
        if record.time_started is None:
            record.time_started = now
        if run.spec.logs:
            record.logs_path = str(self._files.log(run.id))
            run.log_start = _log_size(run)
        running = self._roster.helpers if run.spec.helper else self._roster.running
        running.add(run)
        event = self._announcer.event(run, "changed", now, MOVE)
        if run.accepted:
            self._ledger.insist(run, event, self._started)
        else:
            self._ledger.write(run, partial(self._accepted, run, event))

    def _accepted(self, run: Run, event: Announcement, exc: Exception | None) -> None:
        """Tell of a row that says RUNNING; it is the first one, unless one waited."""
        if not run.accepted:
            run.accepting(exc)
        elif exc is not None:
            self._ledger.insist(run, event, self._started)
        if exc is None and run.accepted:
            self._started(run, event)

    def _started(self, run: Run, event: Announcement) -> None:
        self._announcer.publish(event)
        name = f"job {run.id} {run.record.method}"
        self._tasks.start(self._run(run, run.record.attempt), name=name)

    async def _run(self, run: Run, attempt: int) -> None:
        self._deadlines.begin(run)
        ended: Ended = Aborted()
        if not run.job.aborted:
            ended = await run_body(run, self._threads, self._settings.max_log)
        try:
            if isinstance(ended, Succeeded):
                ended = await self._encoded(run, ended.value)
            self._end(run, attempt, ended)
        except Exception as exc:
            # A result or an error that breaks its recording: never left RUNNING.
            logger.exception("the end of job %d could not be recorded", run.id)
            if not run.record.final:
                self.fail(run, exc)

    def _expire(self, run: Run, error: CallError) -> None:
        """Ask a body to end that took too long."""
        if run.record.state is State.RUNNING and run.record.abort is None:
            run.expired = error
            self.aborting.begin(run)
            self._abort_children(run, SYSTEM.username, "took too long")

    # From running to the end, or to the next attempt.

    def _end(self, run: Run, attempt: int, ended: Delivered | Failed | Aborted) -> None:
        """Record how a body ended; the rest follows the commit."""
        self._deadlines.end(run)
        self._processes.release(run)
        record = run.record
        if record.state is not RUNNING or record.attempt != attempt:
            return  # it was ended without its body, by a stop that could not wait
        now = self._clock.time_ms()
        take_notes(run, self._settings)
        if run.paused_at is not None:
            end_pause(run)
        if isinstance(ended, Delivered):
            result = ended.result
            run.clear = result.clear
            exit_ = exit_of(record, run.spec.counts, run.exit)
            record_success(record, result, exit_, now)
            self._finish(run)
            return
        error = self._error_of(run, ended)
        if error is None:
            record_aborted(record, now)
            self._finish(run)
        elif self._may_go_on(run, error):
            self._try_again(run, error)
        else:
            self.fail(run, error)
        if not self._roster.stopping:  # else the next start does it
            what = "was aborted" if error is None else "failed"
            self._abort_children(run, SYSTEM.username, what)

    async def _encoded(self, run: Run, value: Any) -> Delivered:
        """Encode what a body returned; a large result is in its file afterwards."""
        results, limit = run.method.results, self._settings.max_result
        if is_large(value):
            encode = partial(encode_large_result, value, results, limit)
            result = await anyio.to_thread.run_sync(encode)
        else:
            result = encode_result(value, results, limit)
        if result.large is not None:
            path, reserve = self._files.result(run.id), self._settings.disk_reserve
            keep = partial(keep_large, result, path, reserve)
            result = await anyio.to_thread.run_sync(keep)
        return Delivered(result)

    def _error_of(self, run: Run, ended: Aborted | Failed) -> BaseException | None:
        """Say what failed a body that did not return; None when it was aborted."""
        if isinstance(ended, Failed):
            return ended.error
        if run.record.abort is not None:
            return None
        if run.expired is not None:
            return run.expired
        if self._roster.stopping:
            return ServerStopped("the server stopped")
        return None

    def _may_go_on(self, run: Run, error: BaseException) -> bool:
        record = run.record
        if record.abort is not None or record.transient or run.plumbing is not None:
            return False  # what went through pipes is not there any more
        if isinstance(error, ServerStopped):
            return run.spec.requeue
        return may_retry(record, error, requeue=run.spec.requeue)

    def _try_again(self, run: Run, error: BaseException) -> None:
        """Let a job wait for its next attempt; its lock is free meanwhile."""
        record, now = run.record, self._clock.time_ms()
        logger.info("attempt %d of job %d failed: %s", record.attempt, run.id, error)
        wait = 0.0
        if not isinstance(error, (ServerStopped, WorkerLost)):
            chance = self._chance.random()
            wait = run.spec.backoff.seconds(record.attempt, chance)
        self._keep_attempt(run, error, now)
        check_move(record.state, State.WAITING)
        record.state, record.phase = State.WAITING, Phase.RETRYING
        record.run_at = Date(now + int(wait * 1000)) if wait else None
        event = self._announcer.event(run, "changed", Date(now))
        self._ledger.insist(run, event, self._waits_again)

    def _waits_again(self, run: Run, event: Announcement) -> None:
        self._announcer.publish(event)
        if self._roster.leave(run):
            self._queue.release(run)
        if not run.record.final and not self._roster.stopping:
            self.wait_turn(run)
        self.start_next()

    def fail(self, run: Run, error: BaseException) -> None:
        """End a job with an error."""
        now = self._clock.time_ms()
        run.error = error
        if run.record.attempts and run.record.state is State.RUNNING:
            self._keep_attempt(run, error, now)
        record_failure(run.record, error, self._settings, now)
        logger.info("job %d %s failed: %s", run.id, run.record.method, run.record.error)
        self._finish(run)

    def _keep_attempt(self, run: Run, error: BaseException, now: int) -> None:
        log = (run.log_start, _log_size(run))
        record_attempt(run.record, error, self._settings, run.started_at, now, log)

    def abort(self, run: Run, by: str, reason: str | None = None) -> None:
        """Ask a job to end, and the jobs that its body started; one that waits does so.

        Args:
            run: the job; nothing happens when it has ended.
            by: who wants it.
            reason: why, when nobody asked for it by itself.
        """
        record = run.record
        if record.final:
            return
        self.aborting.note(run, by, self._clock.time_ms(), reason)
        if record.state is State.WAITING:
            self._abort_waiting(run)
        else:
            self.aborting.begin(run)
            self._ledger.write(run, None)
        self._abort_children(run, by, "was aborted")

    def _abort_waiting(self, run: Run) -> None:
        self.leave(run)
        record_aborted(run.record, self._clock.time_ms())
        self._finish(run)

    def _abort_children(self, run: Run, by: str, what: str) -> None:
        """Abort the jobs that a body started which does not end well."""
        for child in self._roster.children(run):
            self.abort(child, by, f"job {run.id}, which started it, {what}")

    def _finish(self, run: Run) -> None:
        if run.plumbing is not None:
            run.plumbing.close_body_ends()
        ended = run.record.time_finished
        assert ended is not None  # noqa: S101 - it has just been recorded
        final = self._announcer.event(run, "changed", ended)
        self._roster.ending.add(run)
        self._ledger.insist(run, final, self._finished)

    def _finished(self, run: Run, final: Announcement) -> None:
        if not run.accepted:
            run.accepting(None)  # it ended before it ever started
        self._announcer.publish(final)
        if run.waiters:
            waiters, run.waiters = run.waiters, ()
            for answer in waiters:
                answer()
        run.finish()
        roster = self._roster
        roster.ending.discard(run)
        roster.figures.note_end(run.record)
        if roster.leave(run):
            self._queue.release(run)
        if run.record.transient:
            self._forget_later(run)
        else:
            roster.remove(run)
        self.start_next()

    def _forget_later(self, run: Run) -> None:
        async def forget() -> None:
            await anyio.sleep(self._settings.transient_ttl)
            self._roster.remove(run)
            record = run.record
            gone = Removal(record.id, record.owner, record.method)
            self._announcer.announce_forgotten([gone])
            await anyio.to_thread.run_sync(self._files.remove, [run.id])

        self._tasks.start(forget(), name=f"forget job {run.id}")

    def close(self) -> None:
        """Start nothing any more whose time comes."""
        self._timetable.close()


def _first_phase(run: Run) -> Phase:
    if run.record.attempt > 1:
        return Phase.RETRIED
    return Phase.RESTARTED if run.record.is_restart else FIRST


def _log_size(run: Run) -> int:
    path = run.record.logs_path
    return 0 if path is None else log_size(Path(path))
