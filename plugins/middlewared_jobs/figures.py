"""What is counted of jobs: by method and state, never by owner or params."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from middlewared.figures import Histogram
from middlewared_jobs.record import JobRecord
from middlewared_jobs.run import Run
from middlewared_jobs.states import State

__all__ = ["JobFigures", "LiveJobs", "count_live"]

#: Seconds that jobs take and wait, as they are counted.
BOUNDS = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
MS = 1000.0


class JobFigures:
    """How the jobs ended since the server started.

    Attributes:
        ended: how many, by method and final state.
        durations: seconds from the first start to the end, by method.
        waits: seconds from the call to the first start.
    """

    def __init__(self) -> None:
        self.ended: dict[tuple[str, State], int] = {}
        self.durations: dict[str, Histogram] = {}
        self.waits = Histogram(BOUNDS)

    def note_end(self, record: JobRecord) -> None:
        """Count a job that has ended."""
        method, began, ended = record.method, record.time_started, record.time_finished
        key = method, record.state
        self.ended[key] = self.ended.get(key, 0) + 1
        if began is None or ended is None:
            return
        durations = self.durations.get(method)
        if durations is None:
            durations = self.durations[method] = Histogram(BOUNDS)
        taken, waited = ended.ms - began.ms, began.ms - record.time_created.ms
        # Never below 0, though the clock may be set back.
        durations.observe(taken / MS if taken > 0 else 0.0)
        self.waits.observe(waited / MS if waited > 0 else 0.0)


class LiveJobs(msgspec.Struct, frozen=True):
    """The jobs that have not ended.

    Attributes:
        states: how many, by method and state.
        running: how many run, by where their bodies do.
        waiting: how many wait.
    """

    states: dict[tuple[str, State], int]
    running: dict[str, int]
    waiting: int


def count_live(runs: Iterable[Run]) -> LiveJobs:
    """Count unfinished jobs; safe in a thread, on a list that was made in the loop."""
    states: Counter[tuple[str, State]] = Counter()
    running: Counter[str] = Counter()
    for run in runs:
        state = run.record.state
        if state in (State.WAITING, State.RUNNING):
            states[run.record.method, state] += 1
            if state is State.RUNNING:
                running[run.kind.value] += 1
    waiting = sum(n for (_, state), n in states.items() if state is State.WAITING)
    return LiveJobs(dict(states), dict(running), waiting)
