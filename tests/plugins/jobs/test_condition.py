"""What SQL knows of the jobs that a query matches."""

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from middlewared.filters import QueryOptions, parse_filters
from middlewared_jobs.condition import (
    BY_ID,
    MAX_PARTS,
    NEWEST_FIRST,
    Condition,
    columns_of,
    condition_of,
    order_of,
)
from middlewared_jobs.store import Viewer
from middlewared_jobs.views import ITEM, RECORD

_FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 99)
INSERT INTO jobs (
    id, uid, method, message_ids, arguments, abortable, progress, result,
    result_encoding_error, exc_info, state, time_created, time_started, time_finished,
    credentials, attempt, abort, owner
)
SELECT n + 1, 'uid', iif(n % 7, 't.echo', 't.hold'), '[]', '[]', 0, '{}', 'null',
    'null', 'null', iif(n % 5, iif(n % 3, 'SUCCESS', 'FAILED'), 'RUNNING'), n, n,
    iif(n % 5, n, NULL), 'null', 1, 'null', iif(n % 2, n % 4, NULL)
FROM numbers
"""
FILTERS: list[list[Any]] = [
    [],
    [["state", "=", "FAILED"]],
    [["state", "in", ["RUNNING", "SUCCESS"]], ["id", ">", 20]],
    [["time_finished", "<", {"$date": 50}]],
    [["time_finished", "=", None]],
    [["OR", [["time_finished", ">", {"$date": 50}], ["method", "=", "t.hold"]]]],
    [["owner", "=", None]],
    [["id", "=", "never"]],
    [["OR", [["parent", "=", 3], ["is_restart", "=", True]]]],
    [["tracking_id", "=", "x"], ["transient", "=", False]],
]
VIEWERS = [
    None,
    Viewer(None),
    Viewer(1),
    Viewer(3, frozenset({"t.hold"})),
    Viewer(None, frozenset({"t.hold", "t.gone"})),
]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """Open a database with ended jobs and others."""
    connection = sqlite3.connect(":memory:")
    for step in sorted(
        (files("middlewared_jobs") / "migrations").iterdir(), key=lambda one: one.name
    ):
        connection.executescript(step.read_text())
    connection.execute(_FILL)
    yield connection
    connection.close()


@pytest.mark.parametrize("viewer", VIEWERS)
def test_count_is_that_of_the_rows(
    database: sqlite3.Connection, viewer: Viewer | None
) -> None:
    """Ended jobs are counted by what indexes know, less those that have not ended."""
    for filters in FILTERS:
        found = condition_of(parse_filters(filters), RECORD, viewer)
        where = f"SELECT id, owner, method FROM jobs WHERE {found.where}"  # noqa: S608 - compiled
        rows = database.execute(where, found.params).fetchall()
        counted = database.execute(f"SELECT {found.count_sql}", found.params * 2)
        assert counted.fetchone() == (len(rows),), filters
        if viewer is not None:
            assert all(
                (viewer.owner is not None and owner == viewer.owner)
                or method in viewer.methods
                for _, owner, method in rows
            )


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("order", [*BY_ID, "state ASC, id"])
def test_rows_come_in_their_order(
    database: sqlite3.Connection, viewer: Viewer | None, order: str
) -> None:
    """However they are looked up, they are those of the condition, cut."""
    for filters in FILTERS:
        found = condition_of(parse_filters(filters), RECORD, viewer)
        where = f"SELECT id FROM jobs WHERE {found.where} ORDER BY {order}"  # noqa: S608 - compiled
        wanted = database.execute(where, found.params).fetchall()
        rows, params = found.rows(order, "LIMIT ? OFFSET ?", 7, 2)
        sql = f"SELECT id FROM jobs {rows}"  # noqa: S608 - compiled
        assert database.execute(sql, params).fetchall() == wanted[2:9]


def explained(database: sqlite3.Connection, sql: str, params: Any) -> str:
    """Say how SQLite goes about it."""
    found = database.execute(f"EXPLAIN QUERY PLAN {sql}", params)
    return "; ".join(row[3] for row in found)


def plan(
    database: sqlite3.Connection, found: Condition, order: str = NEWEST_FIRST
) -> str:
    """Say how SQLite reads rows."""
    rows, params = found.rows(order, "LIMIT ?", 50)
    return explained(database, f"SELECT id, method FROM jobs {rows}", params)  # noqa: S608 - compiled


def test_own_jobs_are_found_by_their_index(database: sqlite3.Connection) -> None:
    """Who has few jobs in a long history does not have all of it looked through."""
    own = condition_of(parse_filters([]), ITEM, Viewer(1))
    assert "USING INDEX jobs_owner" in plan(database, own)
    read = condition_of(parse_filters([]), ITEM, Viewer(1, frozenset({"a", "b"})))
    steps = plan(database, read)
    assert "USING INDEX jobs_owner" in steps
    assert "USING INDEX jobs_method" in steps
    assert "MULTI-INDEX OR" not in steps
    failed = parse_filters([["state", "=", "FAILED"]])
    steps = plan(database, condition_of(failed, ITEM, read.viewer))
    assert "USING INDEX jobs_state" in steps


LATER: list[Any] = ["time_finished", ">", {"$date": 20}]
EARLIER: list[Any] = ["time_finished", "<", {"$date": 50}]


@pytest.mark.parametrize(
    ("filters", "order", "wanted"),
    [
        ([EARLIER], ["time_finished"], "SEARCH jobs USING COVERING INDEX jobs_time_"),
        ([LATER], ["-time_finished"], "SEARCH jobs USING COVERING INDEX jobs_time_fin"),
        ([], ["time_finished"], "SEARCH jobs USING COVERING INDEX jobs_time_finished"),
        ([LATER, EARLIER], [], "SEARCH jobs USING INDEX jobs_time_finished"),
        # The first few rows by id are found soon, and need no sorting.
        ([LATER], [], "SCAN jobs"),
        ([EARLIER], [], "SCAN jobs"),
        ([], [], "SCAN jobs"),
        ([["state", "=", "FAILED"]], [], "SEARCH jobs USING INDEX jobs_state"),
        ([["state", "=", "FAILED"], EARLIER], ["time_finished"], "INDEX jobs_ended"),
    ],
)
def test_ends_are_found_by_their_index(
    database: sqlite3.Connection, filters: list[Any], order: list[str], wanted: str
) -> None:
    """It has ended jobs only, as all that asks for them."""
    found = condition_of(parse_filters(filters), RECORD, None)
    by = order_of(QueryOptions(order_by=order), RECORD, newest=True)
    assert by is not None
    assert wanted in plan(database, found, by)


@pytest.mark.parametrize("filters", [*FILTERS[:4], [LATER, EARLIER], [LATER]])
def test_counting_looks_at_indexes(
    database: sqlite3.Connection, filters: list[Any]
) -> None:
    """And at the few rows of jobs that have not ended."""
    found = condition_of(parse_filters(filters), RECORD, None)
    steps = explained(database, f"SELECT {found.count_sql}", found.params * 2)
    assert "SCAN jobs;" not in f"{steps};"


def test_long_conditions_are_not_repeated() -> None:
    """For many methods, or long filters, the SQL would be longer than is good."""
    few, many = (
        Viewer(1, frozenset(f"m{n}" for n in range(count)))
        for count in (MAX_PARTS, MAX_PARTS + 1)
    )
    short, long = ([["id", "in", list(range(count))]] for count in (3, 5000))
    merged = [
        "UNION" in condition_of(parse_filters(f), ITEM, v).rows("id ASC", "LIMIT 1")[0]
        for f, v in ((short, few), (short, many), (long, few))
    ]
    assert merged == [True, False, False]


def test_columns_are_those_of_the_view() -> None:
    """Only what a view shows can be named."""
    assert "owner" in columns_of(RECORD)
    assert "owner" not in columns_of(ITEM)
    assert columns_of(ITEM) is columns_of(ITEM)


def test_what_sql_cannot_decide_is_not_exact() -> None:
    """Then the rows have to be looked at."""
    assert not condition_of(parse_filters([["error", "~", "x"]]), ITEM, None).exact
    joined = condition_of(parse_filters([]), ITEM, None).joined("id = ?", 5)
    assert (joined.exact, joined.params) == (True, (5,))


def test_order_of() -> None:
    """Without an order it is that of ids; equal ones stay in that order."""
    orders = [
        order_of(QueryOptions(order_by=by, select=select), ITEM, newest=newest)
        for by, select, newest in (
            ([], [], True),
            ([], [], False),
            (["-id"], [], False),
            (["id"], ["state"], False),
            (["-state"], [], False),
            (["arguments"], [], False),
        )
    ]
    assert orders == ["id DESC", "id ASC", "id DESC", "id ASC", "state DESC, id", None]
