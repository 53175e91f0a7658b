"""From a wish to a job that waits: an id, a row on disk, and only then an answer."""

import errno
import logging
from functools import partial

import msgspec

from middlewared import CallError, Credentials, Date, ejson
from middlewared.clock import Clock
from middlewared_jobs.announcement import Announcement
from middlewared_jobs.announcer import Announcer
from middlewared_jobs.attempts import Attempts
from middlewared_jobs.declared import lock_of, spec_of
from middlewared_jobs.ids import JobIds
from middlewared_jobs.insiders import Insiders
from middlewared_jobs.joining import find_to_join
from middlewared_jobs.ledger import Ledger
from middlewared_jobs.lockqueue import LockQueue
from middlewared_jobs.options import DEFAULT
from middlewared_jobs.phase import Phase
from middlewared_jobs.plumbing import check_pipes
from middlewared_jobs.record import (
    CoreGetJobsItemCredentials,
    JobRecord,
    snapshot_credentials,
)
from middlewared_jobs.roster import Roster
from middlewared_jobs.run import Run
from middlewared_jobs.seal import Seal
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.spec import JobSpec
from middlewared_jobs.states import State
from middlewared_jobs.store import JobStore
from middlewared_jobs.submission import NotAccepted, Submission
from middlewared_jobs.tracking import Tracker, apply_spec, carried_steps
from middlewared_jobs.uids import Uids

__all__ = ["Admission"]

logger = logging.getLogger(__name__)

UNSET = msgspec.UNSET
# Looking a member up in its enum takes 0.1 us.
WAITING = State.WAITING

#: A login, and what history shows of it.
_Snapshot = tuple[Credentials | None, CoreGetJobsItemCredentials | None]


