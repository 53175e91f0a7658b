"""What a schedule does about its times, against a machine that is killed and set."""

import os
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec.structs import replace

from middlewared_schedules.plan import BACK_MS, Missed, Plan, make_plan
from middlewared_schedules.times import Every, Times

STEP, GRACE, LIMIT = 10_000, 4_000, 5
BEGIN = 1_000_000
EXAMPLES = 1000 if os.environ.get("SOAK") else 60


class Kept(msgspec.Struct, frozen=True):
    """What a schedule's row has."""

    missed: Missed
    due: int | None
    handled: int | None = None


TIMES = Times(Every(BEGIN, STEP))


def plan(
    missed: str, now: int, *, due: int | None = BEGIN, busy: bool = False, **kept: Any
) -> Plan:
    """Plan for a moment, counted in seconds from the first time."""
    standing = Kept(Missed(missed), due, **kept)
    moment = BEGIN + now * 1000
    return make_plan(standing, TIMES, moment, grace=GRACE, limit=LIMIT, busy=busy)


def at(second: int) -> int:
    """Give the moment so many seconds after the first time."""
    return BEGIN + second * 1000


@pytest.mark.parametrize("missed", list(Missed))
def test_time_that_has_come(missed: Missed) -> None:
    """On time, every schedule runs; before, none does."""
    assert plan(missed, -1) == Plan(at(0))
    assert plan(missed, 0) == Plan(at(0), run=at(0))
    assert plan(missed, 4) == Plan(at(0), run=at(0))
    assert plan(missed, 0, due=None) == Plan(None)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", Plan(at(40), passed=at(30))),
        ("once", Plan(at(30), run=at(30), passed=at(20))),
        ("all", Plan(at(0), run=at(0))),
    ],
)
def test_missed_times(missed: str, expected: Plan) -> None:
    """After a while without a server, the word says what becomes of the times."""
    assert plan(missed, 38) == expected


def test_missed_time_that_is_hardly_late() -> None:
    """Of several, the newest is run when it is not late, whatever was missed before."""
    assert plan("skip", 32) == Plan(at(30), run=at(30), passed=at(20))


def test_all_has_a_bound() -> None:
    """Of more than so many, the newest are run, and the older ones passed over."""
    assert plan("all", 104) == Plan(at(60), run=at(60), passed=at(50))


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", Plan(at(20), passed=at(10))),
        ("once", Plan(at(0))),
        ("all", Plan(at(0))),
    ],
)
def test_times_while_a_job_runs(missed: str, expected: Plan) -> None:
    """They are missed, too: passed over, or left until the job has ended."""
    assert plan(missed, 12, busy=True) == expected


def test_clock_set_back() -> None:
    """Times come again; what is late then is not made up for."""
    handled = at(1000)
    again = plan("all", 95, due=at(1010), handled=handled)
    assert again == Plan(at(100))
    assert plan("all", 102, due=at(100), handled=handled) == Plan(at(100), run=at(100))
    late = plan("all", 99, due=at(50), handled=handled)
    assert late == Plan(at(100))
    soon = BACK_MS // 1000 - 1
    assert plan("all", 1000 - soon, due=at(1010), handled=handled) == Plan(at(1010))


