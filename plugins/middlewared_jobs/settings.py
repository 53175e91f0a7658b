"""Settings of the job manager, table ``jobs``."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["JobSettings"]

Positive = Annotated[int, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]


class JobSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """How many jobs run, and what they may leave behind."""

    thread_jobs: Annotated[
        Positive, Meta(description="Jobs in threads that run at one time.")
    ] = 32
    process_jobs: Annotated[
        Positive | None,
        Meta(
            description="Jobs in child processes that run at one time; "
            "by default as many as there are processor cores."
        ),
    ] = None
    process_recycle: Annotated[
        Positive, Meta(description="Jobs after which a child process is replaced.")
    ] = 100
    process_warm: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="Idle child processes kept ready, once there was a job."),
    ] = 1
    process_idle: Annotated[
        Seconds,
        Meta(description="Seconds after which further idle child processes end."),
    ] = 60.0
    async_jobs: Annotated[
        Positive, Meta(description="Jobs in the loop that run at one time.")
    ] = 1000
    max_waiting: Annotated[
        Positive, Meta(description="Jobs that may wait; beyond, calls are refused.")
    ] = 100_000
    progress_interval: Annotated[
        Seconds, Meta(description="Seconds between two progress events of one job.")
    ] = 0.25
    transient_ttl: Annotated[
        Seconds, Meta(description="Seconds a transient job stays listed after its end.")
    ] = 60.0
    abort_grace: Annotated[
        Seconds,
        Meta(description="Seconds after which an ignored abort is reported."),
    ] = 5.0
    max_result: Annotated[
        Positive,
        Meta(description="Bytes of a result, encoded; a larger one becomes a file."),
    ] = 16 * 2**20
    keep_days: Annotated[
        NotNegative,
        Meta(description="Days that ended jobs are kept with their logs; 0 for ever."),
    ] = 30.0
    keep_success_days: Annotated[
        NotNegative | None, Meta(description="Days instead, for SUCCESS.")
    ] = None
    keep_failed_days: Annotated[
        NotNegative | None, Meta(description="Days instead, for FAILED.")
    ] = None
    keep_aborted_days: Annotated[
        NotNegative | None, Meta(description="Days instead, for ABORTED.")
    ] = None
    keep_jobs: Annotated[
        Count,
        Meta(
            description="Ended jobs of each state that are kept at most, those that "
            "ended last; 0 for any number."
        ),
    ] = 0
    keep_success_jobs: Annotated[
        Count | None, Meta(description="How many instead, for SUCCESS.")
    ] = None
    keep_failed_jobs: Annotated[
        Count | None, Meta(description="How many instead, for FAILED.")
    ] = None
    keep_aborted_jobs: Annotated[
        Count | None, Meta(description="How many instead, for ABORTED.")
    ] = None
    max_log: Annotated[
        Positive,
        Meta(description="Bytes of a job's log; what comes after them is dropped."),
    ] = 2**28
    max_progress_extra: Annotated[
        Positive, Meta(description="Bytes of a progress's extra, encoded.")
    ] = 64 * 2**10
    max_transfers: Annotated[
        Positive,
        Meta(description="Uploads at one time; and outputs open for download."),
    ] = 100
    transfer_stall: Annotated[
        Seconds,
        Meta(description="Seconds an upload or a download may stand still."),
    ] = 60.0
    download_wait: Annotated[
        Seconds,
        Meta(description="Seconds in which somebody has to come for a download."),
    ] = 60.0
    download_keep: Annotated[
        Seconds,
        Meta(description="Seconds a buffered download is kept after its job's end."),
    ] = 3600.0
    max_download: Annotated[Positive, Meta(description="Bytes of a buffered one.")] = (
        16 * 2**30
    )
    disk_reserve: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(
            description="Bytes of the disk that downloads and results in files "
            "leave free."
        ),
    ] = 2**30
    max_exception: Annotated[
        Positive, Meta(description="Characters kept of a traceback.")
    ] = 64 * 2**10
    max_messages: Annotated[
        Positive, Meta(description="Messages kept with a job, the newest.")
    ] = 1000
    max_item_errors: Annotated[
        Positive, Meta(description="Failed items kept with a job, the first ones.")
    ] = 100_000
    max_checkpoint: Annotated[
        Positive, Meta(description="Bytes of a checkpoint or an attribute, encoded.")
    ] = 2**20
    kept_events: Annotated[
        Positive,
        Meta(description="Events of jobs kept for clients that were away."),
    ] = 250_000
    kept_events_age: Annotated[
        Seconds, Meta(description="Seconds for which events of jobs are kept.")
    ] = 7 * 86400.0
