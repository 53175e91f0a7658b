"""Progress: clamped, cut to an integer, what is not given stays."""

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs_records import make_record

from middlewared import Context
from middlewared.context import Services
from middlewared_jobs import Job
from middlewared_jobs.desk import ClosedDesk
from middlewared_jobs.notebook import Latest, Notebook
from middlewared_jobs.record import CoreGetJobsItemProgress as Progress
from middlewared_jobs.settings import JobSettings

START = Progress()


def follow(before: Progress, percent: float | None = None, **more: Any) -> Progress:
    """Make the next progress with the defaults of `Job.set_progress`."""
    options = {"description": None, "extra": None, "indeterminate": False, **more}
    record = make_record(1, progress=before)
    notebook = Notebook(record, JobSettings(), lambda: 0, lambda _: None)
    notebook.set_progress(percent, **options)
    return notebook.latest()[0]


@given(st.floats(allow_nan=False) | st.integers())
def test_percent_is_clamped(percent: float) -> None:
    """Percent is an integer from 0 to 100, whatever the body computed."""
    found = follow(START, percent).percent
    assert type(found) is int
    assert 0 <= found <= 100
    if 0 <= percent <= 100:
        assert found == int(percent)


@pytest.mark.parametrize(
    ("given_", "shown"), [(99.9, 99), (-3, 0), (150, 100), (0.99, 0), (100, 100)]
)
def test_percent_is_cut(given_: float, shown: int) -> None:
    """A fraction is cut off, not rounded."""
    assert follow(START, given_).percent == shown


def test_what_is_not_given_stays() -> None:
    """None leaves percent, description and extra as they are."""
    full = follow(START, 40, description="reading", extra={"n": 1})
    assert follow(full) == full
    assert follow(full, 50) == Progress(50, "reading", {"n": 1})
    assert follow(full, description="writing") == Progress(40, "writing", {"n": 1})
    assert follow(full, extra=[2]) == Progress(40, "reading", [2])


def test_empty_values_are_values() -> None:
    """A description and an extra can be emptied again."""
    full = follow(START, 40, description="reading", extra={"n": 1})
    assert follow(full, description="", extra={}) == Progress(40, "", {})


def test_indeterminate_has_no_percent() -> None:
    """A job that cannot say how far it is shows null, until it can again."""
    unknown = follow(follow(START, 40), indeterminate=True)
    assert unknown.percent is None
    assert follow(unknown, description="x").percent is None
    assert follow(unknown, 10).percent == 10


def test_progress_is_told_once_until_it_is_taken() -> None:
    """However often it is set; what is set later is told again."""
    told: list[bool] = []
    notebook = Notebook(make_record(1), JobSettings(), lambda: 0, told.append)
    for turn in range(2):
        for number in range(1000):
            notebook.set_progress(number / 20, None, None, indeterminate=False)
        assert told == [False] * (turn + 1)
        latest = notebook.take()
        assert latest is not None
        assert latest.progress.percent == 49
        assert notebook.take() is None


def make_notebook() -> Notebook:
    """Make a notebook that nobody looks into."""
    return Notebook(make_record(1), JobSettings(), lambda: 0, lambda _: None)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_first_notes_share_a_notebook() -> None:
    """Threads that note something at the same time, before there is a notebook."""

    class Desk(ClosedDesk):
        """Makes a notebook when it is asked for one."""

        def open_notebook(self) -> Notebook:
            opened.append(make_notebook())
            return opened[-1]

    for _ in range(50):
        opened: list[Notebook] = []
        job = Job(make_record(1), Desk(Context(Services()), make_notebook()))
        assert job._take_notes() is None
        barrier = threading.Barrier(4)

        def work(job: Job = job, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            job.count("seen")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        latest = job._take_notes()
        assert len(opened) == 1
        assert latest is not None
        assert latest.notes is not None
        assert latest.notes.counts == {"seen": 4}


@pytest.mark.usefixtures("hasty_threads")
def test_threads_do_not_undo_each_other() -> None:
    """Eight threads that set different parts lose nothing of each other."""
    notebook = make_notebook()
    job = Job(make_record(1), ClosedDesk(Context(Services()), notebook))
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        for turn in range(200):
            if turn % 50 == 0:
                barrier.wait()
            if number == 0:
                job.set_progress(turn / 2)
            elif number == 1:
                job.set_progress(description=f"turn {turn}")
            elif number == 2:
                job.set_progress(extra={"turn": turn})
            else:
                job.set_progress()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latest = notebook.take()
    assert latest == Latest(Progress(99, "turn 199", {"turn": 199}), None)
