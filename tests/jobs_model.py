"""What the job manager is to do, in the simplest words: a model for `jobs_cued`."""

import errno
from typing import Any

import msgspec
from jobs_cued import LIMITS, METHODS, SLOTS, STEPS, Kind

__all__ = ["Model", "ModelJob", "Refused"]

FINAL = ("SUCCESS", "FAILED", "ABORTED")
#: Lost workers after which a job is not run again.
MAX_LOST = 10


class Refused(Exception):
    """The model refuses a call, with this error number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class ModelJob(msgspec.Struct, kw_only=True):
    """A job as the model knows it.

    Attributes:
        turn: its place among those that wait; None until its time has come.
        awaits: its body has started a job that the test has not seen yet.
        tries: attempts that are on record as failed.
        doomed: its timeout is so short that each attempt exceeds it.
    """

    id: int
    method: str
    tag: int
    lock: str
    state: str = "WAITING"
    attempt: int = 0
    priority: int = 0
    run_at: int = 0
    turn: int | None = None
    key: str | None = None
    instance: int = 0
    restart_of: int | None = None
    parent: int | None = None
    awaits: bool = False
    child: int | None = None
    done: list[str] = []
    pause: str | None = None
    tries: int = 0
    lost: int = 0
    retries: int = 0
    doomed: bool = False
    error: str | None = None

    @property
    def kind(self) -> Kind:
        return METHODS[self.method]

    @property
    def final(self) -> bool:
        return self.state in FINAL

    def shown(self) -> tuple[Any, ...]:
        """Give what is to be seen from outside."""
        return (self.state, self.attempt, self.tries, self.error, self.pause)


class Model:
    """All jobs, and the moves between their states."""

    def __init__(self) -> None:
        self.jobs: dict[int, ModelJob] = {}
        self.gone: set[int] = set()
        self.ran: list[tuple[int, int]] = []
        self.stepped: list[tuple[int, int, str]] = []
        self.now = 0
        self._turns = 0

    def of(self, *states: str) -> list[ModelJob]:
        """Give the jobs in some states, by id."""
        return [job for _, job in sorted(self.jobs.items()) if job.state in states]

    # Admission.

    def find_key(self, method: str, tag: int, lock: str, key: str) -> ModelJob | None:
        """Give the job that a key names already."""
        for job in self.jobs.values():
            if (job.method, job.key) == (method, key):
                if (job.tag, job.lock) != (tag, lock):
                    raise Refused(errno.EEXIST)
                return job
        return None

    def find_joined(
        self, method: str, tag: int, lock: str, *, plain: bool
    ) -> ModelJob | None:
        """Give the job that a call joins, None when it makes one."""
        size = METHODS[method].queue_size
        if size is None:
            return None
        waiting = self._waiting_for(lock)
        runs = [j for j in self.of("RUNNING") if j.kind.lock and j.lock == lock]
        if size == 0 and (waiting or runs):
            raise Refused(errno.EBUSY)
        if size == 0 or len(waiting) < size:
            return None
        for job in reversed(waiting):
            if plain and (job.method, job.tag) == (method, tag):
                return job
        raise Refused(errno.EBUSY)

    def _waiting_for(self, lock: str) -> list[ModelJob]:
        found = [
            job
            for job in self.of("WAITING")
            if job.kind.lock and job.lock == lock and job.turn is not None
        ]
        return sorted(found, key=lambda job: job.turn or 0)

    def add(self, job: ModelJob) -> None:
        """Take a new job in."""
        assert job.id not in self.jobs
        assert job.id not in self.gone, "an id was used again"
        assert job.id > max((*self.jobs, *self.gone), default=0), "an id is too low"
        self.jobs[job.id] = job
        job.instance = job.instance or job.id
        self._line_up(job)
        self.settle()

    def _line_up(self, job: ModelJob) -> None:
        job.turn = None
        if job.run_at <= self.now:
            job.turn = self._turns = self._turns + 1

    # Running.

    def settle(self) -> None:
        """Start what may start."""
        while (job := self._next()) is not None:
            self._start(job)

    def _next(self) -> ModelJob | None:
        ready = [job for job in self.of("WAITING") if self._may_start(job)]
        return min(ready, key=lambda job: (-job.priority, job.id), default=None)

    def _may_start(self, job: ModelJob) -> bool:
        kind, running = job.kind, self.of("RUNNING")
        if job.turn is None:
            return False
        if kind.lock and self._waiting_for(job.lock)[0] is not job:
            return False
        if kind.lock and any(r.kind.lock and r.lock == job.lock for r in running):
            return False
        # Who waits for its child lends its slot.
        slots = [r for r in running if r.child is None]
        if sum(r.kind.where == kind.where for r in slots) >= SLOTS[kind.where]:
            return False
        same = [r for r in running if r.method == job.method]
        if kind.max_running is not None and len(same) >= kind.max_running:
            return False
        return not kind.bounded or sum(r.lock == job.lock for r in same) < LIMITS

    def _start(self, job: ModelJob) -> None:
        job.state, job.turn, job.pause = "RUNNING", None, None
        job.attempt += 1
        self.ran.append((job.id, job.attempt))
        job.awaits, job.child = job.kind.child or job.kind.leaves, None
        if job.kind.steps:
            self._step(job)
        if job.doomed:
            self.fail(job, "CallError")

    def _step(self, job: ModelJob) -> None:
        """Go to the next step; a pause may hold the job before it."""
        left = [name for name in STEPS if name not in job.done]
        if job.pause == "pausing" and job.done:
            job.pause = "paused"
        elif left:
            self.stepped.append((job.id, job.attempt, left[0]))
        else:
            self._end(job, "SUCCESS")

    def _end(self, job: ModelJob, state: str, error: str | None = None) -> None:
        assert not job.final
        job.state, job.turn, job.pause, job.error = state, None, None, error
        job.awaits = False
        if state != "SUCCESS":
            self._abort_children(job)
        if job.parent is not None:
            self._tell_parent(job)
        self.settle()

    def _abort_children(self, job: ModelJob) -> None:
        """Abort what a body started that does not end well."""
        for child in list(self.jobs.values()):
            if child.parent == job.id and not child.final:
                self.abort(child, force=True)

    def _tell_parent(self, job: ModelJob) -> None:
        parent = self.jobs.get(job.parent or 0)
        if parent is None or parent.child != job.id:
            return
        parent.child = None
        if job.state != "SUCCESS" and parent.state == "RUNNING":
            self.fail(parent, "?")

    def obey(self, job: ModelJob, cue: str) -> None:
        """Let a body do as it is told."""
        if cue == "invalid":
            self.fail(job, "VALIDATION")
        elif cue == "fail":
            self.fail(job, "CallError")
        elif job.kind.steps:
            done = next(name for name in STEPS if name not in job.done)
            job.done = [*job.done, done]
            if len(job.done) == len(STEPS):
                self._end(job, "SUCCESS")
            else:
                self._step(job)
        else:
            self._end(job, "SUCCESS")

    def fail(self, job: ModelJob, error: str, *, again: bool | None = None) -> None:
        """End an attempt; another one may follow."""
        if again is None:
            again = error != "VALIDATION" and job.attempt <= job.retries
        if again or job.tries:
            job.tries += 1
        if not again:
            self._end(job, "FAILED", error)
            return
        job.state, job.pause, job.awaits, job.child = "WAITING", None, False, None
        waits = error not in ("WorkerLost", "ServerStopped")
        job.run_at = 0
        if waits and job.kind.wait:
            job.run_at = self.now + int(job.kind.wait * 1000) * 2 ** (job.attempt - 1)
        self._line_up(job)
        self._abort_children(job)
        self.settle()

    # What others ask for.

    def abort(self, job: ModelJob, *, force: bool) -> None:
        """Abort a job, and those that its body started."""
        if job.final:
            return
        if job.state == "RUNNING" and not (job.kind.abortable or force):
            raise Refused(errno.EPERM)
        job.child = None
        if job.state == "WAITING" or job.kind.on_abort == "end":
            self._end(job, "ABORTED")
        elif job.kind.on_abort == "return":
            self._end(job, "SUCCESS")
        else:
            self.fail(job, "ValueError", again=False)
        self._abort_children(job)

    def set_pause(self, job: ModelJob) -> None:
        """Let a job wait before its next step."""
        if not job.kind.pausable:
            raise Refused(errno.EOPNOTSUPP)
        if job.pause is None:
            if job.state != "RUNNING":
                raise Refused(errno.EBUSY)
            job.pause = "pausing"

    def unpause(self, job: ModelJob) -> None:
        """Let a paused job go on."""
        if job.pause is None:
            raise Refused(errno.EBUSY)
        paused, job.pause = job.pause == "paused", None
        if paused:
            self._step(job)

    def check_restart(self, job: ModelJob) -> None:
        """Refuse what cannot be restarted."""
        if not job.final:
            raise Refused(errno.EBUSY)
        if not job.kind.restart_limit:
            raise Refused(errno.EOPNOTSUPP)
        if job.state == "SUCCESS":
            raise Refused(errno.EALREADY)
        later = [
            j.id
            for j in self.jobs.values()
            if j.restart_of and j.instance == job.instance
        ]
        if any(number > job.id for number in later):
            raise Refused(errno.ESTALE)
        if len(later) >= job.kind.restart_limit:
            raise Refused(errno.EDQUOT)

    def delete(self, job: ModelJob) -> None:
        """Forget an ended job."""
        if not job.final:
            raise Refused(errno.EBUSY)
        del self.jobs[job.id]
        self.gone.add(job.id)

    # Time, stops and crashes.

    def advance(self, milliseconds: int) -> None:
        """Let time pass; what is due lines up in the order of its times."""
        self.now += milliseconds
        due = [
            job
            for job in self.of("WAITING")
            if job.turn is None and job.run_at <= self.now
        ]
        for job in sorted(due, key=lambda job: (job.run_at, job.id)):
            self._line_up(job)
            self.settle()

    def halt(self, error: str) -> None:
        """End what runs, by a stop or a crash; nothing starts."""
        crash = error == "WorkerLost"
        running = self.of("RUNNING")
        self._frozen(running)
        for job in running:
            if crash or job.kind.on_abort == "end":
                again = job.kind.requeue and (not crash or job.lost < MAX_LOST)
                job.lost += crash
                self._halt_one(job, error, again=again)
            elif job.kind.on_abort == "return":
                job.state = "SUCCESS"
            else:
                self._halt_one(job, "ValueError", again=False)
        self._abort_orphans()

    def _abort_orphans(self) -> None:
        """Abort what waits of bodies that did not come to a good end."""
        for job in self.of("WAITING"):
            parent = self.jobs.get(job.parent or 0)
            if parent is not None and parent.state != "SUCCESS":
                job.state, job.turn = "ABORTED", None

    def _frozen(self, running: list[ModelJob]) -> None:
        for job in running:
            job.pause, job.awaits, job.child = None, False, None

    def _halt_one(self, job: ModelJob, error: str, *, again: bool) -> None:
        if again or job.tries:
            job.tries += 1
        if again:
            job.state, job.run_at, job.turn = "WAITING", 0, None
        else:
            job.state, job.error = "FAILED", error

    def learn(self, number: int, record: Any) -> None:
        """Take over what the store says of a job that was touched by a crash.

        Args:
            number: the job.
            record: from the store.
        """
        job = self.jobs.get(number)
        if job is None:
            tag, lock = (*msgspec.json.decode(record.arguments), "x")[:2]
            job = ModelJob(
                id=number, method=record.method.removeprefix("m."), tag=tag, lock=lock
            )
            assert number not in self.gone
            self.jobs[number] = job
        job.state, job.attempt = str(record.state), record.attempt
        job.run_at = record.run_at.ms if record.run_at is not None else 0
        job.priority, job.retries = record.priority, record.retries
        job.parent, job.key = record.parent, record.key
        job.instance, job.restart_of = record.instance, record.restart_of
        job.doomed = record.timeout is not None
        job.tries = len(record.attempts)
        job.lost = sum(a.exc_info.type == "WorkerLost" for a in record.attempts)
        job.error = None if record.exc_info is None else record.exc_info.type
        job.done = [step.name for step in record.steps if step.state == "SUCCESS"]
        job.turn = job.pause = job.child = None
        job.awaits = False

    def resume(self) -> None:
        """Start again: what waits lines up by id."""
        for job in self.of("WAITING"):
            self._line_up(job)
        self.settle()
