"""What the calls of the InfoLink dialect take."""

from typing import Annotated

import msgspec
from msgspec import Meta

from middlewared_dialects.infolink.documents import Activity
from middlewared_dialects.infolink.publication import Operation

__all__ = ["MAX_LOOKED", "ExecuteJob", "Wanted"]

#: Jobs that the activity log looks at, at most.
MAX_LOOKED = 10_000


class ExecuteJob(msgspec.Struct, rename="camel"):
    """Body of ``executeJob``."""

    app_id: str | int
    operation: Operation
    api_key: str | None = None
    is_async: bool | str = True
    no_result_schema: bool | str = False
    job_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class Wanted(msgspec.Struct, rename="camel"):
    """Query of ``getActivityLog``; everything given has to fit."""

    app_id: str | None = None
    title: str | None = None
    status: str | None = None
    init_type: str | None = None
    before: str | None = None
    after: str | None = None
    user_id: int | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LOOKED)] = 100
    time_zone: str | None = None
    api_key: str | None = None

    def fits(self, activity: Activity) -> bool:
        """Tell whether a job belongs into the answer."""
        return (
            self.app_id in (None, str(activity.app_id))
            and (self.title or "").casefold() in activity.title.casefold()
            and self.status in (None, activity.status)
            and self.init_type in (None, activity.init_type)
            and self.user_id in (None, activity.user_id)
        )
