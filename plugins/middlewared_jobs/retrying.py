"""Whether a failed attempt is followed by another one; pure."""

from middlewared import ValidationError, ValidationErrors
from middlewared_jobs.outcome import WorkerLost
from middlewared_jobs.record import JobRecord

__all__ = ["MAX_LOST", "count_lost", "may_retry"]

#: Lost workers after which a job is not queued again: its body may be what kills them.
MAX_LOST = 10


def count_lost(record: JobRecord) -> int:
    """Count the attempts of a job that lost their worker."""
    return sum(
        attempt.exc_info is not None and attempt.exc_info.type == WorkerLost.__name__
        for attempt in record.attempts
    )


def may_retry(record: JobRecord, error: BaseException, *, requeue: bool) -> bool:
    """Tell whether another attempt follows one that failed.

    Wrong values stay wrong, so a validation error is never tried again.

    Args:
        record: the job, in the attempt that failed.
        error: what failed it.
        requeue: a lost worker does not count against the retries.
    """
    if isinstance(error, (ValidationError, ValidationErrors)):
        return False
    if isinstance(error, WorkerLost) and requeue and count_lost(record) < MAX_LOST:
        return True
    return record.attempt <= record.retries
