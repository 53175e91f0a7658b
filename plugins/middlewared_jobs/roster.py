"""Which jobs there are that have not ended, and which of them run."""

import asyncio

import anyio

from middlewared_jobs.figures import JobFigures
from middlewared_jobs.run import Run

__all__ = ["Roster"]

#: Seconds that a reader waits for a disk that does not take what is written.
SETTLE_SECONDS = 1.0


class Roster:
    """Every unfinished job; in memory is the truth about them.

    Attributes:
        live: unfinished jobs and listed transient ones, by id.
        running: those that hold a slot.
        helpers: those that only wait for others.
        figures: how many ended, and how.
        ending: those whose end is being written.
        keys: those that their caller chose a key for, by owner, method and key.
        draining: nothing is accepted or started but what running jobs need to end.
        stopping: nothing new is accepted or started; so it is before the first start.
    """

    def __init__(self) -> None:
        self.live: dict[int, Run] = {}
        self.running: set[Run] = set()
        self.helpers: set[Run] = set()
        self.ending: set[Run] = set()
        self.figures = JobFigures()
        self.keys: dict[tuple[int | None, str, str], Run] = {}
        self._children: dict[int, dict[int, Run]] = {}
        self.draining = False
        self.stopping = True
        self._idle = anyio.Event()

    def add(self, run: Run) -> None:
        """List a new job."""
        self.live[run.id] = run
        record = run.record
        if record.key is not None:
            self.keys[record.owner, record.method, record.key] = run
        if record.parent is not None:
            self._children.setdefault(record.parent, {})[run.id] = run

    def remove(self, run: Run) -> None:
        """Forget a job that has ended, or could not be accepted."""
        self.live.pop(run.id, None)
        record = run.record
        if record.key is not None:
            self.keys.pop((record.owner, record.method, record.key), None)
        if record.parent is not None:
            siblings = self._children.get(record.parent, {})
            siblings.pop(run.id, None)
            if not siblings:
                self._children.pop(record.parent, None)

    def leave(self, run: Run) -> bool:
        """Note that a job runs no longer; tell whether it held a slot."""
        self.helpers.discard(run)
        held = run in self.running
        self.running.discard(run)
        if not self.running:
            self._idle.set()
        return held

    def is_needed(self, parent: int | None) -> bool:
        """Tell whether a job that has this parent is needed for that one to end."""
        run = None if parent is None else self.live.get(parent)
        return run is not None and run in self.running

    def needed(self) -> list[Run]:
        """Give what running jobs need to end, the one that may start first before.

        Those that their bodies started, and those that they wait for.
        """
        found = {other.id: other for run in self.running for other in run.awaits}
        for run in self.running:
            found |= {child.id: child for child in self.children(run)}
        return sorted(found.values(), key=lambda run: (-run.priority, run.id))

    def children(self, run: Run) -> list[Run]:
        """Give the unfinished jobs that the body of a job started, by id."""
        children = self._children.get(run.id, {}).values()
        return [child for child in children if not child.record.final]

    async def settle(self) -> None:
        """Wait until the ends that are being written are on disk, but not for long.

        Who reads after it is shown no end that a crash could undo, unless the disk
        does not take it.
        """
        if self.ending:
            with anyio.move_on_after(SETTLE_SECONDS):
                await asyncio.wait([run.ended for run in self.ending])

    async def wait_idle(self, seconds: float) -> None:
        """Wait until nothing runs, but not longer than this."""
        with anyio.move_on_after(seconds):
            while self.running:
                self._idle = anyio.Event()
                await self._idle.wait()
