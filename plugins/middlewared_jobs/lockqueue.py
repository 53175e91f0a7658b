"""Who runs next: FIFO per lock, by priority and id within limits and slots."""

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Protocol

from middlewared_jobs.spec import Kind

__all__ = ["LockQueue", "Queued"]


class Queued(Protocol):
    """A job as the queue sees it.

    Attributes:
        limits: keys that it counts against while it runs, and how many jobs with each
            may run.
    """

    id: int
    lock: str | None
    kind: Kind
    priority: int
    limits: tuple[tuple[str, int], ...]


class _Lock:
    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running: Queued | None = None
        self.waiting: deque[Queued] = deque()


_Heap = list[tuple[int, int, Queued]]


class LockQueue:
    """Waiting jobs, their locks, limits, and the slots they need; pure, does no work.

    A lock has one running job; its waiting ones run in the order they came, whatever
    their priority. Jobs without a lock never wait for each other. A job over a limit
    or its executor's slots waits; of those that could run the highest priority goes
    first, then the lowest id.

    Args:
        slots: jobs of each kind that may run at one time.
    """

    def __init__(self, slots: Mapping[Kind, int]) -> None:
        self._free = dict(slots)
        self._ready: dict[Kind, _Heap] = {kind: [] for kind in Kind}
        #: Ready jobs that wait for a limit, by its key.
        self._held: dict[str, _Heap] = {}
        self._counts: dict[str, int] = {}
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

    def pass_by(self, job: Queued) -> bool:
        """Let a new job run at once, when nothing waits and it needs only a slot.

        Returns:
            Whether it holds its slot now; else it has to be added.
        """
        if self._waiting or job.lock is not None or job.limits:
            return False
        if self._free[job.kind] <= 0:
            return False
        self._free[job.kind] -= 1
        return True

    def _push(self, job: Queued) -> None:
        heapq.heappush(self._ready[job.kind], (-job.priority, job.id, job))

    def take(self) -> Queued | None:
        """Take the next job that may run now; it holds its lock and slot from now."""
        if not self._waiting:
            return None
        for kind, ready in self._ready.items():
            while ready and self._free[kind] > 0:
                entry = heapq.heappop(ready)
                job = entry[2]
                if job.id in self._gone:
                    self._gone.discard(job.id)
                    # The room that it was offered is there for the next one.
                    self._offer_all(job)
                    continue
                full = self._full_limit(job)
                if full is not None:
                    self._hold(full, entry)
                    continue
                self._occupy(job)
                return job
        return None

    def take_past(self, job: Queued) -> bool:
        """Take a certain job, past all that wait before it; they keep their places.

        Returns:
            False when its lock, a limit or its slots are in use.
        """
        lock = None if job.lock is None else self._locks[job.lock]
        taken = lock is not None and lock.running is not None
        if taken or self._free[job.kind] <= 0 or self._full_limit(job) is not None:
            return False
        self._withdraw(job)
        if lock is not None:
            first = lock.waiting[0]
            self._withdraw(first)  # it was next, and is so again later
            lock.waiting.remove(job)
            lock.waiting.appendleft(job)
            self._offer_all(first)
        self._occupy(job)
        return True

    def _withdraw(self, job: Queued) -> None:
        """Take a job from those that could run, or that a limit holds back."""
        for heap in (*self._ready.values(), *self._held.values()):
            heap[:] = [entry for entry in heap if entry[2] is not job]
            heapq.heapify(heap)

    def _full_limit(self, job: Queued) -> str | None:
        for key, most in job.limits:
            if self._counts.get(key, 0) >= most:
                return key
        return None

    def _occupy(self, job: Queued) -> None:
        self._free[job.kind] -= 1
        self._count_off()
        for key, _ in job.limits:
            self._counts[key] = self._counts.get(key, 0) + 1
        if job.lock is not None:
            lock = self._locks[job.lock]
            lock.waiting.popleft()
            lock.running = job

    def release(self, job: Queued) -> None:
        """Give back what a job that ran holds; others may run now."""
        self._free[job.kind] += 1
        for key, _ in job.limits:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
            self._offer(key)
        if job.lock is not None:
            lock = self._locks[job.lock]
            lock.running = None
            self._promote(job.lock, lock)

    def lend(self, job: Queued) -> None:
        """Let another job have the slot of one that runs, but only waits for it."""
        self._free[job.kind] += 1

    def take_back(self, job: Queued) -> None:
        """Let it go on; for a while more jobs may run than there are slots."""
        self._free[job.kind] -= 1

    def _hold(self, full: str, entry: tuple[int, int, Queued]) -> None:
        """Let a job wait for a limit; its other limits may have room for others."""
        heapq.heappush(self._held.setdefault(full, []), entry)
        self._offer_all(entry[2])

    def _offer_all(self, job: Queued) -> None:
        for key, _ in job.limits:
            self._offer(key)

    def _offer(self, key: str) -> None:
        """Let the first job that a limit held back try again, if there is room."""
        held = self._held.get(key)
        if held is None:
            return
        while held and held[0][2].id in self._gone:
            self._gone.discard(heapq.heappop(held)[2].id)
        if held and self._counts.get(key, 0) < dict(held[0][2].limits)[key]:
            entry = heapq.heappop(held)
            heapq.heappush(self._ready[entry[2].kind], entry)
        if not held:
            del self._held[key]

    def remove(self, job: Queued) -> None:
        """Forget a waiting job at once, without waiting for its lock."""
        if job.lock is None:
            self._gone.add(job.id)
        else:
            self._leave_line(job, self._locks[job.lock], job.lock)
        self._count_off()

    def _leave_line(self, job: Queued, lock: _Lock, name: str) -> None:
        was_ready = lock.running is None and lock.waiting[0] is job
        lock.waiting.remove(job)
        if was_ready:
            self._gone.add(job.id)
            self._promote(name, lock)
        elif lock.running is None and not lock.waiting:
            del self._locks[name]

    def _count_off(self) -> None:
        """Count one job less; when none is left, nothing is kept of those removed."""
        self._waiting -= 1
        if not self._waiting and self._gone:
            # Whoever passes by does not take, and so would not find them.
            for ready in self._ready.values():
                ready.clear()
            self._held.clear()
            self._gone.clear()

    def _promote(self, name: str, lock: _Lock) -> None:
        if lock.waiting:
            self._push(lock.waiting[0])
        else:
            del self._locks[name]

    def before(self, job: Queued) -> Iterator[Queued]:
        """Give the jobs that have the lock of a waiting one before it, in order.

        A job whose time has not come has no place in line yet: who runs comes before.
        """
        found = None if job.lock is None else self._locks.get(job.lock)
        if found is None:
            return
        if found.running is not None and found.running is not job:
            yield found.running
        if job in found.waiting:
            yield from takewhile(lambda other: other is not job, found.waiting)

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
