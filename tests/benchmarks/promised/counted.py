"""Sixth promise: calls, ends, durations, waits and commits are counted."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from benchmarks.commits import Write
from benchmarks.promised.told import Told
from benchmarks.promised.typed import CarefulWriter

from middlewared.database import COMMIT_BOUNDS, GROUP_BOUNDS
from middlewared.figures import CallFigures, Histogram
from middlewared_jobs.figures import BOUNDS, MS
from middlewared_jobs.states import State

__all__ = ["Counted"]


class CountingWriter(CarefulWriter):
    """Counts commits."""

    def __init__(self, path: Path, sketch: Any) -> None:
        self.commits = Histogram(COMMIT_BOUNDS)
        self.groups = Histogram(GROUP_BOUNDS)
        super().__init__(path, sketch)

    def transact(self, database: sqlite3.Connection, group: list[Write]) -> None:
        """Write a group as one transaction; in the thread."""
        began = time.perf_counter()
        super().transact(database, group)
        self.commits.observe(time.perf_counter() - began)
        self.groups.observe(len(group))


class Counted(Told):
    """What happens is counted for whoever asks.

    Attributes:
        calls: how the calls ended, by method.
        refused: what was answered with an error.
        ended: how many jobs ended, by method and state.
        durations: seconds that they took, by method.
        waits: seconds that they waited.
    """

    writer = CountingWriter

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.calls: dict[str, CallFigures] = {}
        self.refused = CallFigures()
        self.ended: dict[tuple[str, State], int] = {}
        self.durations: dict[str, Histogram] = {}
        self.waits = Histogram(BOUNDS)

    def refuse(self, caller: Any, number: bytes, exc: Exception) -> None:
        """Answer with an error."""
        self.refused.fail(exc)
        super().refuse(caller, number, exc)

    def begun(self, write: Write) -> None:
        """Answer, tell, and begin the body."""
        name = write.job.item.method
        figures = self.calls.get(name)
        if figures is None:
            figures = self.calls[name] = CallFigures()
        figures.ok += 1
        super().begun(write)

    def over(self, write: Write) -> None:
        """Tell that a job has ended, and count it."""
        super().over(write)
        job, item = write.job, write.job.item
        key = item.method, item.state
        self.ended[key] = self.ended.get(key, 0) + 1
        started, finished = item.time_started, item.time_finished
        if started is None or finished is None:
            return
        durations = self.durations.get(item.method)
        if durations is None:
            durations = self.durations[item.method] = Histogram(BOUNDS)
        durations.observe(max(0, finished.ms - started.ms) / MS)
        self.waits.observe(max(0, started.ms - job.created) / MS)
