"""What SQL knows of the jobs that a query matches."""

from functools import cache
from typing import Any

import msgspec

from middlewared.filters import (
    Column,
    Columns,
    Filters,
    QueryOptions,
    compile_order,
    compile_sql,
    equal_keys,
)
from middlewared_jobs.store import Viewer
from middlewared_jobs.views import View

__all__ = [
    "BY_ID",
    "ENDED",
    "MAX_PARTS",
    "NEWEST_FIRST",
    "OLDEST_FIRST",
    "Condition",
    "columns_of",
    "condition_of",
    "order_of",
]

#: Likely, or the planner would take it for one end of a range of times, and sort all of
#: a long range by id where the first few rows by id are wanted.
ENDED = "likely(time_finished IS NOT NULL)"
NEWEST_FIRST, OLDEST_FIRST = "id DESC", "id ASC"
BY_ID = (NEWEST_FIRST, OLDEST_FIRST)
#: Keys whose indexes have the order of ids.
_KEYED = frozenset(
    {"id", "state", "method", "owner", "parent", "schedule", "tracking_id"}
)
#: Methods that somebody may read the jobs of, and characters of SQL for all of them,
#: above which they are not looked up apart.
MAX_PARTS, MAX_MERGED = 100, 16_384
#: By number, since the planner would rather look for what else they have to meet.
_COUNT_LEFT = (
    "SELECT count(*) FROM jobs NOT INDEXED WHERE id IN "
    "(SELECT id FROM jobs INDEXED BY jobs_state "
    "WHERE state IN ('WAITING', 'RUNNING') AND time_finished IS NULL)"
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
def columns_of(view: View) -> Columns:
    """Give the columns that the filters of a view can name."""
    found = {name: col for name, col in _QUERYABLE.items() if name in view.fields}
    return Columns(found)


class Condition(msgspec.Struct, frozen=True):
    """A condition for ended jobs.

    Attributes:
        filtered: what filters say.
        values: for its placeholders.
        exact: whether it selects what matches and nothing else.
        viewer: whose jobs, None for all.
        keyed: filters name one value of a key whose index has the order of ids.
    """

    filtered: str
    values: tuple[Any, ...]
    exact: bool
    viewer: Viewer | None
    keyed: bool = False

    @property
    def matched(self) -> str:
        """What jobs meet, whether or not they have ended."""
        viewer = self.viewer
        if viewer is None:
            return self.filtered
        if not viewer.methods:
            # An empty list besides would make the planner give up the index.
            return f"{self.filtered} AND owner = ?"
        marks = ", ".join("?" * len(viewer.methods))
        return f"{self.filtered} AND (owner = ? OR method IN ({marks}))"

    @property
    def params(self) -> tuple[Any, ...]:
        """For the placeholders of `matched` and `where`."""
        viewer = self.viewer
        if viewer is None:
            return self.values
        return (*self.values, viewer.owner, *sorted(viewer.methods))

    @property
    def where(self) -> str:
        """The condition, without the keyword."""
        return f"{ENDED} AND {self.matched}"

    def joined(self, more: str, value: Any) -> "Condition":
        """Add a condition with one placeholder for a value."""
        filtered, values = f"{self.filtered} AND {more}", (*self.values, value)
        return msgspec.structs.replace(self, filtered=filtered, values=values)

    def rows(self, order: str, end: str, *limits: int) -> tuple[str, tuple[Any, ...]]:
        """Give what follows ``FROM jobs`` to read rows, and its params.

        Args:
            order: terms of ``ORDER BY``.
            end: ``LIMIT``, and what goes with it.
            limits: for its placeholders.
        """
        if order in BY_ID and not self._is_mergeable:
            last = f"ORDER BY {order} {end}"
            return f"WHERE {self.where} {last}", (*self.params, *limits)
        if order in BY_ID:
            found, params = self._merged()
        else:
            # Ids are sorted, not all that is read of the rows.
            found, params = f"SELECT id FROM jobs WHERE {self.where}", self.params  # noqa: S608 - compiled, values are bound
        sql = f"WHERE id IN ({found} ORDER BY {order} {end}) ORDER BY {order}"
        return sql, (*params, *limits)

    def _merged(self) -> tuple[str, tuple[Any, ...]]:
        """Give SQL for the ids by what a viewer may see, each with its own index.

        Each of these has the order of ids, so that few rows of them are merged; rows
        that meet one of two conditions would be collected first, and sorted then.
        """
        assert self.viewer is not None  # noqa: S101 - for all of them nothing is merged
        seen: list[tuple[str, Any]] = [("owner = ?", self.viewer.owner)]
        seen += [("method = ?", name) for name in sorted(self.viewer.methods)]
        merged = " UNION ".join(
            f"SELECT id FROM jobs WHERE {ENDED} AND {self.filtered} AND {one}"  # noqa: S608 - compiled, values are bound
            for one, _ in seen
        )
        params = (value for _, last in seen for value in (*self.values, last))
        return merged, tuple(params)

    @property
    def _is_mergeable(self) -> bool:
        """Whether there are parts to merge, and no longer SQL than is good."""
        if self.viewer is None or self.keyed:
            return False
        parts = len(self.viewer.methods)
        return 0 < parts <= MAX_PARTS and parts * len(self.filtered) <= MAX_MERGED

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
    return Condition(
        f"({compiled.where})",
        tuple(compiled.params),
        compiled.exact,
        viewer,
        keyed=not _KEYED.isdisjoint(equal_keys(filters)),
    )


def order_of(options: QueryOptions, view: View, *, newest: bool) -> str | None:
    """Compile the order of a query, None when SQL cannot have it.

    Args:
        options: of which the order and what is selected count.
        view: what they speak of.
        newest: without any order the newest come first.
    """
    order = compile_order(options.order_by, columns_of(view), options.select)
    if order == "":
        return NEWEST_FIRST if newest else OLDEST_FIRST
    return order if order is None or order in BY_ID else f"{order}, id"