class Admission:
    """Makes jobs of wishes; an id leaves the server only after its job is committed.

    Args:
        roster: the jobs that there are.
        queue: those that wait.
        tracker: makes runs.
        attempts: starts them.
        ledger: writes them.
        announcer: tells of them.
        store: keeps the ids.
        ids: to give out.
        seal: for params with secrets.
        clock: for the time of creation.
        settings: how many may wait.
    """

    def __init__(
        self,
        roster: Roster,
        queue: LockQueue,
        tracker: Tracker,
        attempts: Attempts,
        ledger: Ledger,
        announcer: Announcer,
        store: JobStore,
        ids: JobIds,
        seal: Seal,
        clock: Clock,
        settings: JobSettings,
    ) -> None:
        self._roster = roster
        self._queue = queue
        self._tracker = tracker
        self._attempts = attempts
        self._ledger = ledger
        self._announcer = announcer
        self._store = store
        self._ids = ids
        self._seal = seal
        self._clock = clock
        self._settings = settings
        self._uids = Uids()
        self._last: _Snapshot | None = None

    def accept(self, wish: Submission) -> None:
        """Make a job of a wish, or let it share one; the wish is told later.

        Raises:
            NotAccepted: the queue is full, the server stops or is drained.
            CallError: EBUSY, the lock refuses it.
        """
        if self._roster.stopping:
            raise NotAccepted("No jobs are accepted while the server stops")
        if self._attempts.count_waiting() >= self._settings.max_waiting:
            raise NotAccepted(f"{self._settings.max_waiting} jobs wait already")
        spec, roster = spec_of(wish.method), self._roster
        needed = spec.helper or roster.is_needed(wish.parent)
        if roster.draining and not needed:
            raise NotAccepted("No jobs are accepted, the server is drained")
        check_pipes(spec, wish.plumbing)
        lock = lock_of(spec, wish.values)
        if lock is not None:
            joined = find_to_join(self._queue, wish, spec, lock)
            if joined is not None:
                self.share(joined, wish)
                return
        run = self._make_run(wish, spec, lock)
        if not run.record.transient:
            run.params = self._stored_params(run)
        self._enqueue(run, wish)

    def share(self, run: Run, wish: Submission) -> None:
        """Let a wish share an unfinished job: one more message id, one more waiter."""
        if not run.accepted:
            run.joining += (wish,)
            return
        if wish.message_id is not UNSET:
            run.record.message_ids.append(wish.message_id)
        now = Date(self._clock.time_ms())
        event = self._announcer.event(run, "changed", now)

        def saved(exc: Exception | None) -> None:
            if exc is not None:
                if wish.message_id is not UNSET:
                    run.record.message_ids.remove(wish.message_id)
                wish.asker.refused(_not_written(exc))
                return
            if run.insiders is not None:
                run.insiders.add(wish.session, wish.credentials)
            self._announcer.publish(event)
            wish.asker.accepted(wish, run)

        self._ledger.write(run, saved)

    def _make_run(self, wish: Submission, spec: JobSpec, lock: str | None) -> Run:
        arguments = ejson.encode(self._tracker.show(spec, wish.values))
        number, mark = self._ids.take()
        if mark is not None:
            self._store.reserve_ids(mark, partial(self._reserved, mark))
        record = self._record(wish, spec, number, arguments)
        if lock is not None:
            record.lock = lock
        if wish.options is not DEFAULT:
            self._choose(record, wish)
        if wish.restarts is not None:
            _continue(record, wish.restarts, spec)
        run = self._tracker.track(record, wish.method, wish.values, wish.credentials)
        if wish.plumbing is not None:
            run.plumbing = wish.plumbing
        return run

    def _record(
        self, wish: Submission, spec: JobSpec, number: int, arguments: bytes
    ) -> JobRecord:
        who, asked = wish.credentials, wish.message_id
        record = JobRecord(
            id=number,
            uid=self._uids.take(),
            message_ids=[] if asked is UNSET else [asked],
            method=wish.method.name,
            arguments=msgspec.Raw(arguments),
            time_created=Date(self._clock.time_ms()),
            credentials=self._snapshot(who),
            owner=None if who is None else who.account_id,
            instance=number,
        )
        # What most jobs have not is not passed: that takes longer than setting it.
        if wish.parent is not None:
            record.parent = wish.parent
        if wish.schedule is not None:
            record.schedule = wish.schedule
        apply_spec(record, spec, wish.values)
        return record

    def _snapshot(self, who: Credentials | None) -> CoreGetJobsItemCredentials | None:
        """Keep of a login what history shows; mostly it is that of the job before."""
        if self._last is None or self._last[0] is not who:
            self._last = who, snapshot_credentials(who)
        return self._last[1]

    def _choose(self, record: JobRecord, wish: Submission) -> None:
        """Put into a record what the caller chose."""
        options = wish.options
        for name in ("priority", "timeout", "retries", "description"):
            value = getattr(options, name)
            if value is not None:
                setattr(record, name, value)
        record.run_at = options.run_at
        record.tracking_id = options.tracking_id
        record.app_id = options.app_id
        record.source_customer = options.source_customer
        record.target_customer = options.target_customer
        record.attributes = dict(options.attributes)
        if options.scopes is not None:
            record.scopes = list(options.scopes)
        if options.key is not None:
            record.key = options.key
            record.key_digest = self.digest(wish)

    def digest(self, wish: Submission) -> str:
        """Give a keyed hash of the params, to tell whether two wishes are equal."""
        defaults = wish.method.params.defaults[len(wish.values) :]
        return self._seal.digest(ejson.encode([*wish.values, *defaults], clear=True))

    def _reserved(self, mark: int, exc: Exception | None) -> None:
        if exc is None:
            self._ids.committed = max(self._ids.committed, mark)

    def _stored_params(self, run: Run) -> bytes:
        if run.spec.secret:
            return self._seal.close(ejson.encode(run.values, clear=True))
        return bytes(run.record.arguments)

    def _enqueue(self, run: Run, wish: Submission) -> None:
        """Write a new job; in the same row as running, when it may start at once."""
        self._roster.add(run)
        if wish.method.results.secret:
            run.insiders = Insiders()
            run.insiders.add(wish.session, wish.credentials)
        added = self._announcer.event(run, "added", run.record.time_created)
        run.accepting = partial(self._accepted, run, wish, added)
        if run.record.transient:
            self._enqueue_transient(run)
            return
        self._attempts.wait_turn(run)
        if run.record.state is WAITING:
            self._ledger.write(run, run.accepting)

    def _enqueue_transient(self, run: Run) -> None:
        """Wait for the commit of its id block only."""

        def known(exc: Exception | None) -> None:
            run.accepting(exc)
            if exc is not None or self._roster.stopping or run.record.final:
                return  # whoever asked may have ended it when it was accepted
            if run.spec.helper:
                self._attempts.start(run)
            else:
                self._attempts.wait_turn(run)

        if run.id < self._ids.committed:
            known(None)
        else:
            self._store.flush(known)

    def _accepted(
        self, run: Run, wish: Submission, added: Announcement, exc: Exception | None
    ) -> None:
        run.settle()
        if exc is not None:
            self._refuse(run, wish, exc)
            return
        run.accepted = True
        self._announcer.publish(added)
        wish.asker.accepted(wish, run)
        if run.joining:
            joining, run.joining = run.joining, ()
            for other in joining:
                self.share(run, other)

    def _refuse(self, run: Run, wish: Submission, exc: Exception) -> None:
        """Forget a job that could not be written: nobody has its id."""
        logger.error("a job of %s could not be written: %s", run.record.method, exc)
        self._roster.remove(run)
        self._attempts.forget(run)
        for refused in (wish, *run.joining):
            refused.asker.refused(_not_written(exc))
        self._attempts.start_next()


def _continue(record: JobRecord, earlier: JobRecord, spec: JobSpec) -> None:
    """Make a new record go on where an earlier job ended."""
    record.is_restart, record.phase = True, Phase.RESTARTING
    record.restart_of = earlier.id
    record.instance = earlier.instance or earlier.id
    record.steps = carried_steps(spec, earlier, record.id)
    record.counts = record.counts | earlier.counts
    record.checkpoint = earlier.checkpoint
    record.scopes = list(earlier.scopes)
    for name in ("tracking_id", "app_id", "source_customer", "target_customer"):
        if getattr(record, name) is None:
            setattr(record, name, getattr(earlier, name))
    record.attributes = earlier.attributes | record.attributes


def _not_written(exc: Exception) -> CallError:
    return CallError(f"The job could not be written: {exc}", errno.EIO)
