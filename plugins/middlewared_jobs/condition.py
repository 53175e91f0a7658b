"""What SQL knows of the jobs that a query matches."""

from functools import cache
from typing import Any

import msgspec

from middlewared.filters import Column, Filters, compile_sql
from middlewared_jobs.store import Viewer
from middlewared_jobs.views import View

__all__ = ["ENDED", "Condition", "columns_of", "condition_of"]

ENDED = "time_finished IS NOT NULL"
_COUNT_LEFT = (
    "SELECT count(*) FROM jobs INDEXED BY jobs_time_finished "
    "WHERE time_finished IS NULL"
)

#: Where the filter language finds what, in both views.
_QUERYABLE: dict[str, Column] = {
    "id": Column("id", "int"),
    "uid": Column("uid", "text"),
    "method": Column("method", "text"),
    "transient": Column("0", "bool"),
    "description": Column("description", "text", nullable=True),
    "abortable": Column("abortable", "bool"),
    "logs_path": Column("logs_path", "text", nullable=True),
    "error": Column("error", "text", nullable=True),
    "state": Column("state", "text"),
    "time_created": Column("time_created", "time_ms"),
    "time_started": Column("time_started", "time_ms", nullable=True),
    # Only ended jobs are looked for here.
    "time_finished": Column("time_finished", "time_ms"),
    "owner": Column("owner", "int", nullable=True),
    "attempt": Column("attempt", "int"),
    "lock": Column("lock", "text", nullable=True),
    "phase": Column("phase", "text"),
    "instance": Column("instance", "int", nullable=True),
    "is_restart": Column("is_restart", "bool"),
    "restart_of": Column("restart_of", "int", nullable=True),
    "parent": Column("parent", "int", nullable=True),
    "schedule": Column("schedule", "int", nullable=True),
    "priority": Column("priority", "int"),
    "run_at": Column("run_at", "time_ms", nullable=True),
    "key": Column("key", "text", nullable=True),
    "tracking_id": Column("tracking_id", "text", nullable=True),
    "app_id": Column("app_id", "text", nullable=True),
    "time_modified": Column("time_modified", "time_ms", nullable=True),
    "node": Column("node", "text", nullable=True),
}


@cache
def columns_of(view: View) -> dict[str, Column]:
    """Give the columns that the filters of a view can name."""
    return {name: col for name, col in _QUERYABLE.items() if name in view.fields}


class Condition(msgspec.Struct, frozen=True):
    """A condition for ended jobs.

    Attributes:
        matched: what they meet besides.
        params: for its placeholders.
        exact: whether it selects what matches and nothing else.
    """

    matched: str
    params: tuple[Any, ...]
    exact: bool

    @property
    def where(self) -> str:
        """The condition, without the keyword."""
        return f"{ENDED} AND {self.matched}"

    def joined(self, more: str, value: Any) -> "Condition":
        """Add a condition with one placeholder for a value."""
        matched = f"{self.matched} AND {more}"
        return Condition(matched, (*self.params, value), self.exact)

    @property
    def count_sql(self) -> str:
        """SQL for the number of jobs, in brackets; it has the placeholders twice.

        Indexes tell how many match, but not all of them how many of these have ended;
        of the few others that is looked up.
        """
        every = f"SELECT count(*) FROM jobs WHERE {self.matched}"  # noqa: S608 - compiled, values are bound
        left = f"{_COUNT_LEFT} AND {self.matched}"
        # Rows are counted without a look at any when there is no condition at all.
        return f"(({every.removesuffix(' WHERE (1)')}) - ({left}))"


def condition_of(filters: Filters, view: View, viewer: Viewer | None) -> Condition:
    """Compile filters, and whose jobs a viewer may see.

    Args:
        filters: on what *view* shows.
        view: the shape that they speak of.
        viewer: whose jobs, None for all.
    """
    compiled = compile_sql(filters, columns_of(view))
    condition = Condition(f"({compiled.where})", (*compiled.params,), compiled.exact)
    if viewer is None:
        return condition
    if not viewer.methods:
        # An empty list besides would make the planner give up the index.
        return condition.joined("owner = ?", viewer.owner)
    marks = ", ".join("?" * len(viewer.methods))
    matched = f"{condition.matched} AND (owner = ? OR method IN ({marks}))"
    params = (*condition.params, viewer.owner, *sorted(viewer.methods))
    return Condition(matched, params, condition.exact)
