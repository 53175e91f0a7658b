"""The job manager: accepts calls, runs jobs in order, records and announces them."""

import asyncio
import errno
import logging
import uuid
from collections.abc import Iterable
from functools import partial
from typing import Any

import anyio
import msgspec

from middlewared import FULL_ADMIN, CallError, Context, Credentials, Date, ejson
from middlewared.access import SYSTEM
from middlewared.clock import Clock
from middlewared.dispatch import Call
from middlewared.events import EventBus
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared.sendqueue import Importance
from middlewared.tasks import Tasks
from middlewared_auth import Accounts
from middlewared_jobs.aborting import Aborting
from middlewared_jobs.adopted import adopt, release
from middlewared_jobs.announcer import Announcer, take_progress
from middlewared_jobs.body import run_body
from middlewared_jobs.current_job import Job
from middlewared_jobs.declared import description_of, lock_of, spec_of
from middlewared_jobs.ending import Aborted, Delivered, Ended, Failed, Succeeded
from middlewared_jobs.history import History
from middlewared_jobs.ids import JobIds
from middlewared_jobs.joining import find_to_join
from middlewared_jobs.lockqueue import LockQueue
from middlewared_jobs.outcome import (
    ServerStopped,
    abort_error,
    encode_result,
    encoding_error,
    rebuild_error,
    record_aborted,
    record_failure,
    record_success,
)
from middlewared_jobs.processes import Processes, count_slots
from middlewared_jobs.record import JobRecord, snapshot_credentials
from middlewared_jobs.recovery import Recovered, rights_of
from middlewared_jobs.run import Run
from middlewared_jobs.seal import Seal
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.spec import JobSpec, Kind
from middlewared_jobs.states import State, check_move
from middlewared_jobs.store import JobStore

__all__ = ["Jobs"]

logger = logging.getLogger(__name__)

