"""Runs the body of a job, in loop, thread or child, and says how it ended."""

import contextlib
from functools import cache, partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from middlewared import Secret
from middlewared_jobs.adopted import release
from middlewared_jobs.current_job import JobAborted
from middlewared_jobs.ending import Aborted, Ended, Failed, Succeeded
from middlewared_jobs.joblog import JobLog, cut_log, excerpt
from middlewared_jobs.pipes import NO_PIPES
from middlewared_jobs.run import Run
from middlewared_jobs.scrubbing import scrub
from middlewared_jobs.spec import Kind

__all__ = ["run_body", "secret_texts"]

LOOP = Kind.LOOP  # looking a member up in its enum takes 0.1 us


def secret_texts(value: Any) -> list[str]:
    """Collect the texts of secrets in params, so that the log can mask them."""
    match value:
        case Secret():
            inner = value.get()
            return [str(leaf) for leaf in _leaves(inner) if leaf is not None]
        case _ if (members := _members(value)) is not None:
            return [text for inner in members for text in secret_texts(inner)]
        case _:
            return []


def _members(value: Any) -> list[Any] | None:
    """Give what a value is made of, None when it is one piece."""
    match value:
        case dict():
            return list(value.values())
        case list() | tuple() | set() | frozenset():
            return list(value)
        case msgspec.Struct():
            return [getattr(value, name) for name in value.__struct_fields__]
        case _:
            return None


def _leaves(value: Any) -> list[Any]:
    members = _members(value)
    if members is None:
        return [value]
    return [leaf for member in members for leaf in _leaves(member)]


async def run_body(run: Run, threads: anyio.CapacityLimiter, max_log: int) -> Ended:
    """Run a job's body to its end; never raises what the body raises.

    Log and pipes are open while the body runs; afterwards the log's excerpt is in the
    record, and what it wrote for a buffered download in the file.

    Args:
        run: the job.
        threads: for bodies in threads.
        max_log: bytes that the log may have.
    """
    log: JobLog | None = None
    try:
        if run.record.logs_path is not None:
            # A child opens the log itself, the server has nothing secret to add.
            secrets = [] if run.child else secret_texts(run.values)
            log = JobLog(Path(run.record.logs_path), secrets, max_log)
            run.job._open_log(log)
        if run.plumbing is not None and run.child is None:
            run.job.pipes = run.plumbing.connect(run.kind, run.job.check_aborted)
        if run.kind is LOOP:
            ended = await _in_loop(run)
        elif run.child is not None:
            ended = await run.child.perform(run)
        else:
            ended = await _in_thread(run, threads)
    except OSError as exc:
        ended = Failed(exc)
    finally:
        if run.adopted is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(release, run)
        if log is not None:
            with anyio.CancelScope(shield=True):
                run.record.logs_excerpt = await _close_log(run, log, max_log)
    if run.spec.secret and isinstance(ended, Failed):
        ended = Failed(scrub(ended.error, secret_texts(run.values)))
    if run.plumbing is None:
        return ended
    run.job.pipes = NO_PIPES  # else the job and its pipes hold each other
    return await run.plumbing.settle(ended)


async def _close_log(run: Run, log: JobLog, max_log: int) -> str:
    """Close a log and give its excerpt; in a thread when that may take time."""
    look = partial(_look_at_log, log, Path(run.record.logs_path or ""), max_log)
    if log.is_small:
        return look()
    return await anyio.to_thread.run_sync(look)


def _look_at_log(log: JobLog, path: Path, max_log: int) -> str:
    log.close()
    with contextlib.suppress(OSError):  # the guard has said so
        cut_log(path, max_log)
    return excerpt(path)


@cache
def _scope_class() -> type[anyio.CancelScope]:
    """Give what a cancel scope is in this loop: finding it takes longer than one."""
    return type(anyio.CancelScope())


async def _in_loop(run: Run) -> Ended:
    method = run.method
    ended: Ended = Aborted()
    with _scope_class()() as scope:
        run.scope = scope
        try:
            value = await method.params.call(method.handler, run.job, run.values)
            ended = Succeeded(value)
        except anyio.get_cancelled_exc_class():
            if scope.cancel_called:
                raise  # the scope swallows it: the body was aborted
            ended = Failed(RuntimeError("the body of the job cancelled itself"))
        except BaseException as exc:  # noqa: BLE001 - a border: the outcome is recorded
            ended = _raised(run, exc)
    return ended


def _raised(run: Run, exc: BaseException) -> Ended:
    if isinstance(exc, JobAborted) and run.job.aborted:
        return Aborted()
    return Failed(exc)


async def _in_thread(run: Run, threads: anyio.CapacityLimiter) -> Ended:
    call = partial(_guarded, run)
    return await anyio.to_thread.run_sync(call, limiter=threads)


def _guarded(run: Run) -> Ended:
    method = run.method
    try:
        return Succeeded(method.params.call(method.handler, run.job, run.values))
    except BaseException as exc:  # noqa: BLE001 - a border: the outcome is recorded
        return _raised(run, exc)
