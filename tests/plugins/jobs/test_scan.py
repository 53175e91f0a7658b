"""A look at jobs one by one, where SQL cannot decide."""

import errno
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from middlewared import CallError
from middlewared.database import Database
from middlewared.filters import QueryOptions, parse_filters
from middlewared.filters.tree import Incomparable
from middlewared_jobs import scan as subject
from middlewared_jobs.condition import condition_of
from middlewared_jobs.scan import Scan
from middlewared_jobs.views import ITEM

JOBS, SLICE, MAX_SCAN = 24, 4, 20
_FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
INSERT INTO jobs (
    id, uid, method, message_ids, arguments, abortable, progress, result,
    result_encoding_error, exc_info, state, time_created, time_finished, credentials,
    attempt, abort, description
)
SELECT n, 'uid-' || n, iif(n % 2, 't.odd', 't.even'), '[]', '[' || (n % 5) || ']', 0,
    '{"percent":' || (100 - n) || ',"description":"","extra":null}', 'null', 'null',
    'null', 'SUCCESS', n, n, 'null', 1, 'null', iif(n = 1, NULL, 'd')
FROM numbers
"""


class Reads:
    """Counts the rows that are read."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rows = 0

    async def read(self, sql: str, parameters: Any = ()) -> list[Any]:
        """Read, and count."""
        rows = await self.database.read(sql, parameters)
        self.rows += len(rows)
        return rows


@pytest.fixture
async def reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reads]:
    """Open a database with some jobs; slices are as small as the jobs are few."""
    monkeypatch.setattr(subject, "SLICE", SLICE)
    monkeypatch.setattr(subject, "MAX_SCAN", MAX_SCAN)
    async with Database.open(tmp_path / "jobs.db") as database:
        await database.migrate("jobs", files("middlewared_jobs") / "migrations")
        await database.execute((_FILL, (JOBS,)))
        yield Reads(database)


def scan(reads: Reads, *filters: Any) -> Scan:
    """Make a scan for filters."""
    parsed = parse_filters(filters)
    condition = condition_of(parsed, ITEM, None)
    return Scan(reads, condition, parsed, ITEM)  # type: ignore[arg-type]  # reads alone


THIRD = ["arguments.0", "=", 3]
FEW = ["id", "<=", MAX_SCAN - 1]
BY_PERCENT = QueryOptions(order_by=["nulls_last:progress.percent"])


async def test_first_matches_end_the_look(reads: Reads) -> None:
    """No more slices are read than hold as many matches as are needed."""
    assert await scan(reads, THIRD).first(2, newest=False) == [3, 8]
    assert reads.rows == 2 * SLICE
    assert await scan(reads, THIRD).first(2, newest=True) == [23, 18]
    assert await scan(reads, THIRD, FEW).first(9, newest=False) == [3, 8, 13, 18]


async def test_rare_matches_are_refused(reads: Reads) -> None:
    """When they are not among so many rows, nothing is answered."""
    with pytest.raises(CallError, match="more than 20 jobs") as caught:
        await scan(reads, ["arguments.0", "=", 9]).first(1, newest=True)
    assert caught.value.errno == errno.EFBIG
    assert reads.rows == MAX_SCAN


async def test_all_matches_in_an_order(reads: Reads) -> None:
    """The first ones of an order that no column knows."""
    assert await scan(reads, THIRD, FEW).ordered(BY_PERCENT, 2) == [18, 13]
    selected = QueryOptions(select=[["progress.percent", "p"]], order_by=["-p"])
    assert await scan(reads, FEW).ordered(selected, 3) == [1, 2, 3]
    missing = QueryOptions(select=["id"], order_by=["nulls_last:progress.percent"])
    assert await scan(reads, FEW).ordered(missing, 3) == [1, 2, 3]
    with pytest.raises(Incomparable):
        await scan(reads, FEW).ordered(QueryOptions(order_by=["description"]), 3)


async def test_matches_are_counted(reads: Reads) -> None:
    """Those that only a look can tell."""
    assert await scan(reads, THIRD, FEW).count() == 4


async def test_too_many_are_refused_at_once(reads: Reads) -> None:
    """One slice is read, then their number is asked for."""
    for work in (scan(reads).ordered(BY_PERCENT, 1), scan(reads, THIRD).count()):
        reads.rows = 0
        with pytest.raises(CallError, match="more than 20 jobs"):
            await work
        assert reads.rows == SLICE + 1


async def test_mistakes_show_before_the_number(reads: Reads) -> None:
    """What is wrong with a query is said, though there are too many jobs as well."""
    with pytest.raises(Incomparable):
        await scan(reads, ["progress.percent", ">", "x"]).count()
