"""Jobs of every kind whose bodies do what a test tells them, and are watched."""

import asyncio
import contextlib
import queue
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Self

import anyio
import msgspec

from middlewared import CallError, Plugin, ValidationError
from middlewared_jobs import Backoff, Job, job

__all__ = ["LIMITS", "METHODS", "SLOTS", "Kind", "Stage", "cued_plugin"]

#: Slots of bodies in the loop and in threads, few so that they matter.
SLOTS = {"loop": 4, "thread": 2}
#: Of jobs with one lock name that the method ``bounded`` has running.
LIMITS = 2
STEPS = ("a", "b")
LOOK_SECONDS = 0.002


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a method of the test is like, as its author would say it.

    Attributes:
        on_abort: what the body does that is asked to end: end, return or raise.
        child: the body starts a job and waits for it first.
        leaves: the body starts a job first, and does not wait for it.
        wait: seconds of the backoff.
    """

    where: str = "loop"
    lock: bool = False
    queue_size: int | None = None
    abortable: bool = True
    retries: int = 0
    wait: float = 0.0
    requeue: bool = False
    restart_limit: int = 0
    pausable: bool = False
    steps: bool = False
    max_running: int | None = None
    bounded: bool = False
    on_abort: str = "end"
    child: bool = False
    leaves: bool = False


METHODS = {
    "plain": Kind(),
    "fixed": Kind(abortable=False, lock=True),
    "locked": Kind(lock=True),
    "threaded": Kind(where="thread", lock=True),
    "loose": Kind(where="thread", requeue=True),
    "single": Kind(max_running=1),
    "bounded": Kind(bounded=True, retries=1),
    "flaky": Kind(retries=2, lock=True),
    "patient": Kind(retries=1, wait=1000.0, lock=True),
    "lasting": Kind(requeue=True, lock=True),
    "stepped": Kind(
        steps=True, restart_limit=2, pausable=True, lock=True, retries=1, requeue=True
    ),
    "joined": Kind(lock=True, queue_size=1),
    "alone": Kind(lock=True, queue_size=0),
    "busy": Kind(on_abort="return"),
    "rude": Kind(on_abort="raise", lock=True),
    "parent": Kind(child=True),
    "sponsor": Kind(leaves=True, retries=1, requeue=True),
}


def _options(kind: Kind) -> Mapping[str, Any]:
    """Give the arguments of the decorator."""
    return {
        "lock": "l:{lock}" if kind.lock else None,
        "lock_queue_size": kind.queue_size,
        "abortable": kind.abortable,
        "retries": kind.retries,
        "backoff": Backoff(first=kind.wait, jitter=0.0),
        "on_worker_lost": "requeue" if kind.requeue else "fail",
        "restartable": bool(kind.restart_limit),
        "restart_limit": kind.restart_limit or None,
        "pausable": kind.pausable,
        "steps": list(STEPS) if kind.steps else [],
        "max_running": kind.max_running,
        "limits": {"b:{lock}": LIMITS} if kind.bounded else {},
    }


class Stage:
    """What the bodies were told and did.

    Attributes:
        ran: id and attempt of each body that began.
        stepped: id, attempt and name of each step that was not skipped.
        wrong: what must not have happened, in words.
    """

    def __init__(self) -> None:
        self.ran: list[tuple[int, int]] = []
        self.stepped: list[tuple[int, int, str]] = []
        self.wrong: list[str] = []
        self._inside: Counter[str] = Counter()
        self._cues: dict[int, asyncio.Queue[str]] = {}
        self._thread_cues: dict[int, queue.Queue[str]] = {}
        self._life = 0

    def next_life(self) -> None:
        """Forget the bodies of a server that died."""
        self._life += 1
        self._inside.clear()
        self._cues.clear()
        self._thread_cues.clear()

    def tell(self, number: int, cue: str) -> None:
        """Tell a body to go on: ``next``, ``fail`` or ``invalid``."""
        if number in self._thread_cues:
            self._thread_cues[number].put(cue)
        else:
            self._cues.setdefault(number, asyncio.Queue()).put_nowait(cue)

    def enter(self, name: str, kind: Kind, job: Job, lock: str) -> "Presence":
        """Note that a body begins."""
        if (job.id, job.attempt) in self.ran:
            self.wrong.append(f"attempt {job.attempt} of job {job.id} ran twice")
        self.ran.append((job.id, job.attempt))
        bounds = {kind.where: SLOTS[kind.where], f"job {job.id}": 1}
        if kind.lock:
            bounds[f"lock {lock}"] = 1
        if kind.max_running is not None:
            bounds[name] = kind.max_running
        if kind.bounded:
            bounds[f"key {lock}"] = LIMITS
        return Presence(self, bounds)

    async def obey(self, job: Job) -> None:
        """Wait to be told what to do, and do it."""
        _do(await self._cues.setdefault(job.id, asyncio.Queue()).get())

    def obey_in_thread(self, job: Job) -> None:
        """Wait in a thread to be told what to do, and do it."""
        life, cues = self._life, self._thread_cues.setdefault(job.id, queue.Queue())
        while True:
            try:
                return _do(cues.get(timeout=LOOK_SECONDS))
            except queue.Empty:
                job.check_aborted()
                if self._life != life:
                    raise SystemExit from None


class Presence:
    """A body that is inside, counted against what it must not exceed."""

    def __init__(self, stage: Stage, bounds: Mapping[str, int]) -> None:
        self._stage, self._bounds, self._life = stage, bounds, stage._life

    def __enter__(self) -> Self:
        for name, most in self._bounds.items():
            self._stage._inside[name] += 1
            if self._stage._inside[name] > most:
                self._stage.wrong.append(f"more than {most} bodies of {name}")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._bounds:
            self._leave(name)

    def _leave(self, name: str) -> None:
        if self._stage._life == self._life:
            self._stage._inside[name] -= 1

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Lend the slot; taken back, there may be one more than there are."""
        self._leave("loop")
        try:
            yield
        finally:
            if self._stage._life == self._life:
                self._stage._inside["loop"] += 1


