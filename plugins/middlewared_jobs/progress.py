"""Progress of one job: cheap to set from any thread, announced at a bounded rate."""

from typing import Any

from middlewared_jobs.record import CoreGetJobsItemProgress

__all__ = ["MAX_PERCENT", "next_progress"]

MAX_PERCENT = 100


def next_progress(
    before: CoreGetJobsItemProgress,
    percent: float | None,
    description: str | None,
    extra: Any,
    *,
    indeterminate: bool,
) -> CoreGetJobsItemProgress:
    """Make the progress that follows *before*; None leaves a value as it is.

    Args:
        before: what was set last.
        percent: clamped to 0..100 and cut to an integer.
        description: what the job does now.
        extra: anything more.
        indeterminate: the job cannot say how far it is.
    """
    if indeterminate:
        number = None
    elif percent is None:
        number = before.percent
    else:
        number = int(max(0, min(MAX_PERCENT, percent)))
    return CoreGetJobsItemProgress(
        number,
        before.description if description is None else description,
        before.extra if extra is None else extra,
    )
