"""Settings of the schedules, table ``schedules``."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["ScheduleSettings"]


class ScheduleSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """How times are read, and when one is missed."""

    timezone: Annotated[
        str,
        Meta(
            description="Time zone of cron expressions that name none; a schedule "
            "keeps the one it was made with."
        ),
    ] = "UTC"
    grace: Annotated[
        float,
        Meta(gt=0, description="Seconds after which a time counts as missed."),
    ] = 60.0
    max_missed: Annotated[
        int,
        Meta(
            gt=0,
            description="Missed times that a schedule with missed=all makes up for, "
            "the newest.",
        ),
    ] = 100
    max_schedules: Annotated[
        int, Meta(gt=0, description="Schedules that there may be.")
    ] = 10_000
