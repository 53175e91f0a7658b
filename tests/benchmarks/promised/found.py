"""Seventh promise: a job is found by its id, shared, waited for, aborted."""

import asyncio
import errno
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.commits import Job, Write
from benchmarks.promised.counted import Counted
from benchmarks.sketch import RUNNING, WAITING, Change, encode, now

from middlewared import Date
from middlewared.errors import CallError
from middlewared_jobs.ids import BLOCK
from middlewared_jobs.record import CoreGetJobsItem, JobRecord

__all__ = ["Found"]

RESERVE = "UPDATE job_ids SET next = ?"
SHARE = "UPDATE jobs SET message_ids = ?, time_modified = ? WHERE id = ?"


class Found(Counted):
    """In memory is the truth about unfinished jobs.

    Attributes:
        live: unfinished jobs, by id.
        in_flight: those whose call is not answered yet, by client and id of the call.
        ending: those whose end is being written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.live: dict[int, Job] = {}
        self.in_flight: dict[tuple[Any, bytes], Job] = {}
        self.ending: set[int] = set()
        self._reserved = 0

    # The way of a job.

    def write_new(self, write: Write) -> None:
        """Write the first row of a job."""
        job = write.job
        if job.id >= self._reserved:
            # Never used again, whatever becomes of the rows; on disk before the id is.
            self._reserved = job.id + BLOCK
            mark = (RESERVE, (self._reserved,))
            self.writes.put(Write(_nothing, job, other=mark))
        self.live[job.id] = job
        self.in_flight[job.caller, job.number] = job
        super().write_new(write)

    def answered(self, job: Job) -> None:
        """Note that a call can be given up no more."""
        place = job.caller, job.number
        if self.in_flight.get(place) is job:  # else its id was used again
            del self.in_flight[place]

    def begun(self, write: Write) -> None:
        """Answer, tell, and begin the body."""
        self.answered(write.job)
        super().begun(write)

    def end(self, job: Job, result: bytes) -> None:
        """Write the end of a job that returned."""
        self.ending.add(job.id)
        super().end(job, result)

    def settle(self, job: Job, record: JobRecord) -> None:
        """Write the end of a job that did not come out as most do."""
        self.ending.add(job.id)
        super().settle(job, record)

    def forget_job(self, job: Job, why: str) -> None:
        """Say that there is no job after all."""
        self.answered(job)
        self.live.pop(job.id, None)
        super().forget_job(job, why)

    def over(self, write: Write) -> None:
        """Tell that a job has ended, and forget it."""
        super().over(write)
        job = write.job
        del self.live[job.id]
        self.ending.discard(job.id)
        for waiter in job.waiters:
            waiter()

    # What others ask for.

    def abort(self, number: int, by: str) -> None:
        """Ask a job to end; one that waits does so.

        Raises:
            CallError: EPERM, it runs and is not abortable.
        """
        job = self.live.get(number)
        if job is None or number in self.ending:
            return
        if job.item.state is RUNNING and not job.spec.abortable:
            raise CallError(f"Job {number} cannot be aborted", errno.EPERM)
        job.aborted = by
        if job.item.state is WAITING:
            self.end_aborted(job)
        elif job.scope is not None:
            job.seen.aborted = True
            job.scope.cancel()

    async def wait(self, number: int) -> CoreGetJobsItem | None:
        """Wait until the end of a job is committed; None when there is no such job."""
        job = self.live.get(number)
        if job is None:
            return None
        ended = asyncio.Event()
        job.waiters += (ended.set,)
        await ended.wait()
        return job.item

    def find_room(self, job: Job) -> bool:
        """Tell whether a job may wait for its lock; else its call shares another."""
        try:
            return super().find_room(job)
        except CallError:
            waiting = self.queue.waiting_for(job.lock or "")
            for other in map(self.live.__getitem__, [one.id for one in waiting]):
                if other.method is job.method and other.values == job.values:
                    self._share(other, job)
                    return False
            raise

    def _share(self, shared: Job, job: Job) -> None:
        item, at = shared.item, now()
        item.message_ids.append(msgspec.Raw(job.number))
        row = (encode(item.message_ids).decode(), at, shared.id)
        write = Write(self._shared, shared, other=(SHARE, row))
        self.move(write, "changed", at, Change(item.message_ids, Date(at)))
        answer = b'{"jsonrpc":"2.0","result":%d,"id":%b}' % (shared.id, job.number)
        write.told.append((job.caller, answer))
        self.writes.put(write)

    def _shared(self, write: Write) -> None:
        event, (caller, answer) = write.told
        self.publish(event)
        self.send(caller, answer)


def _nothing(write: Write) -> None:
    """Go on with nothing."""
