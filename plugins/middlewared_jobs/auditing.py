"""What the audit log is told of jobs."""

from middlewared.audit import OK, Trail
from middlewared_jobs.run import Run
from middlewared_jobs.submission import Submission

__all__ = ["note_job"]

#: Bytes of arguments that an entry has; of longer ones only the size is kept.
MAX_ARGUMENTS = 4096


def note_job(trail: Trail, wish: Submission, run: Run) -> None:
    """Write down who started a job, or shares one, however that came about.

    Args:
        trail: where to.
        wish: how it came about.
        run: the job; it is on disk.
    """
    if wish.method.access.read_only:
        return
    arguments = bytes(run.record.arguments)
    if len(arguments) > MAX_ARGUMENTS:
        arguments = b'["(%d bytes)"]' % len(arguments)
    trail.note(
        "JOB",
        OK,
        who=wish.credentials,
        origin=None if wish.session is None else wish.session.origin,
        method=wish.method.name,
        params=arguments,
        job_id=run.id,
        detail=_reason(wish),
    )


def _reason(wish: Submission) -> str | None:
    if wish.schedule is not None:
        return f"schedule {wish.schedule}"
    return None if wish.parent is None else f"job {wish.parent}"