#: Seconds before a write that failed is tried again; the job's end is not lost.
RETRY_SECONDS = 1.0
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
        stopping: nothing new is accepted or started; so it is before `resume`, too.
    """

    def __init__(
        self,
        context: Context,
        store: JobStore,
        settings: JobSettings,
        ids: JobIds,
        seal: Seal,
    ) -> None:
        self.live: dict[int, Run] = {}
        self.history = History(store, self._listed)
        self.stopping = True
        self._context = context
        self._clock = context.get(Clock)  # type: ignore[type-abstract]  # by protocol
        self._tasks = context.get(Tasks)
        self._store = store
        self._settings = settings
        self._ids = ids
        self._seal = seal
        self._logs = context.settings.data_path / "logs"
        self._queue = LockQueue(
            {
                Kind.LOOP: settings.async_jobs,
                Kind.THREAD: settings.thread_jobs,
                Kind.PROCESS: count_slots(settings),
            }
        )
        self._processes = Processes(context, settings)
        self._threads = anyio.CapacityLimiter(settings.thread_jobs)
        self._announcer = Announcer(context.get(EventBus), store, settings)
        self._running: set[Run] = set()
        self._helpers: set[Run] = set()
        self._aborting = Aborting(self._tasks, settings.abort_grace)
        self._idle = anyio.Event()

    def _listed(self) -> Iterable[JobRecord]:
        return [run.record for run in self.live.values() if run.accepted]

    # From a call to a waiting job.

    def accept(self, call: Call) -> None:
        """Make a job of a call; its answer follows, by the session's answer style.

        The id leaves the server only after the job is committed.

        Raises:
            CallError: EBUSY, the lock, the queue or a stopping server refuses it.
        """
        if self.stopping:
            raise CallError("No jobs are accepted while the server stops", errno.EBUSY)
        if len(self._queue) + len(self._helpers) >= self._settings.max_waiting:
            raise CallError(
                f"{self._settings.max_waiting} jobs wait already", errno.EBUSY
            )
        spec = spec_of(call.method)
        lock = lock_of(spec, call.values)
        arguments = ejson.encode(call.values)
        if lock is not None:
            joined = find_to_join(self._queue, call, spec, lock)
            if joined is not None:
                assert isinstance(joined, Run)  # noqa: S101 - only runs are queued
                self._join(joined, call)
                return
        run = self._make_run(call, spec, lock, arguments)
        if not run.record.transient:
            run.params = self._stored_params(run)
        self._enqueue(run, call)

    def _make_run(
        self, call: Call, spec: JobSpec, lock: str | None, arguments: bytes
    ) -> Run:
        number, mark = self._ids.take()
        if mark is not None:
            self._store.reserve_ids(mark, partial(self._reserved, mark))
        who = call.credentials
        record = JobRecord(
            id=number,
            uid=str(uuid.uuid4()),
            message_ids=[] if not call.id else [call.message_id],
            method=call.method.name,
            arguments=msgspec.Raw(arguments),
            transient=spec.transient,
            description=description_of(spec, call.values),
            abortable=spec.abortable,
            time_created=Date(self._clock.time_ms()),
            credentials=snapshot_credentials(who),
            owner=None if who is None else who.account_id,
            lock=lock,
        )
        return self._track(record, call.method, spec, call.values, who)

    def _track(
        self,
        record: JobRecord,
        method: Method,
        spec: JobSpec,
        values: list[Any],
        who: Credentials | None,
    ) -> Run:
        context = Context(self._context.services, None, who)
        changed: list[Run] = []
        job = Job(record, context, lambda: self._announcer.progress_changed(changed[0]))
        run = Run(record, method, spec, values, None, job)
        job._adopter = partial(adopt, run, self._save)
        job._releaser = partial(release, run)
        changed.append(run)
        return run

    def _reserved(self, mark: int, exc: Exception | None) -> None:
        if exc is None:
            self._ids.committed = max(self._ids.committed, mark)

    def _stored_params(self, run: Run) -> bytes:
        if run.spec.secret:
            return self._seal.close(ejson.encode(run.values, clear=True))
        return bytes(run.record.arguments)

    def _enqueue(self, run: Run, call: Call) -> None:
        """Write a new job; in the same row as running, when it may start at once."""
        self.live[run.id] = run
        if call.session is not None:
            run.insiders.add(call.session)
        added = self._announcer.event(run, "added")
        run.accepting = partial(self._accepted, run, call, added)
        if run.record.transient:
            self._enqueue_transient(run)
            return
        self._queue.add(run)
        self._start_next()
        if run.record.state is State.WAITING:
            self._save(run, run.accepting)

    def _enqueue_transient(self, run: Run) -> None:
        """Wait for the commit of its id block only."""

        def known(exc: Exception | None) -> None:
            run.accepting(exc)
            if exc is not None or self.stopping:
                return
            if run.spec.helper:
                self._start(run)
            else:
                self._queue.add(run)
                self._start_next()

        if run.id < self._ids.committed:
            known(None)
        else:
            self._store.flush(known)

    def _accepted(
        self, run: Run, call: Call, added: Any, exc: Exception | None
    ) -> None:
        if exc is not None:
            self._refused(run, call, exc)
            return
        run.accepted = True
        self._announcer.publish(added)
        self._answer_accepted(run, call)
        for joining in run.joining:
            self._join(run, joining)
        run.joining.clear()

    def _answer_accepted(self, run: Run, call: Call) -> None:
        if call.legacy_jobs:
            call.finish_encoded(b"%d" % run.id)
        elif run.record.final:
            self._answer_end(run, call)
        else:
            run.calls.append(call)

    def _refused(self, run: Run, call: Call, exc: Exception) -> None:
        """Forget a job that could not be written: nobody has its id."""
        logger.error("a job of %s could not be written: %s", run.record.method, exc)
        self.live.pop(run.id, None)
        if run in self._running:
            self._running.discard(run)
            self._queue.release(run)
            self._processes.release(run)
        elif not run.record.transient:
            self._leave_queue(run)
        for refused in (call, *run.joining):
            refused.fail(_not_written(exc))
        self._start_next()

    def _join(self, run: Run, call: Call) -> None:
        """Let a call share a waiting job: one more message id, one more waiter."""
        if not run.accepted:
            run.joining.append(call)
            return
        if call.id:
            run.record.message_ids.append(call.message_id)
        if call.session is not None:
            run.insiders.add(call.session)
        event = self._announcer.event(run, "changed")

        def saved(exc: Exception | None) -> None:
            if exc is not None:
                call.fail(_not_written(exc))
                return
            self._announcer.publish(event)
            self._answer_accepted(run, call)

        self._save(run, saved)

    # From waiting to running.

    def _start_next(self) -> None:
        """Start every job that has its lock and its slot."""
        while not self.stopping:
            run = self._queue.take()
            if run is None:
                return
            assert isinstance(run, Run)  # noqa: S101 - only runs are added
            if run.kind is Kind.PROCESS:
                self._processes.equip(run, partial(self._equipped, run))
            else:
                self._start(run)

    def _equipped(self, run: Run, exc: Exception | None) -> None:
        """Start a job that has its child; until then it waits, with lock and slot."""
        if self.stopping:
            self._processes.release(run)  # it waits for the next start
        elif exc is None:
            self._start(run)
        else:
            self._running.add(run)
            self._end(run, Failed(exc))

    def _leave_queue(self, run: Run) -> None:
        """Take a waiting job out, whether it waits for its turn or for its child."""
        if self._processes.forget(run):
            self._queue.release(run)
        else:
            self._queue.remove(run)

    def account_changed(self, account_id: int) -> None:
        """Abort what a removed account left waiting, in the name of the system."""
        if self._context.get(Accounts).get(account_id) is not None:
            return
        for run in list(self.live.values()):
            record = run.record
            if record.owner == account_id and record.state is State.WAITING:
                self.abort(run, SYSTEM.username)

    def _start(self, run: Run) -> None:
        record = run.record
        check_move(record.state, State.RUNNING)
        record.state = State.RUNNING
        record.attempt += 1
        if record.time_started is None:
            record.time_started = Date(self._clock.time_ms())
        if run.spec.logs:
            record.logs_path = str(self._logs / f"{run.id}.log")
        (self._helpers if run.spec.helper else self._running).add(run)
        running = self._announcer.event(run, "changed", Importance.MOVE)

        def saved(exc: Exception | None) -> None:
            if not run.accepted:
                run.accepting(exc)
                if exc is not None:
                    return
            if exc is not None:
                self._retry(lambda: self._save(run, saved))
                return
            self._announcer.publish(running)
            self._tasks.start(self._run(run), name=f"job {run.id} {record.method}")

        self._save(run, saved)

    def _save(self, run: Run, saved: Any) -> None:
        if run.record.transient:
            saved(None)
        else:
            self._store.save(run.record, run.params, saved)

    def _retry(self, again: Any) -> None:
        async def later() -> None:
            await anyio.sleep(RETRY_SECONDS)
            again()

        self._tasks.start(later(), name="retry of a write")

    async def _run(self, run: Run) -> None:
        ended: Ended = Aborted()
        if not run.job.aborted:
            ended = await run_body(run, self._threads)
        try:
            self._end(run, ended)
        except Exception as exc:
            # A result or an error that breaks its recording: never left RUNNING.
            logger.exception("the end of job %d could not be recorded", run.id)
            if not run.record.final:
                self._fail(run, exc, self._clock.time_ms())
                self._finish(run)

    # From running to the end.

    def _end(self, run: Run, ended: Ended) -> None:
        """Record how the body ended; the rest follows the commit."""
        self._processes.release(run)
        if run.record.final:
            return  # it was ended without its body, by a stop that could not wait
        record, now = run.record, self._clock.time_ms()
        take_progress(run, self._settings.max_progress_extra)
        if isinstance(ended, (Succeeded, Delivered)):
            result = (
                ended.result
                if isinstance(ended, Delivered)
                else encode_result(
                    ended.value, run.method.results, self._settings.max_result
                )
            )
            run.clear = result.clear
            record_success(record, result, now)
        elif isinstance(ended, Aborted):
            if self.stopping and record.abort is None:
                self._fail(run, ServerStopped("the server stopped"), now)
            else:
                record_aborted(record, now)
        else:
            self._fail(run, ended.error, now)
        self._finish(run)

    def _fail(self, run: Run, exc: BaseException, now: int) -> None:
        run.error = exc
        record_failure(run.record, exc, self._settings, now)
        logger.info("job %d %s failed: %s", run.id, run.record.method, run.record.error)

    def _finish(self, run: Run) -> None:
        final = self._announcer.event(run, "changed")
        self._save(run, partial(self._finished, run, final))

    def _finished(self, run: Run, final: Any, exc: Exception | None) -> None:
        if exc is not None:
            logger.error("the end of job %d could not be written: %s", run.id, exc)
            again = partial(self._finished, run, final)
            self._retry(lambda: self._save(run, again))
            return
        if not run.accepted:
            run.accepting(None)  # it ended before it ever started
        self._announcer.publish(final)
        for call in run.calls:
            self._answer_end(run, call)
        run.calls.clear()
        run.ended.set_result(run.record)
        if run in self._running:
            self._running.discard(run)
            self._queue.release(run)
        self._helpers.discard(run)
        if run.record.transient:
            self._forget_later(run)
        else:
            del self.live[run.id]
        self._start_next()
        if not self._running:
            self._idle.set()

    def _answer_end(self, run: Run, call: Call) -> None:
        record = run.record
        if record.state is State.ABORTED:
            call.fail(abort_error(record))
        elif record.state is State.FAILED:
            self._answer_failure(run, call)
        elif run.clear is None:
            call.fail(encoding_error(record))
        else:
            call.finish_encoded(run.clear)

    def _answer_failure(self, run: Run, call: Call) -> None:
        if run.error is not None:
            try:
                call.fail(run.error)
            except Exception:  # noqa: BLE001 - an author's exception without a text
                logger.debug("the error of job %d cannot be sent", run.id)
            else:
                return
        call.fail(rebuild_error(run.record))

    def _forget_later(self, run: Run) -> None:
        async def forget() -> None:
            await anyio.sleep(self._settings.transient_ttl)
            self.live.pop(run.id, None)
            if run.record.logs_path is not None:
                await anyio.Path(run.record.logs_path).unlink(missing_ok=True)

        self._tasks.start(forget(), name=f"forget job {run.id}")

    # What others ask for.

    def abort(self, run: Run, by: str, *, force: bool = False) -> None:
        """Ask a job to end; one that waits ends at once.

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
        self._aborting.note(run, by, self._clock.time_ms())
        if record.state is State.WAITING:
            self._leave_queue(run)
            record_aborted(record, self._clock.time_ms())
            self._finish(run)
        else:
            self._aborting.begin(run)

    async def wait(self, number: int) -> JobRecord | None:
        """Wait until a job's end is committed; None when there is no such job.

        Safe to cancel: the job goes on.
        """
        run = self.live.get(number)
        if run is None or not run.accepted:
            return await self._store.get(number)
        # Shielded: a waiter that is cancelled must not cancel what others wait for.
        return await asyncio.shield(run.ended)

    async def get(self, number: int) -> JobRecord | None:
        """Give one job as it is now, None when there is none."""
        run = self.live.get(number)
        if run is not None and run.accepted:
            return run.record
        return await self._store.get(number)

    # Starting and stopping.

    def _roles_of(self, owner: int | None) -> frozenset[str]:
        """Give the roles that the owner of a job holds today."""
        if owner is None:
            return frozenset({FULL_ADMIN})
        account = self._context.get(Accounts).get(owner)
        return frozenset() if account is None else account.roles

    def resume(self, waiting: Iterable[Recovered]) -> None:
        """Begin to accept jobs; queue what an earlier start left, in its order."""
        self.stopping = False
        methods = self._context.get(Registry).methods
        for recovered in waiting:
            record = recovered.stored.record
            method = methods[record.method]
            run = self._track(
                record,
                method,
                spec_of(method),
                recovered.values,
                rights_of(record, self._roles_of(record.owner)),
            )
            run.params = recovered.stored.params
            run.accepted = True
            self.live[run.id] = run
            self._queue.add(run)
        self._start_next()

    async def drain(self, grace: float) -> bool:
        """Accept and start nothing more; give what runs *grace* seconds to end.

        What waits stays waiting. What does not end is aborted and recorded as FAILED
        with type ServerStopped; a thread that ignores it is recorded so, too.

        Returns:
            False when a thread still runs.
        """
        self.stopping = True
        await self._wait_idle(grace)
        for run in list(self._running):
            self._aborting.cancel(run)
        await self._wait_idle(STOP_SECONDS)
        for run in self._running:
            self._aborting.kill(run)
        await self._wait_idle(STOP_SECONDS)
        left = [run for run in self._running if not run.record.final]
        for run in left:
            stuck = ServerStopped("the server stopped, its thread still ran")
            self._fail(run, stuck, self._clock.time_ms())
            self._finish(run)
        await self._wait_idle(STOP_SECONDS)
        for run in list(self._helpers):
            unanswered = ServerStopped("the server stopped before the job ended")
            self._fail(run, unanswered, self._clock.time_ms())
            self._finish(run)
        self._store.reserve_ids(self._ids.next, None)
        return not left

    async def close(self) -> None:
        """End the child processes."""
        await self._processes.close()

    async def _wait_idle(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._running:
                self._idle = anyio.Event()
                await self._idle.wait()


def _not_written(exc: Exception) -> CallError:
    return CallError(f"The job could not be written: {exc}", errno.EIO)
