"""What a caller may choose for one job (``job.submit``)."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from middlewared import Date

__all__ = ["DEFAULT", "JobChoices", "JobOptions", "JobUpdate", "ProgressUpdate"]

Text = Annotated[str, Meta(min_length=1, max_length=256)]


class JobChoices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be chosen for one job, or for every job of a schedule.

    Attributes:
        priority: of jobs that could start, those with a higher one do first; by
            default the method's.
        timeout: seconds that an attempt may take; by default the method's.
        retries: attempts that may follow the first one; by default the method's.
        description: by default the method's.
        tracking_id: of the caller's own system.
        app_id: the application that it belongs to.
        source_customer: organisation of who starts it.
        target_customer: organisation that it works on.
        scopes: what it works on; by default the method's.
        attributes: values of the caller's own.
    """

    priority: Annotated[int, Meta(ge=-1000, le=1000)] | None = None
    timeout: Annotated[float, Meta(gt=0)] | None = None
    retries: Annotated[int, Meta(ge=0, le=1000)] | None = None
    description: str | None = None
    tracking_id: Text | None = None
    app_id: Text | None = None
    source_customer: Text | None = None
    target_customer: Text | None = None
    scopes: list[str] | None = None
    attributes: dict[str, Any] = {}


class JobOptions(JobChoices, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one job; each is a field of its record.

    Attributes:
        key: the same key of the same caller and method names the same job, as long as
            its record is kept: the call is safe to repeat.
        run_at: not to start before; meanwhile it holds no lock.
    """

    key: Text | None = None
    run_at: Date | None = None


DEFAULT = JobOptions()


class ProgressUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Progress to set; what is null stays as it is."""

    percent: float | None = None
    description: str | None = None
    extra: Any = None


class JobUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``core.job_update`` may set; what is null stays as it is."""

    progress: ProgressUpdate | None = None
    description: str | None = None
