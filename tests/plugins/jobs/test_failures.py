"""Whatever a body raises, returns or sets: its job ends, and everybody is told."""

import asyncio
import errno
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire, WireError

from middlewared import CallError, Plugin, ValidationError, ValidationErrors
from middlewared_jobs import Job, JobAborted, job


class Mute(Exception):
    """An exception without a text."""


class Nasty(Exception):
    """An exception that breaks whoever looks at it."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")

    def __repr__(self) -> str:
        raise RuntimeError("nor this")


def endless() -> list[Any]:
    """Make a list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


#: What a body may raise, by name.
RAISED: dict[str, BaseException] = {
    "call": CallError("no luck", 13),
    "call_extra": CallError("no luck", 5, {"path": "/x", "when": {1, 2}}),
    "call_unencodable": CallError("no luck", 5, object()),
    "validation": ValidationError("path", "is bad", 2),
    "validations": ValidationErrors(
        [ValidationError("a", "one"), ValidationError("b.c", "two", 17)]
    ),
    "plain": ValueError("plain text"),
    "mute": Mute(),
    "nasty": Nasty(),
    "surrogate": RuntimeError("file \udcff is missing"),
    "call_surrogate": CallError("file \udcff is missing", 2, {"file": "\udcff"}),
    "os": FileNotFoundError(2, "No such file", "/x"),
    "os_odd": OSError(Mute(), "odd"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator": GeneratorExit(),
    "aborted": JobAborted(),
    "stop": StopIteration(1),
    "group": ExceptionGroup("several", [ValueError("one"), TypeError("two")]),
    "huge": ValueError("x" * 300_000),
    "cancelled": asyncio.CancelledError(),
}
ODD_VALIDATION = ValidationErrors([ValidationError("a", object())])  # type: ignore[arg-type]  # an author's mistake


def failing_plugin() -> Plugin:
    """Declare jobs that end badly."""
    plugin = Plugin("f", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job
    async def in_loop(job: Job, kind: str) -> None:
        """Raise in the loop."""
        raise RAISED[kind]

    @plugin.method(roles=USERS)
    @job
    def in_thread(job: Job, kind: str) -> None:
        """Raise in a thread."""
        raise RAISED[kind]

    @plugin.method(roles=USERS)
    @job
    async def odd_validation(job: Job) -> None:
        """Raise an error with something inside that is no text."""
        raise ODD_VALIDATION

    @plugin.method(roles=USERS)
    @job
    async def cancels_itself(job: Job) -> None:
        """Cancel the task that runs the body."""
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()

    @plugin.method(roles=USERS)
    @job
    async def sets(job: Job, what: str) -> str:
        """Set something that cannot be shown."""
        SETS[what](job)
        return "done"

    return plugin


#: What a body may set that has no form on the wire, by name.
SETS: dict[str, Callable[[Job], None]] = {
    "description": lambda job: job.set_progress(10, "file \udcff"),
    "no text": lambda job: job.set_progress(10, object()),  # type: ignore[arg-type]  # an author's mistake
    "job description": lambda job: job.set_description("file \udcff"),
    "extra": lambda job: job.set_progress(10, extra=object()),
    "endless extra": lambda job: job.set_progress(10, extra=endless()),
    "surrogate extra": lambda job: job.set_progress(10, extra={"file": "\udcff"}),
    "large extra": lambda job: job.set_progress(10, "big", extra="x" * 100_000),
}


@pytest.fixture(scope="module")
async def failing() -> AsyncIterator[World]:
    """Run one server for all jobs that end badly."""
    async with running_world(failing_plugin()) as world:
        yield world


async def end_of(wire: Wire, method: str, *params: Any) -> dict[str, Any]:
    """Run a job to its end and see that the history shows the same."""
    final = await wire.run(method, *params)
    assert await wire.call("core.get_jobs", [["id", "=", final["id"]]]) == [final]
    return final


@pytest.mark.parametrize("where", ["in_loop", "in_thread"])
@pytest.mark.parametrize("kind", RAISED)
async def test_every_exception_ends_the_job(
    kind: str, where: str, failing: World
) -> None:
    """A job fails with whatever its body raises, told in text, traceback and parts."""
    async with failing.admin() as wire:
        number = await wire.send(f"f.{where}", [kind])
        final = await wire.final(await wire.started(number))
        assert final["state"] == "FAILED"
        assert final["error"]
        assert final["exception"]
        assert len(final["exception"]) <= 70_000
        assert final["exc_info"]["type"]
        assert "error" in await wire.answer(number)
        assert await wire.call("core.get_jobs", [["id", "=", final["id"]]]) == [final]
        assert await wire.call("t.echo", "alive") == "alive"


@pytest.mark.parametrize(
    ("kind", "error", "info"),
    [
        ("call", "[EACCES] no luck", ("CallError", 13, None)),
        (
            "call_extra",
            "[EIO] no luck",
            ("CallError", 5, {"path": "/x", "when": {"$set": [1, 2]}}),
        ),
        (
            "validation",
            "[ENOENT] path: is bad",
            ("VALIDATION", 2, [["path", "is bad", 2]]),
        ),
        (
            "validations",
            "[EINVAL] a: one\n[EEXIST] b.c: two\n",
            ("VALIDATION", None, [["a", "one", 22], ["b.c", "two", 17]]),
        ),
        ("plain", "plain text", ("ValueError", None, None)),
        ("mute", "Mute()", ("Mute", None, None)),
        ("exit", "3", ("SystemExit", None, None)),
    ],
)
async def test_failures_look_as_documented(
    kind: str, error: str, info: tuple[str, Any, Any], failing: World
) -> None:
    """Error and parts of a failure are those of the protocol page, 5.5."""
    async with failing.admin() as wire:
        final = await end_of(wire, "f.in_loop", kind)
        assert final["error"] == error
        found = final["exc_info"]
        assert (found["type"], found["errno"], found["extra"]) == info
        assert final["exception"].startswith("Traceback (most recent call last):")


@pytest.mark.parametrize(
    ("kind", "code", "number", "extra"),
    [
        ("call", -32001, 13, None),
        ("validation", -32602, 22, [["path", "is bad", 2]]),
        ("validations", -32602, 22, [["a", "one", 22], ["b.c", "two", 17]]),
        ("plain", -32001, 22, None),
        ("mute", -32001, 22, None),
    ],
)
async def test_waiters_get_the_same_error(
    kind: str, code: int, number: int, extra: Any, failing: World
) -> None:
    """The call and a later `core.job_wait` fail as the body did."""
    async with failing.admin() as wire:
        direct = await wire.fail("f.in_loop", kind)
        job = wire.events()[0]["id"]
        late = await wire.fail("core.job_wait", job)
        for error in (direct, late):
            assert (error.code, error.errno, error.data["extra"]) == (
                code,
                number,
                extra,
            )
            assert error.reason == direct.reason
        assert direct.data["trace"]["class"] == type(RAISED[kind]).__name__


async def test_early_waiter_gets_the_original_class() -> None:
    """Who waited before the end is told the class that the body raised."""
    plugin = Plugin("w", requires=("jobs",))
    gate = asyncio.Event()

    @plugin.method
    @job
    async def fail_late(job: Job) -> None:
        """Fail after a gate."""
        await gate.wait()
        raise Mute("late")

    async with running_world(plugin) as world, world.admin() as wire:
        running = await wire.start("w.fail_late")
        number = await wire.send("core.job_wait", [running])
        await wire.event(await wire.started(number), "RUNNING")
        gate.set()
        error = (await wire.answer(number))["error"]
        assert error["data"]["trace"]["class"] == "Mute"
        assert error["data"]["reason"] == "late"


async def test_odd_validation_error_ends_the_job(failing: World) -> None:
    """An error that holds no text where text belongs still ends its job."""
    async with failing.admin() as wire:
        final = await end_of(wire, "f.odd_validation")
        assert final["state"] == "FAILED"
        assert final["exc_info"]["type"] == "VALIDATION"


async def test_body_that_cancels_itself_fails(failing: World) -> None:
    """A body that cancels its own task fails; nobody aborted it."""
    async with failing.admin() as wire:
        final = await end_of(wire, "f.cancels_itself")
        assert final["state"] == "FAILED"
        assert final["error"]
        assert await wire.call("t.echo", "alive") == "alive"


@pytest.mark.parametrize("what", SETS)
async def test_what_cannot_be_shown_does_not_stop_a_job(
    what: str, failing: World
) -> None:
    """Progress that has no form on the wire costs that progress, not the job."""
    async with failing.admin() as wire:
        final = await end_of(wire, "f.sets", what)
        assert (final["state"], final["result"]) == ("SUCCESS", "done")
        assert final["progress"]["extra"] is None


async def test_result_that_cannot_be_encoded(admin: Wire) -> None:
    """The job succeeds and says so; only the waiting caller gets the error."""
    number = await admin.send("demo.unencodable", [])
    final = await admin.final(await admin.started(number))
    assert (final["state"], final["result"]) == ("SUCCESS", None)
    assert set(final["result_encoding_error"]) == {"type", "repr"}
    error = (await admin.answer(number))["error"]
    assert error["code"] == -32603
    late = await admin.fail("core.job_wait", final["id"])
    assert late.code == -32603
    assert all(frame.get("id", 0) is not None for frame in admin.frames)


@pytest.mark.parametrize(
    "kind", ["nan", "infinity", "surrogate", "endless", "key", "raw", "bytes"]
)
async def test_results_without_a_form(kind: str) -> None:
    """NaN, infinity and other results without a form are encoding errors."""
    plugin = Plugin("r", requires=("jobs",))
    results: dict[str, Any] = {
        "nan": float("nan"),
        "infinity": [float("inf")],
        "surrogate": "\udcff",
        "endless": endless(),
        "key": {(1, 2): 3},
        "raw": [msgspec.Raw(b'{"a":')],
        "bytes": msgspec.Raw(b'"\xff"'),
    }

    @plugin.method
    @job
    async def give(job: Job) -> Any:
        """Return it."""
        return results[kind]

    async with running_world(plugin) as world, world.admin() as wire:
        final = await end_of(wire, "r.give")
        assert (final["state"], final["result"]) == ("SUCCESS", None)
        assert final["result_encoding_error"]["repr"]
        (listed,) = await wire.call("core.get_jobs")
        assert listed == final


async def test_typed_nan_result_is_an_encoding_error() -> None:
    """A result declared as float is checked as well."""
    plugin = Plugin("r", requires=("jobs",))

    @plugin.method
    @job
    async def give(job: Job) -> float:
        """Return NaN."""
        return float("nan")

    async with running_world(plugin) as world, world.admin() as wire:
        final = await end_of(wire, "r.give")
        assert final["result"] is None
        assert final["result_encoding_error"] is not None


async def test_result_over_the_limit() -> None:
    """A result over ``max_result`` is not kept; item and caller are told why."""
    async with running_world(max_result=100) as world, world.admin() as wire:
        assert await wire.call("t.echo", "x" * 98) == "x" * 98
        number = await wire.send("t.echo", ["x" * 99])
        final = await wire.final(await wire.started(number))
        assert (final["state"], final["result"]) == ("SUCCESS", None)
        assert final["result_encoding_error"]["type"] == "TooLarge"
        assert "101" in final["result_encoding_error"]["repr"]
        error = WireError((await wire.answer(number))["error"])
        assert (error.code, error.errno) == (-32001, errno.EMSGSIZE)
        late = await wire.fail("core.job_wait", final["id"])
        assert (late.code, late.errno) == (-32001, errno.EMSGSIZE)


async def test_unencodable_result_disturbs_nobody(admin: Wire) -> None:
    """Other clients get the events and nothing else (weakness W15)."""
    before = len(admin.frames)
    await admin.run("demo.unencodable")
    strangers = [f for f in admin.frames[before:] if f.get("id", 1) is None]
    assert strangers == []


async def test_recursion_in_a_body_is_a_failure() -> None:
    """A body that never stops calling itself fails with RecursionError."""
    plugin = Plugin("r", requires=("jobs",))

    def deeper() -> None:
        deeper()

    @plugin.method
    @job
    async def fall(job: Job) -> None:
        """Fall."""
        deeper()

    async with running_world(plugin) as world, world.admin() as wire:
        final = await end_of(wire, "r.fall")
        assert final["exc_info"]["type"] == "RecursionError"
        assert len(msgspec.json.encode(final)) < 100_000
        assert sys.getrecursionlimit() > 0
