"""Runs the body of a job, in the loop or in a thread, and says how it ended."""

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from middlewared import Secret
from middlewared_jobs.current_job import JobAborted
from middlewared_jobs.joblog import JobLog, excerpt
from middlewared_jobs.run import Run

__all__ = ["Aborted", "Ended", "Failed", "Succeeded", "run_body"]


class Succeeded(msgspec.Struct, frozen=True):
    """The body returned *value*."""

    value: Any


class Failed(msgspec.Struct, frozen=True):
    """The body raised *error*."""

    error: BaseException


class Aborted(msgspec.Struct, frozen=True):
    """The body ended because it was asked to."""


Ended = Succeeded | Failed | Aborted


def secret_texts(value: Any) -> list[str]:
    """Collect the texts of secrets in params, so that the log can mask them."""
    match value:
        case Secret():
            inner = value.get()
            return [inner] if isinstance(inner, str) else [str(inner)]
        case dict():
            return [text for inner in value.values() for text in secret_texts(inner)]
        case list() | tuple():
            return [text for inner in value for text in secret_texts(inner)]
        case msgspec.Struct():
            fields = value.__struct_fields__
            return [t for name in fields for t in secret_texts(getattr(value, name))]
        case _:
            return []


async def run_body(run: Run, threads: anyio.CapacityLimiter) -> Ended:
    """Run a job's body to its end; never raises what the body raises.

    The log is open while the body runs, and its excerpt is in the record afterwards.
    """
    log: JobLog | None = None
    try:
        if run.record.logs_path is not None:
            log = JobLog(Path(run.record.logs_path), secret_texts(run.values))
            run.job._open_log(log)
        return await (_in_thread(run, threads) if run.thread else _in_loop(run))
    except OSError as exc:
        return Failed(exc)
    finally:
        if log is not None:
            log.close()
            with anyio.CancelScope(shield=True):
                run.record.logs_excerpt = await anyio.to_thread.run_sync(
                    excerpt, Path(run.record.logs_path or "")
                )


async def _in_loop(run: Run) -> Ended:
    method = run.method
    ended: Ended = Aborted()
    with anyio.CancelScope() as scope:
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
