"""Who runs next: FIFO per lock, by id within the slots of each executor."""

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Protocol

from middlewared_jobs.spec import Kind

__all__ = ["LockQueue", "Queued"]


class Queued(Protocol):
    """A job as the queue sees it."""

    id: int
    lock: str | None
    kind: Kind


class _Lock:
    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running: Queued | None = None
        self.waiting: deque[Queued] = deque()


class LockQueue:
    """Waiting jobs, their locks, and the slots they need; pure, does no work itself.

    A lock has one running job; its waiting ones run in the order they came. Jobs
    without a lock never wait for each other. A job over its executor's slots waits.

    Args:
        slots: jobs of each kind that may run at one time.
    """

    def __init__(self, slots: Mapping[Kind, int]) -> None:
        self._free = dict(slots)
        self._ready: dict[Kind, list[tuple[int, Queued]]] = {kind: [] for kind in Kind}
        self._locks: dict[str, _Lock] = {}
        self._gone: set[int] = set()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, job: Queued) -> None:
        """Let a job wait its turn."""
        self._waiting += 1
        if job.lock is None:
            self._push(job)
            return
        lock = self._locks.setdefault(job.lock, _Lock())
        lock.waiting.append(job)
        if lock.running is None and lock.waiting[0] is job:
            self._push(job)

    def _push(self, job: Queued) -> None:
        heapq.heappush(self._ready[job.kind], (job.id, job))

    def take(self) -> Queued | None:
        """Take the next job that may run now; it holds its lock and slot from now."""
        for kind, ready in self._ready.items():
            while ready and self._free[kind]:
                _, job = heapq.heappop(ready)
                if job.id in self._gone:
                    self._gone.discard(job.id)
                    continue
                self._free[kind] -= 1
                self._waiting -= 1
                if job.lock is not None:
                    lock = self._locks[job.lock]
                    lock.waiting.popleft()
                    lock.running = job
                return job
        return None

    def release(self, job: Queued) -> None:
        """Give back what a job that ran holds; the next of its lock may run."""
        self._free[job.kind] += 1
        if job.lock is not None:
            lock = self._locks[job.lock]
            lock.running = None
            self._promote(job.lock, lock)

    def remove(self, job: Queued) -> None:
        """Forget a waiting job at once, without waiting for its lock."""
        self._waiting -= 1
        if job.lock is None:
            self._gone.add(job.id)
            return
        lock = self._locks[job.lock]
        was_ready = lock.running is None and lock.waiting[0] is job
        lock.waiting.remove(job)
        if was_ready:
            self._gone.add(job.id)
            self._promote(job.lock, lock)
        elif lock.running is None and not lock.waiting:
            del self._locks[job.lock]

    def _promote(self, name: str, lock: _Lock) -> None:
        if lock.waiting:
            self._push(lock.waiting[0])
        else:
            del self._locks[name]

    def is_busy(self, lock: str) -> bool:
        """Tell whether a job with this lock runs or waits."""
        return lock in self._locks

    def waiting_for(self, lock: str) -> Iterator[Queued]:
        """Give the jobs that wait for a lock, the last one first."""
        found = self._locks.get(lock)
        return iter(()) if found is None else reversed(found.waiting)

    def count_waiting(self, lock: str) -> int:
        """Count the jobs that wait for a lock."""
        found = self._locks.get(lock)
        return 0 if found is None else len(found.waiting)