def _do(cue: str) -> None:
    if cue == "fail":
        raise CallError("told to fail", 5)
    if cue == "invalid":
        raise ValidationError("tag", "is bad")


def cued_plugin(stage: Stage) -> Plugin:
    """Declare the methods of `METHODS`, namespace ``m``."""
    plugin = Plugin("m", requires=("jobs",))
    for name, kind in METHODS.items():
        make = _in_thread if kind.where == "thread" else _in_loop
        body = make(stage, name, kind)
        plugin.method(name=name)(job(**_options(kind))(body))
    return plugin


def _in_thread(stage: Stage, name: str, kind: Kind) -> Any:
    def body(job: Job, tag: int, lock: str = "x") -> int:
        """Do as told, in a thread."""
        with stage.enter(name, kind, job, lock):
            stage.obey_in_thread(job)
        return tag

    return body


def _in_loop(stage: Stage, name: str, kind: Kind) -> Any:
    async def body(job: Job, tag: int, lock: str = "x") -> int:
        """Do as told, in the loop."""
        with stage.enter(name, kind, job, lock) as presence:
            if kind.child:
                with presence.lent():
                    await job.context.call("m.plain", tag)
            if kind.leaves:
                await job.start("m.locked", tag)
            if kind.steps:
                await _do_steps(stage, job)
                return tag
            try:
                await stage.obey(job)
            except anyio.get_cancelled_exc_class():
                if kind.on_abort == "end":
                    raise
                if kind.on_abort == "raise":
                    raise ValueError("not like this") from None
        return tag

    return body


async def _do_steps(stage: Stage, job: Job) -> None:
    for name in STEPS:
        async with job.step(name) as step:
            if not step.skipped:
                stage.stepped.append((job.id, job.attempt, name))
                await stage.obey(job)
