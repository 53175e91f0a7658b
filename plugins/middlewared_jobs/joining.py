"""When a call shares a job that waits already, or is refused (``lock_queue_size``)."""

import errno

from middlewared import CallError, Credentials, ejson
from middlewared_jobs.lockqueue import LockQueue
from middlewared_jobs.options import DEFAULT
from middlewared_jobs.run import Run
from middlewared_jobs.spec import JobSpec
from middlewared_jobs.submission import Submission

__all__ = ["find_to_join"]


def find_to_join(
    queue: LockQueue, wish: Submission, spec: JobSpec, lock: str
) -> Run | None:
    """Find the job that a call shares; None when it gets one of its own.

    Raises:
        CallError: EBUSY, the lock has as many jobs as it may and none can be shared.
    """
    size = spec.lock_queue_size
    if size is None:
        return None
    if size == 0:
        if queue.is_busy(lock):
            raise CallError("This job is already being performed", errno.EBUSY)
        return None
    if queue.count_waiting(lock) < size:
        return None
    if spec.pipes:
        raise CallError(
            f"{size} jobs wait for lock {lock!r} already, and uploads and downloads "
            "cannot be shared",
            errno.EBUSY,
        )
    wanted = _complete(wish.method.params.defaults, wish.values)
    # Who chose options, or goes on with another job, wants a job of its own.
    plain = wish.options is DEFAULT and wish.restarts is None
    for run in queue.waiting_for(lock):
        assert isinstance(run, Run)  # noqa: S101 - only runs are queued
        if (
            plain
            and run.method is wish.method
            and _may_share(wish.credentials, run)
            and _complete(run.method.params.defaults, run.values) == wanted
        ):
            return run
    raise CallError(
        f"{size} jobs wait for lock {lock!r} already, none of them can be shared",
        errno.EBUSY,
    )


def _complete(defaults: tuple[object, ...], values: list[object]) -> bytes:
    """Encode params in clear with all defaults, so that equal calls are equal."""
    return ejson.encode([*values, *defaults[len(values) :]], clear=True)


def _may_share(credentials: Credentials | None, run: Run) -> bool:
    if credentials is None:
        return False
    own = run.record.owner is not None and run.record.owner == credentials.account_id
    return own or credentials.full_admin
