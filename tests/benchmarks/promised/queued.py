"""Fourth promise: locks, limits, slots and a bound hold jobs back; moves are legal."""

import errno
from pathlib import Path
from typing import Any

from benchmarks.commits import COLUMNS, Job, Write
from benchmarks.promised.owned import Owned
from benchmarks.promised.typed import SETTINGS
from benchmarks.sketch import NODE, RUNNING, SUCCESS, WAITING, Change, now

from middlewared import Date
from middlewared.errors import CallError
from middlewared.inserts import Insert
from middlewared_jobs.declared import limits_of, lock_of
from middlewared_jobs.lockqueue import LockQueue
from middlewared_jobs.record import JobRecord
from middlewared_jobs.spec import Kind
from middlewared_jobs.states import check_move

__all__ = ["Queued"]

LOCKED = Insert("jobs", (*COLUMNS, "lock"))
START = (
    "UPDATE jobs SET state = 'RUNNING', phase = 'running', attempt = 1, node = ?, "
    "time_started = ?, time_modified = ? WHERE id = ?"
)


class Queued(Owned):
    """A job waits for its lock, its limits and its slot.

    Attributes:
        queue: those that wait.
        stopping: no more are accepted or started.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.queue = LockQueue(dict.fromkeys(Kind, SETTINGS.async_jobs))
        self.stopping = False

    def accept(self, job: Job) -> None:
        """Write a job down, unless too many wait."""
        if self.stopping or len(self.queue) >= SETTINGS.max_waiting:
            raise CallError("No more jobs are accepted", errno.EBUSY)
        spec = job.spec
        job.lock = lock_of(spec, job.values)
        job.limits = limits_of(job.method, spec, job.values)
        job.priority = spec.priority
        if job.lock is None or self.find_room(job):
            super().accept(job)

    def find_room(self, job: Job) -> bool:
        """Let a job pass that may wait for its lock.

        Raises:
            CallError: EBUSY, so many do already.
        """
        size, lock = job.spec.lock_queue_size, job.lock or ""
        if size is None or not self.queue.is_busy(lock):
            return True
        if self.queue.count_waiting(lock) >= size:
            raise CallError(f"Lock {lock!r} has enough jobs", errno.EBUSY)
        return True

    def may_run(self, job: Job) -> bool:
        """Tell whether a job may run at once; else it waits."""
        if self.queue.pass_by(job):
            check_move(job.item.state, RUNNING)
            return True
        self.queue.add(job)
        return False

    def write_new(self, write: Write) -> None:
        """Write the first row of a job."""
        super().write_new(write)
        job = write.job
        if job.lock is not None and write.new is not None:
            write.other = (LOCKED, (*write.new, job.lock))
            write.new = None
        if job.item.state is WAITING:
            self.start_next()  # it may be the first in line

    def start_next(self) -> None:
        """Start those whose turn it is."""
        while not self.stopping and (job := self.queue.take()) is not None:
            self._start(job)

    def _start(self, job: Any) -> None:
        item, at = job.item, now()
        check_move(item.state, RUNNING)
        item.state, item.time_started = RUNNING, Date(at)
        write = Write(self.resumed, job, other=(START, (NODE, at, at, job.id)))
        ids = item.message_ids
        change = Change(ids, Date(at), "RUNNING", Date(at), 1, "running", NODE)
        self.move(write, "changed", at, change)
        self.writes.put(write)

    def resumed(self, write: Write) -> None:
        """Tell, and begin the body, of a job that waited."""
        self.publish(write.told[0])
        self.launch(write.job)

    def end(self, job: Job, result: bytes) -> None:
        """Write the end of a job that returned."""
        check_move(job.item.state, SUCCESS)
        super().end(job, result)

    def settle(self, job: Job, record: JobRecord) -> None:
        """Write the end of a job that did not come out as most do."""
        super().settle(job, record)
        if job.item.time_started is None:
            self.queue.remove(job)

    def forget_job(self, job: Job, why: str) -> None:
        """Say that there is no job after all."""
        self._release(job)
        super().forget_job(job, why)

    def over(self, write: Write) -> None:
        """Tell that a job has ended, and let others have what it held."""
        super().over(write)
        self._release(write.job)

    def _release(self, job: Job) -> None:
        if job.item.time_started is not None:
            self.queue.release(job)
        if len(self.queue):
            self.start_next()
