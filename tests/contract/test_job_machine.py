"""The job manager against a model, in random order, over each store."""

import asyncio
import contextlib
import errno
import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from jobs_cued import METHODS, SLOTS, Stage, cued_plugin
from jobs_host import Host
from jobs_model import Model, ModelJob, Refused

from middlewared import CallError
from middlewared.database import Database
from middlewared.tasks import Tasks
from middlewared.testing import ManualClock
from middlewared_dialects.vocabulary import VOCABULARY
from middlewared_jobs import JobRecord
from middlewared_jobs import Phase as JobPhase
from middlewared_jobs.memory_store import MemoryStore
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.sqlite_store import SqliteStore

SOAK = bool(os.environ.get("SOAK"))
#: Examples and steps of each, by store; 10,000 steps in all with SOAK.
COUNTS = (
    {"memory": (120, 50), "sqlite": (80, 50)}
    if SOAK
    else {"memory": (14, 40), "sqlite": (6, 30)}
)
PATIENCE = 2.0
START_MS = 1_800_000_000_000
QUICK = 0.001

methods = st.sampled_from(sorted(METHODS))
locks = st.sampled_from(["x", "y"])
tags = st.integers(1, 2)
cues = st.sampled_from(["next", "next", "next", "fail", "fail", "invalid"])
picks = st.integers(0, 1000)
options = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(-2, 2),
        "key": st.sampled_from(["k1", "k2"]),
        "run_at": st.integers(0, 3000),
    },
)
submissions = st.tuples(methods, tags, locks, options, st.integers(0, 9))
FIELDS = [
    *("id", "state", "attempt", "attempts", "exc_info", "phase", "method", "parent"),
    "exit",
]


def shown(item: dict[str, Any]) -> tuple[Any, ...]:
    """Give what the model says of a job, of an item of ``job.query``."""
    info, phase = item["exc_info"], item["phase"]
    return (
        item["state"],
        item["attempt"],
        len(item["attempts"]),
        None if info is None else info["type"],
        phase if phase in ("pausing", "paused") else None,
    )