class Machine(RuleBasedStateMachine):
    """A schedule, its row on disk, and the jobs that there are by their time.

    Attributes:
        row: what is on disk.
        memory: what the server knows.
        jobs: the times that have a job, in the order they were made.
        running: jobs that have not ended.
        now: the clock.
        ahead: the latest that the clock ever said.
    """

    @initialize(missed=st.sampled_from(Missed), lasting=st.booleans())
    def create(self, missed: Missed, *, lasting: bool) -> None:
        """Make a schedule at its first time."""
        self.row = self.memory = Kept(missed, BEGIN)
        self.jobs: list[int] = []
        self.runs: list[int] = []
        self.running: set[int] = set()
        self.lasting = lasting
        self.now = self.ahead = BEGIN
        self.smooth = True
        self.passed: set[int] = set()
        self.look()

    @property
    def busy(self) -> bool:
        return bool(self.running)

    def plan(self) -> Plan:
        """Plan as the server does."""
        return make_plan(
            self.memory, TIMES, self.now, grace=GRACE, limit=LIMIT, busy=self.busy
        )

    def look(self, crash: str = "") -> bool:
        """Do what is due; tell whether the server died over it."""
        while True:
            found = self.plan()
            if found.passed is not None:
                self.passed.add(found.passed)
            if found.run is None:
                self.memory = replace(self.memory, due=found.due)
                if found.passed is not None:
                    handled = max(self.memory.handled or 0, found.passed)
                    self.row = self.memory = replace(self.memory, handled=handled)
                return False
            if self.run(found.run, crash):
                return True

    def run(self, time: int, crash: str) -> bool:
        """Run a time in the order that the server has; tell whether it died."""
        handled = self.memory.handled
        again = handled is not None and time <= handled
        after = replace(
            self.memory, due=TIMES.after(time), handled=max(handled or 0, time)
        )
        if again and (not self.lasting or time in self.jobs):
            self.memory = replace(self.memory, due=after.due)
            return False
        if crash == "before":
            return True
        if not self.lasting:
            self.row = self.memory = after
            if crash == "between":
                return True
        if time not in self.jobs or not self.lasting:
            self.jobs.append(time)
            self.runs.append(time)
            self.running.add(time)
        if crash == "between":
            return True
        self.row = self.memory = after
        return crash == "after"

    @rule(seconds=st.integers(0, 200))
    def pass_time(self, seconds: int) -> None:
        """Let the clock go on."""
        self.now += seconds * 1000
        self.ahead = max(self.ahead, self.now)
        self.look()

    @rule()
    def end_jobs(self) -> None:
        """Let the jobs end; what waited for that is done."""
        self.running.clear()
        self.look()
        while self.running:
            self.running.clear()
            self.look()

    @rule(
        seconds=st.integers(0, 30),
        crash=st.sampled_from(["before", "between", "after"]),
        down=st.integers(0, 60),
    )
    def die(self, seconds: int, crash: str, down: int) -> None:
        """Kill the server over its next job, if there is one, and start it later."""
        self.now += seconds * 1000
        self.look(crash)
        self.memory = self.row
        self.running.clear()
        self.now += down * 1000
        self.ahead = max(self.ahead, self.now)
        self.look()

    @rule(seconds=st.integers(1, 500))
    def set_back(self, seconds: int) -> None:
        """Set the clock back."""
        self.smooth = False
        self.now -= seconds * 1000
        self.look()

    @invariant()
    def no_time_runs_twice(self) -> None:
        """Whatever happens, a time has one job at most."""
        assert len(self.runs) == len(set(self.runs))

    @invariant()
    def one_at_a_time(self) -> None:
        """There is never more than one job of it that has not ended."""
        assert len(self.running) <= 1

    @precondition(lambda self: self.smooth)
    @invariant()
    def no_time_is_lost(self) -> None:
        """When the clock only goes on, each time is run, passed over or still due."""
        assert self.runs == sorted(self.runs)
        last = self.memory.due
        assert last is not None
        if self.memory.missed is Missed.ALL:
            self.check_all(last)
        elif self.memory.missed is Missed.ONCE and not self.busy:
            newest = TIMES.newest(BEGIN, self.now, 1)[0]
            assert newest in self.runs or not self.lasting
        assert last > self.now or (self.busy and self.memory.missed is not Missed.SKIP)

    def check_all(self, last: int) -> None:
        """Every time before the next one has run, or a bound has passed it over."""
        bound = max(self.passed, default=0)
        expected = [t for t in range(BEGIN, last, STEP) if t > bound]
        ran = [time for time in self.runs if time > bound]
        assert ran == expected or not self.lasting


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=40, deadline=None
)
