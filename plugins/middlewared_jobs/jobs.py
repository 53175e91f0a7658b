"""The job manager: one object for everything that others ask of jobs."""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from middlewared import FULL_ADMIN, CallError, Context, Credentials, Date
from middlewared.access import SYSTEM
from middlewared.audit import OK, Trail
from middlewared.call import Call
from middlewared.clock import Clock
from middlewared.events import EventBus
from middlewared.registry import Registry
from middlewared.sendqueue import Importance
from middlewared.shutdown import Shutdown
from middlewared.tasks import Tasks
from middlewared_auth import Accounts
from middlewared_jobs.access import check_own
from middlewared_jobs.admission import Admission
from middlewared_jobs.announcer import Announcer
from middlewared_jobs.answering import answer_accepted
from middlewared_jobs.askers import Caller, Waiter
from middlewared_jobs.attempts import Attempts
from middlewared_jobs.change import change_of
from middlewared_jobs.draining import Draining
from middlewared_jobs.history import History
from middlewared_jobs.ids import JobIds
from middlewared_jobs.jobfiles import JobFiles
from middlewared_jobs.journal import Journal
from middlewared_jobs.ledger import Ledger
from middlewared_jobs.lockqueue import LockQueue
from middlewared_jobs.notes import ItemError
from middlewared_jobs.options import JobUpdate
from middlewared_jobs.outcome import ServerStopped
from middlewared_jobs.phase import Phase
from middlewared_jobs.processes import Processes, count_slots
from middlewared_jobs.record import JobRecord
from middlewared_jobs.recovery import Recovered, rights_of
from middlewared_jobs.removal import Removal
from middlewared_jobs.roster import Roster
from middlewared_jobs.run import Run
from middlewared_jobs.seal import Seal
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.spec import Kind
from middlewared_jobs.states import State
from middlewared_jobs.store import JobStore
from middlewared_jobs.submission import Submission, submission_of
from middlewared_jobs.tracking import Tracker
from middlewared_jobs.wrapping import wrap

__all__ = ["Jobs"]

#: Seconds that bodies get between an abort and the end of a stopping server.
STOP_SECONDS = 1.0