def agree(found: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    """Compare; the model does not know the error of a parent whose child failed."""
    pairs = zip(found, expected, strict=True)
    return all(other in (one, "?") for one, other in pairs)


FINAL = ("SUCCESS", "FAILED", "ABORTED")
UNFINISHED = ("WAITING", "RUNNING")
ALL = (*UNFINISHED, *FINAL)
#: What may be asked for at one time.
RUSH = [
    "submit",
    "keyed",
    "tell",
    "tell",
    "abort",
    "retry",
    "restart",
    "pause",
    "resume",
    "delete",
]


def check_one(job: ModelJob, record: JobRecord, ran: int) -> None:
    """See that a crash made of a job what it may.

    Args:
        job: as it was before.
        record: as it is now.
        ran: its last attempt whose body began.
    """
    state = str(record.state)
    assert state in (*FINAL, "WAITING")
    if job.final:
        assert (state, record.attempt) == (job.state, job.attempt)
    if job.state == "RUNNING" and not (job.kind.requeue or job.retries):
        assert record.final, f"job {job.id} waits again"
    assert record.attempt >= max(job.attempt, ran)
    most = 1 + job.retries
    assert job.kind.requeue or record.attempt <= most, "there were too many attempts"


def check_words(item: dict[str, Any]) -> None:
    """See that the dialects have words for where a job is."""
    kind = None if item["exit"] is None else item["exit"]["kind"]
    row = VOCABULARY[JobPhase(item["phase"]), kind]
    assert item["state"] in row.states, item


class Machine(RuleBasedStateMachine):
    """Drives both, and compares what is to be seen."""

    store = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="mw-machine-"))
        (self.folder / "logs").mkdir()
        self.clock = ManualClock(START_MS)
        self.stage, self.model = Stage(), Model()
        self.model.now = START_MS
        self.gone_amid: set[int] = set()
        self.done = asyncio.Event()
        self.run(self.open())

    def run(self, work: Any) -> Any:
        """Run a coroutine in the loop of this example."""
        return self.runner.run(work)

    async def open(self) -> None:
        """Open the store and start for the first time."""
        opened = asyncio.get_running_loop().create_future()
        self.tasks = Tasks()
        self.owner = self.tasks.start(self.keep_store(opened), name="store")
        self.host = Host(
            await opened,
            self.clock,
            cued_plugin(self.stage),
            self.folder,
            JobSettings(
                async_jobs=SLOTS["loop"],
                thread_jobs=SLOTS["thread"],
                progress_interval=QUICK,
            ),
        )
        await self.host.start()
        self.host.resume()

    async def keep_store(self, opened: asyncio.Future[Any]) -> None:
        """Own the store, in one task."""
        if self.store == "memory":
            opened.set_result(MemoryStore())
            await self.done.wait()
            return
        async with Database.open(self.folder / "jobs.db") as database:
            await database.migrate("jobs", files("middlewared_jobs") / "migrations")
            opened.set_result(SqliteStore(database))
            await self.done.wait()

    def teardown(self) -> None:
        """End the example."""
        self.run(self.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    async def close(self) -> None:
        self.stage.next_life()
        await self.host.crash()
        self.done.set()
        await self.owner

    # Comparing.

    async def items(self) -> dict[int, dict[str, Any]]:
        """Give what clients see."""
        found = await self.host.call(
            "job.query", [], {"select": FIELDS, "limit": 10_000}
        )
        return {item["id"]: item for item in found}

    async def compare(self) -> None:
        """Wait until the server is where the model is."""
        differences: list[str] = []
        for _ in range(int(PATIENCE / QUICK)):
            items = await self.items()
            self.adopt(items)
            differences = self.differences(items)
            if not differences:
                return
            await asyncio.sleep(QUICK)
        raise AssertionError("\n".join(differences))

    def adopt(self, items: dict[int, dict[str, Any]]) -> None:
        """Learn the ids of the jobs that bodies started."""
        parents = {job.id: job for job in self.model.of("RUNNING") if job.awaits}
        for number, item in sorted(items.items()):
            parent = parents.get(item["parent"])
            if parent is None or not parent.awaits or number in self.model.jobs:
                continue
            waits = parent.kind.child
            parent.awaits = False
            parent.child = number if waits else None
            child = ModelJob(
                id=number,
                method="plain" if waits else "locked",
                tag=parent.tag,
                lock="x",
                parent=parent.id,
            )
            self.model.add(child)

    def differences(self, items: dict[int, dict[str, Any]]) -> list[str]:
        """Say where they differ."""
        model = self.model
        for item in items.values():
            check_words(item)
        found = [
            f"job {number}: {what} there is none, says the model"
            for number, item in items.items()
            if number not in model.jobs
            for what in [shown(item)]
        ]
        for number, job in model.jobs.items():
            if number not in items:
                found.append(f"job {number} is lost")
            elif not agree(shown(items[number]), job.shown()):
                found.append(
                    f"job {number} {job.method}: {shown(items[number])}, "
                    f"expected {job.shown()}"
                )
            if job.awaits:
                found.append(f"job {number} has not started its child")
        for what in ("ran", "stepped"):
            one, other = sorted(getattr(self.stage, what)), sorted(getattr(model, what))
            if one != other:
                found.append(
                    f"{what}: only there {sorted(set(one) - set(other))}, "
                    f"only in the model {sorted(set(other) - set(one))}"
                )
        return found

    @invariant()
    def agrees(self) -> None:
        """See no difference, and nothing that must not be."""
        self.run(self.compare())
        assert not self.stage.wrong

    def pick(self, number: int, *states: str) -> ModelJob:
        """Choose a job."""
        found = self.model.of(*states) if states else self.model.of(*ALL)
        return found[number % len(found)]

    async def refused_alike(self, expected: int | None, work: Any) -> Any:
        """Call; it is refused when the model says so, and only then."""
        answer, refused = None, None
        try:
            answer = await work
        except CallError as exc:
            refused = exc.errno
        assert refused == expected
        return answer

    # New jobs.

    @initialize(wishes=st.lists(submissions, min_size=3, max_size=8))
    def begin_with(self, wishes: list[tuple[Any, ...]]) -> None:
        """Begin with some jobs."""
        self.submit(wishes)

    @rule(wishes=st.lists(submissions, min_size=1, max_size=3))
    def submit(self, wishes: list[tuple[Any, ...]]) -> None:
        """Start jobs, one after the other."""
        for wish in wishes:
            self.submit_one(*wish)
            self.agrees()

    def submit_one(
        self, method: str, tag: int, lock: str, chosen: dict[str, Any], doomed: int
    ) -> None:
        """Start a job."""
        chosen = dict(chosen)
        run_at = chosen.get("run_at", 0)
        if "run_at" in chosen:
            run_at += self.model.now
            chosen["run_at"] = {"$date": run_at}
        dying = not doomed and method in ("plain", "bounded")
        if dying:
            chosen["timeout"] = QUICK
        wish = ModelJob(
            id=0,
            method=method,
            tag=tag,
            lock=lock,
            priority=chosen.get("priority", 0),
            key=chosen.get("key"),
            run_at=run_at,
            retries=METHODS[method].retries,
            doomed=dying,
        )
        arguments = [f"m.{method}", [tag, lock], *([chosen] if chosen else [])]
        self.run(self.enter(wish, "job.submit", arguments, plain=not chosen))

    async def enter(
        self, wish: ModelJob, call: str, arguments: list[Any], *, plain: bool
    ) -> None:
        """Ask for a job, in both."""
        model, found, refused = self.model, None, None
        try:
            if wish.key is not None:
                found = model.find_key(wish.method, wish.tag, wish.lock, wish.key)
            if found is None:
                found = model.find_joined(wish.method, wish.tag, wish.lock, plain=plain)
        except Refused as exc:
            refused = exc.number
        number = await self.refused_alike(refused, self.host.call(call, *arguments))
        if refused is None and found is None:
            wish.id = number
            model.add(wish)
        elif found is not None:
            assert number == found.id, "the key or the lock names another job"

    @rule(number=picks, key=st.sampled_from([None, None, "k1", "r"]))
    def retry(self, number: int, key: str | None) -> None:
        """Run an ended job again."""
        if not self.model.of(*FINAL):
            return
        self.again(self.pick(number, *FINAL), "job.retry", key)

    def again(self, job: ModelJob, call: str, key: str | None, **more: Any) -> None:
        """Start a job like an ended one."""
        wish = ModelJob(
            id=0,
            method=job.method,
            tag=job.tag,
            lock=job.lock,
            priority=job.priority,
            retries=job.retries,
            doomed=job.doomed,
            key=key,
            **more,
        )
        chosen = [] if key is None else [{"key": key}]
        self.run(self.enter(wish, call, [job.id, *chosen], plain=False))

    @rule(number=picks, key=st.sampled_from([None, None, "r1", "r2"]))
    def restart(self, number: int, key: str | None) -> None:
        """Go on with an ended job."""
        if not self.model.of(*FINAL):
            return
        steps = [job for job in self.model.of(*FINAL) if job.kind.steps]
        job = steps[number % len(steps)] if steps else self.pick(number, *FINAL)
        known = None
        with contextlib.suppress(Refused):
            if key is not None and job.kind.restart_limit:
                known = self.model.find_key(job.method, job.tag, job.lock, key)
        if known is not None and known.restart_of != job.id:
            return  # the key of something else
        try:
            if known is None:
                self.model.check_restart(job)
        except Refused as exc:
            chosen = [] if key is None else [{"key": key}]
            work = self.host.call("job.restart", job.id, *chosen)
            self.run(self.refused_alike(exc.number, work))
            return
        more = {"instance": job.instance, "restart_of": job.id, "done": list(job.done)}
        self.again(job, "job.restart", key, **more)

    @rule(number=picks)
    def restart_twice_at_once(self, number: int) -> None:
        """Two restarts of one job at one time: one of them is refused."""
        if not self.restartable():
            return
        found = self.restartable()
        job = found[number % len(found)]
        self.run(self.race_restarts(job))

    def restartable(self) -> list[ModelJob]:
        """Give the jobs that may be restarted."""
        found = []
        for job in self.model.of(*FINAL):
            with contextlib.suppress(Refused):
                self.model.check_restart(job)
                found.append(job)
        return found

    async def race_restarts(self, job: ModelJob) -> None:
        calls = [self.begin_call("job.restart", job.id) for _ in range(2)]
        await asyncio.wait(calls)
        answers = [call.result() for call in calls]
        (number,) = [answer for answer in answers if isinstance(answer, int)]
        (error,) = [answer for answer in answers if isinstance(answer, CallError)]
        assert error.errno == errno.ESTALE
        again = ModelJob(
            id=number,
            method=job.method,
            tag=job.tag,
            lock=job.lock,
            priority=job.priority,
            retries=job.retries,
            instance=job.instance,
            restart_of=job.id,
            done=list(job.done),
        )
        self.model.add(again)

    def begin_call(self, *work: Any) -> asyncio.Task[Any]:
        """Call, and do not wait; what refuses it is the result."""
        return self.tasks.start(self.answer(*work), name=str(work))

    async def answer(self, *work: Any) -> Any:
        try:
            return await self.host.call(*work)
        except CallError as exc:
            return exc

    # What becomes of jobs.

    @rule(told=st.lists(st.tuples(picks, cues), min_size=1, max_size=4))
    def tell(self, told: list[tuple[int, str]]) -> None:
        """Let bodies go on, one after the other."""
        for number, cue in told:
            found = self.listeners()
            if found:
                job = found[number % len(found)]
                self.run(self.cue(job, cue))
                self.model.obey(job, cue)
                self.agrees()

    async def cue(self, job: ModelJob, cue: str) -> None:
        self.stage.tell(job.id, cue)

    def listeners(self) -> list[ModelJob]:
        """Give the jobs whose bodies wait to be told."""
        return [
            job
            for job in self.model.of("RUNNING")
            if job.pause != "paused" and job.child is None and not job.awaits
        ]

    @rule(number=picks, force=st.booleans(), unfinished=st.booleans())
    def abort(self, number: int, force: bool, unfinished: bool) -> None:
        """Abort a job."""
        if not self.model.jobs:
            return
        states = UNFINISHED if unfinished and self.model.of(*UNFINISHED) else ALL
        job = self.pick(number, *states)
        refused = None
        try:
            self.model.abort(job, force=force)
        except Refused as exc:
            refused = exc.number
        work = self.host.call("job.abort", job.id, {"force": force})
        self.run(self.refused_alike(refused, work))

    @rule(number=picks, resume=st.booleans())
    def pause(self, number: int, resume: bool) -> None:
        """Pause or resume a job."""
        if not self.model.jobs:
            return
        steps = [job for job in self.model.of("RUNNING") if job.kind.steps]
        job = steps[number % len(steps)] if steps else self.pick(number)
        refused = None
        try:
            (self.model.unpause if resume else self.model.set_pause)(job)
        except Refused as exc:
            refused = exc.number
        if job.final:
            refused = errno.EBUSY
        work = self.host.call("job.resume" if resume else "job.pause", job.id)
        self.run(self.refused_alike(refused, work))

    @rule(number=picks)
    def delete(self, number: int) -> None:
        """Delete a job."""
        if not self.model.jobs:
            return
        job, refused = self.pick(number), None
        try:
            self.model.delete(job)
        except Refused as exc:
            refused = exc.number
        self.run(self.refused_alike(refused, self.host.call("job.delete", job.id)))

    @rule(
        what=st.sampled_from(["advance", "stop", "crash"]),
        milliseconds=st.integers(1, 5000) | st.just(2_000_000),
    )
    def pass_on(self, what: str, milliseconds: int) -> None:
        """Let time pass, and then stop or die, and start."""
        self.clock.advance(milliseconds / 1000)
        self.model.advance(milliseconds)
        self.run(self.tick())
        self.agrees()
        if what == "stop":
            self.stop()
        elif what == "crash":
            self.crash()

    async def tick(self) -> None:
        self.host.tick()

    # Stops and crashes.

    def stop(self) -> None:
        """Stop and start."""
        assert self.run(self.host.stop())
        self.model.halt("ServerStopped")
        self.run(self.begin())

    def crash(self) -> None:
        """Die, and start."""
        self.run(self.die())
        self.model.halt("WorkerLost")
        self.run(self.begin())

    async def die(self) -> None:
        await asyncio.sleep(QUICK * 5)  # what was noted is on disk by then
        self.host.fuse.blown = True
        self.stage.next_life()
        await self.host.crash()

    @rule(
        wishes=st.lists(
            st.tuples(st.sampled_from(RUSH), picks, picks), min_size=1, max_size=5
        ),
        ticks=st.integers(0, 40),
        writes=st.none() | st.integers(0, 8),
        how=st.sampled_from(["crash", "stop"]),
    )
    def rush(
        self,
        wishes: list[tuple[str, int, int]],
        ticks: int,
        writes: int | None,
        how: str,
    ) -> None:
        """Ask for several things at one time, and die or stop amid them."""
        if not self.model.jobs:
            return
        self.run(self.end_amid(wishes, ticks, writes, how))

    async def end_amid(
        self,
        wishes: list[tuple[str, int, int]],
        ticks: int,
        writes: int | None,
        how: str,
    ) -> None:
        host = self.host
        if how == "crash":
            host.fuse.left = writes
        works = [self.wish(*wish) for wish in wishes]
        self.gone_amid = {work[1] for work in works if work and work[0] == "job.delete"}
        calls = [self.begin_call(*work) for work in works if work]
        for _ in range(ticks):
            await asyncio.sleep(0)
        if how == "stop":
            assert await host.stop()
        host.fuse.blown = True
        answers = list[tuple[list[Any], Any]]()
        for work, call in zip(filter(None, works), calls, strict=True):
            if not call.done():
                call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                answer = await call
                if not isinstance(answer, CallError):
                    answers.append((work, answer))
        self.stage.next_life()
        await host.crash()
        self.stage.next_life()
        await host.start()
        left = await host.left()
        self.check_left(left, answers)
        for number, record in left.items():
            self.model.learn(number, record)
        self.model.ran, self.model.stepped = (
            list(self.stage.ran),
            list(self.stage.stepped),
        )
        host.resume()
        self.model.resume()

    def wish(self, what: str, number: int, more: int) -> list[Any] | None:
        """Give a call; a body is told at once, and there is none then."""
        job, name = self.pick(number), sorted(METHODS)[more % len(METHODS)]
        match what:
            case "submit":
                return ["job.submit", f"m.{name}", [1 + more % 2, "xy"[number % 2]]]
            case "keyed":
                chosen = {"key": f"k{more % 2}", "priority": number % 3}
                return ["job.submit", f"m.{name}", [1, "x"], chosen]
            case "tell":
                self.stage.tell(job.id, ["next", "next", "fail"][more % 3])
                return None
            case "abort":
                return ["job.abort", job.id, {"force": bool(more % 2)}]
            case _:
                return [f"job.{what}", job.id]

    def check_left(
        self, left: dict[int, Any], answers: list[tuple[list[Any], Any]]
    ) -> None:
        """See that nothing told is lost, and nothing happened that must not."""
        deleted = {work[1] for work, _ in answers if work[0] == "job.delete"}
        assert not deleted & left.keys(), "a deleted job is back"
        for work, answer in answers:
            if isinstance(answer, int):
                found = answer in left or answer in self.gone_amid
                assert found, "an answered job is lost"
            if work[0] == "job.abort" and work[1] in left:
                state = str(left[work[1]].state)
                assert state in FINAL, "an answered abort is lost"
        ran = dict(sorted(self.stage.ran))
        for number, job in list(self.model.jobs.items()):
            if number in left:
                check_one(job, left[number], ran.get(number, 0))
                continue
            assert number in self.gone_amid, f"job {number} is lost"
            del self.model.jobs[number]
            self.model.gone.add(number)

    async def begin(self) -> None:
        self.stage.next_life()
        await self.host.start()
        self.host.resume()
        self.model.resume()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("store", sorted(COUNTS))
def test_jobs_do_what_the_model_does(store: str) -> None:
    """Whatever is asked in whatever order, the server is where the model is."""
    examples, steps = COUNTS[store]
    machine = type("Machine", (Machine,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            # Shrinking takes minutes, since a difference is waited for.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