class Jobs:
    """Every unfinished job, and the way of each from its call to its end.

    In memory is the truth about unfinished jobs; each move is written first and
    announced once it is committed, in order. `accept` is the runner of deferred
    methods.

    Attributes:
        history: queries over all jobs.
        live: unfinished jobs and listed transient ones, by id.
        figures: how many ended, and how.
        draining: lets what runs end, and nothing else begin.
        restarting: held from the look whether a job may be restarted until it is.
    """

    def __init__(
        self,
        context: Context,
        store: JobStore,
        journal: Journal,
        settings: JobSettings,
        ids: JobIds,
        seal: Seal,
        files: JobFiles,
    ) -> None:
        clock: Clock = context.get(Clock)  # type: ignore[type-abstract]  # by protocol
        self._context = context
        self._clock = clock
        self._store = store
        self._ids = ids
        self._files = files
        self._roster = Roster()
        self.live = self._roster.live
        self.figures = self._roster.figures
        self.history = History(store, self._listed, self._roster.settle)
        self._ledger = Ledger(store, journal, clock, context.get(Tasks))
        self._announcer = Announcer(
            context.get(EventBus),
            self._ledger,
            journal,
            store,
            context.get(Registry),
            clock,
            settings,
        )
        self._tracker = Tracker(
            context,
            clock,
            settings,
            self._announcer.noted,
            self._ledger.write,
            partial(wrap, self),
        )
        self._processes = Processes(context, settings)
        queue = LockQueue(
            {
                Kind.LOOP: settings.async_jobs,
                Kind.THREAD: settings.thread_jobs,
                Kind.PROCESS: count_slots(settings),
            }
        )
        self._attempts = Attempts(
            context,
            self._roster,
            queue,
            self._processes,
            self._tracker,
            self._ledger,
            self._announcer,
            settings,
            files,
        )
        self._admission = Admission(
            self._roster,
            queue,
            self._tracker,
            self._attempts,
            self._ledger,
            self._announcer,
            store,
            ids,
            seal,
            clock,
            settings,
        )
        self.draining = Draining(self._roster, self._attempts, context.get(Shutdown))
        self._trail = context.get(Trail)
        self._answer_call = self._answer  # bound once
        self.restarting = anyio.Lock()

    def _listed(self) -> Iterable[JobRecord]:
        return [run.record for run in self.live.values() if run.accepted]

    # New jobs.

    def accept(self, call: Call) -> None:
        """Make a job of a call; its answer follows, by the session's answer style.

        The id leaves the server only after the job is committed.

        Raises:
            CallError: EBUSY, the lock, the queue or a stopping server refuses it.
        """
        asker = Caller(call, self._trail, self._answer_call)
        self._admission.accept(submission_of(call, asker))

    def _answer(self, call: Call, wish: Submission, run: Run) -> None:
        """Answer a call that has its job; until then its client may give it up."""
        waits = wish.parent is not None and not call.legacy_jobs
        if waits and not self._lend(call, run, wish.parent):
            return
        answer_accepted(call, run)
        if not (call.legacy_jobs or run.record.final):
            call.on_cancel(partial(self._give_up, call, run))

    def _lend(self, call: Call, run: Run, parent_id: int | None) -> bool:
        """Let a job have the slot of the one whose body waits for it.

        Returns:
            False when it would wait for ever: then the call has failed, and the job is
            aborted, unless it is another's that the call joined.
        """
        parent = None if parent_id is None else self.live.get(parent_id)
        if parent is None or run.record.final:
            return True
        try:
            if self._attempts.lend(parent, run):
                run.waiters += (partial(self._attempts.take_back, parent, run),)
        except CallError as exc:
            if run.record.parent == parent_id:
                self._attempts.abort(run, SYSTEM.username, exc.text)
            call.fail(exc)
            return False
        return True

    def _give_up(self, call: Call, run: Run) -> None:
        who, session = call.credentials, call.session
        with contextlib.suppress(CallError):  # it is another's, or cannot be aborted
            check_own(who, run.record)
            self.abort(run, "the server" if who is None else who.username)
            self._trail.note(
                "CALL",
                OK,
                who=who,
                origin=None if session is None else session.origin,
                method="core.job_abort",
                params=b"[%d]" % run.id,
            )

    async def submit(self, wish: Submission) -> JobRecord:
        """Make a job of a wish, and give its record once it is committed.

        With a key that the owner used before for this method, it is the job of then,
        whatever became of it. Not undone by cancelling: the job is then still made.

        Raises:
            CallError: EBUSY, it is refused; EEXIST, the key names a job that had other
                params; EIO, it could not be written.
        """
        key = wish.options.key
        if key is None:
            return await self._enter(wish, self._admission.accept)
        found = await self._find_by_key(wish, key)
        if found is not None:
            return found
        try:
            return await self._enter(wish, self._admission.accept)
        except CallError:
            # Another call with the key may have come and gone while the store was read.
            found = await self._find_by_key(wish, key)
            if found is None:
                raise
            return found

    async def _enter(
        self, wish: Submission, enter: Callable[[Submission], None]
    ) -> JobRecord:
        outcome: asyncio.Future[JobRecord] = asyncio.get_running_loop().create_future()
        wish.asker = Waiter(outcome, self._trail)
        enter(wish)
        return await outcome

    async def _find_by_key(self, wish: Submission, key: str) -> JobRecord | None:
        found = await self.find_key(wish.credentials, wish.method.name, key)
        run = None if found is None else self.live.get(found.id)
        if found is None:
            return None
        if found.key_digest != self._admission.digest(wish):
            raise CallError(
                f"Key {key!r} names job {found.id} already, which had other params",
                errno.EEXIST,
            )
        if wish.restarts is not None and found.restart_of != wish.restarts.id:
            raise CallError(
                f"Key {key!r} names job {found.id} already, which is no restart of "
                f"job {wish.restarts.id}",
                errno.EEXIST,
            )
        if run is not None and not run.accepted:
            return await self._enter(wish, partial(self._admission.share, run))
        return found

    async def find_key(
        self, who: Credentials | None, method: str, key: str
    ) -> JobRecord | None:
        """Give the job that a caller chose a key for, accepted or about to be."""
        place = (None if who is None else who.account_id, method, key)
        stored = None
        if place not in self._roster.keys:
            stored = await self._store.find_key(*place)
        # Looked at again: another call with the key may have come meanwhile.
        run = self._roster.keys.get(place)
        return stored if run is None else run.record

    # What others ask for.

    def abort(
        self, run: Run, by: str, *, reason: str | None = None, force: bool = False
    ) -> None:
        """Ask a job to end, and the jobs that its body started; one that waits does so.

        Raises:
            CallError: EPERM, it runs and is not abortable.
        """
        record = run.record
        if record.final:
            return
        if record.state is State.RUNNING and not (record.abortable or force):
            raise CallError(
                f"Job {run.id} of {record.method} cannot be aborted while it runs",
                errno.EPERM,
            )
        self._attempts.abort(run, by, reason)

    def pause(self, run: Run) -> None:
        """Let a job wait before its next step; nothing happens when it does already.

        Raises:
            CallError: EOPNOTSUPP, its method is not pausable; EBUSY, it does not run,
                or is about to end.
        """
        record = run.record
        if not record.pausable:
            raise CallError(
                f"Job {run.id} of {record.method} cannot be paused", errno.EOPNOTSUPP
            )
        if record.phase in (Phase.PAUSING, Phase.PAUSED):
            return
        if record.state is not State.RUNNING or record.phase is Phase.ABORTING:
            raise CallError(
                f"Job {run.id} is {record.phase}, expected one that runs", errno.EBUSY
            )
        self._set_gate(run, paused=True)
        record.phase = Phase.PAUSING
        self._changed(run)

    def unpause(self, run: Run) -> None:
        """Let a paused job go on.

        Raises:
            CallError: EBUSY, it is not paused.
        """
        record = run.record
        if record.phase not in (Phase.PAUSING, Phase.PAUSED):
            raise CallError(
                f"Job {run.id} is {record.phase}, expected one that is paused",
                errno.EBUSY,
            )
        stands = record.phase is Phase.PAUSED
        record.phase = Phase.RESUMING if stands else Phase.RESUMED
        self._set_gate(run, paused=False)
        self._changed(run)

    def _set_gate(self, run: Run, *, paused: bool) -> None:
        gate = run.job._gate
        if paused:
            gate.close()
        else:
            gate.open()
        if run.child is not None:
            run.child.pause(paused=paused)

    def _changed(self, run: Run) -> None:
        """Write and tell what somebody else than the body changed."""
        now = Date(self._clock.time_ms())
        event = self._announcer.event(run, "changed", now, Importance.NEWEST)
        self._ledger.write(run, lambda _: self._announcer.publish(event))

    def update(self, run: Run, update: JobUpdate) -> None:
        """Set progress or description of a running job, as its body would.

        Raises:
            CallError: EBUSY, it does not run.
        """
        if run.record.state is not State.RUNNING:
            raise CallError(
                f"Job {run.id} is {run.record.state}, expected one that runs",
                errno.EBUSY,
            )
        progress = update.progress
        if progress is not None:
            run.job.set_progress(progress.percent, progress.description, progress.extra)
        if update.description is not None:
            run.job.set_description(update.description)

    async def delete(self, record: JobRecord) -> None:
        """Remove an ended job from history, with its log.

        Raises:
            CallError: EBUSY, it has not ended.
        """
        if not record.final or record.id in self.live:
            raise CallError(
                f"Job {record.id} is {record.state}, expected one that has ended",
                errno.EBUSY,
            )
        await self.remove([Removal(record.id, record.owner, record.method)])

    async def remove(self, gone: Sequence[Removal]) -> None:
        """Remove ended jobs from history, with their logs and results, and tell so.

        Raises:
            StoreError: they could not be removed.
        """
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def removed(exc: Exception | None) -> None:
            if outcome.done():
                return
            if exc is None:
                outcome.set_result(None)
            else:
                outcome.set_exception(exc)

        self._announcer.announce_removed(gone, removed)
        await outcome
        numbers = [removal.id for removal in gone]
        await anyio.to_thread.run_sync(self._files.remove, numbers)

    async def wait_written(self) -> None:
        """Wait until what was asked for so far is on disk, or was refused by it."""
        answered = anyio.Event()
        self._store.flush(lambda _: answered.set())
        await answered.wait()

    def written_logs(self) -> list[Path]:
        """Give the logs of the jobs that run."""
        records = [run.record for run in self._roster.running]
        return [Path(r.logs_path) for r in records if r.logs_path is not None]

    async def wait(self, number: int) -> JobRecord | None:
        """Wait until a job's end is committed; None when there is no such job.

        Safe to cancel: the job goes on.
        """
        run = self.live.get(number)
        if run is None or not run.accepted:
            return await self._store.get(number)
        # Shielded: a waiter that is cancelled must not cancel what others wait for.
        return await asyncio.shield(run.ended)

    async def wait_for(self, parent: Run, number: int) -> JobRecord | None:
        """Wait for another job in a body, whose slot that one may have meanwhile.

        Safe to cancel: the job goes on.

        Raises:
            CallError: EDEADLK, that one cannot end before the one that waits.
        """
        other = self.live.get(number)
        if (
            other is None
            or other.record.final
            or not self._attempts.lend(parent, other)
        ):
            return await self.wait(number)
        try:
            return await self.wait(number)
        finally:
            self._attempts.take_back(parent, other)

    async def get(self, number: int) -> JobRecord | None:
        """Give one job as it is now, None when there is none.

        An end is shown once it is on disk.
        """
        if self.live.get(number) in self._roster.ending:
            await self._roster.settle()
        run = self.live.get(number)
        if run is not None and run.accepted:
            return run.record
        return await self._store.get(number)

    async def item_errors(
        self, number: int, offset: int, limit: int
    ) -> Sequence[ItemError]:
        """Give items that a job could not do, in order; what is written by now."""
        run = self.live.get(number)
        if run is not None and run.record.transient:
            return run.item_errors[offset : offset + limit]
        return await self._store.item_errors(number, offset, limit)

    def account_changed(self, account_id: int) -> None:
        """Abort what a removed account left waiting, in the name of the system."""
        if self._context.get(Accounts).get(account_id) is not None:
            return
        for run in list(self.live.values()):
            record = run.record
            if record.owner == account_id and record.state is State.WAITING:
                self.abort(run, SYSTEM.username)

    # Starting and stopping.

    def _roles_of(self, owner: int | None) -> frozenset[str]:
        """Give the roles that the owner of a job holds today."""
        if owner is None:
            return frozenset({FULL_ADMIN})
        account = self._context.get(Accounts).get(owner)
        return frozenset() if account is None else account.roles

    def rights_of(self, record: JobRecord) -> Credentials | None:
        """Give the rights of a job's owner, as they are today."""
        return rights_of(record, self._roles_of(record.owner))

    def resume(self, waiting: Iterable[Recovered]) -> None:
        """Begin to accept jobs; queue what an earlier start left, in its order."""
        methods = self._context.get(Registry).methods
        runs = []
        for recovered in waiting:
            record = recovered.stored.record
            run = self._tracker.track(
                record, methods[record.method], recovered.values, self.rights_of(record)
            )
            run.params = recovered.stored.params
            run.accepted, run.told = True, change_of(record)
            self._roster.add(run)
            runs.append(run)
        for run in runs:
            self._attempts.wait_turn(run)
        self._roster.stopping = False
        self._attempts.start_next()

    async def drain(self, grace: float) -> bool:
        """Accept and start nothing more; give what runs *grace* seconds to end.

        What waits stays waiting. What does not end is aborted and recorded as FAILED
        with type ServerStopped, or waits for its next attempt when its method says
        ``on_worker_lost="requeue"``; a thread that ignores it is recorded so, too.

        Returns:
            False when a thread still runs.
        """
        roster, aborting = self._roster, self._attempts.aborting
        roster.stopping = True
        self._attempts.close()
        await roster.wait_idle(grace)
        for run in list(roster.running):
            aborting.cancel(run)
        await roster.wait_idle(STOP_SECONDS)
        for run in roster.running:
            aborting.kill(run)
        await roster.wait_idle(STOP_SECONDS)
        left = [run for run in roster.running if not run.record.final]
        for run in left:
            stuck = ServerStopped("the server stopped, its thread still ran")
            self._attempts.fail(run, stuck)
        await roster.wait_idle(STOP_SECONDS)
        for run in list(roster.helpers):
            unanswered = ServerStopped("the server stopped before the job ended")
            self._attempts.fail(run, unanswered)
        self._store.reserve_ids(self._ids.next, None)
        return not left

    async def close(self) -> None:
        """End the child processes."""
        await self._processes.close()
