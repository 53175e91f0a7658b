"""Answers that the store makes as text, beside those that are put together."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_queries import filters, options
from jobs_records import EPOCH, make_record, records

from middlewared import CallError, Date, ejson
from middlewared.database import Database
from middlewared.filters import QueryOptions, parse_filters
from middlewared_jobs import JobRecord, State
from middlewared_jobs.history import History
from middlewared_jobs.liveitem import MAX_LIVE
from middlewared_jobs.page import shown_fields
from middlewared_jobs.sqlite_store import SqliteStore
from middlewared_jobs.store import Viewer
from middlewared_jobs.views import ITEM, RECORD, View

#: Filters and options.
Question = tuple[list[Any], QueryOptions]
VIEWS = [ITEM, RECORD]
VIEWERS = [None, Viewer(None), Viewer(1), Viewer(2, frozenset({"t.hold", "gone.x"}))]
NEWEST: dict[str, Any] = {"order_by": ["-id"]}
names = itertools.count()

#: Filters that SQL decides all of; most of those of `filters` it does not.
exact = st.sampled_from(
    [
        *([], [["state", "=", "SUCCESS"]], [["owner", "=", 1]], [["id", "<=", 4]]),
        [["state", "in", ["SUCCESS", "FAILED", "RUNNING"]], ["method", "^", "t."]],
        [["OR", [["owner", "=", None], ["description", "=", "pool"]]]],
        [["time_created", ">=", {"$date": EPOCH + 3}]],
        [["time_created.$date", "<", EPOCH + 9], ["abortable", "=", False]],
    ]
)


class Blind(SqliteStore):
    """A store that has nothing but records."""

    def page(self, *_: Any) -> None:
        """Give nothing."""


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    """Open an empty database with the tables of jobs."""
    path = folder / f"page-{next(names)}.db"
    async with Database.open(path) as database:
        await database.migrate("jobs", files("middlewared_jobs") / "migrations")
        yield database


async def filled(database: Database, found: Sequence[JobRecord]) -> None:
    """Save jobs."""
    store, done = SqliteStore(database), anyio.Event()
    for record in found:
        store.save(record, b"[]", None)
    store.flush(lambda _: done.set())
    await done.wait()


async def settled() -> None:
    """Wait for nothing: here no end is being written."""


async def answer(
    store: SqliteStore,
    live: Sequence[JobRecord],
    asked: Question,
    view: View = ITEM,
    viewer: Viewer | None = None,
) -> tuple[bytes, bool]:
    """Ask for jobs; give what goes over the wire, and whether the store made it."""
    history = History(store, lambda: live, settled)
    try:
        found = await history.query(parse_filters(asked[0]), asked[1], view, viewer)
    except CallError as exc:
        return str(type(exc)).encode(), False
    return ejson.encode(found, clear=True), isinstance(found, msgspec.Raw)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    found=st.integers(0, 8).flatmap(
        lambda count: st.tuples(*(records(number) for number in range(1, count + 1)))
    ),
    late=st.sets(st.integers(1, 8)),
    asked=st.lists(st.tuples(filters | exact | exact, options), min_size=8),
)
async def test_both_ways_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    found: tuple[JobRecord, ...],
    late: set[int],
    asked: list[Question],
) -> None:
    """Every kind of job, in every state, for everybody who may ask.

    Some jobs have ended in the store, and are in memory still.
    """
    live = [record for record in found if not record.final or record.id in late]
    folder = tmp_path_factory.getbasetemp()
    async with opened(folder) as database:
        await filled(database, found)
        sights = itertools.cycle(itertools.product(VIEWS, VIEWERS))
        for question, (view, viewer) in zip(asked, sights, strict=False):
            text, _ = await answer(SqliteStore(database), live, question, view, viewer)
            wanted, _ = await answer(Blind(database), live, question, view, viewer)
            assert text == wanted, question


def ended(number: int, **changes: Any) -> JobRecord:
    """Make a job that ended well."""
    return make_record(
        number, state=State.SUCCESS, time_finished=Date(EPOCH + number), **changes
    )


@pytest.mark.parametrize(
    ("view", "options", "made"),
    [
        (ITEM, NEWEST, True),
        (RECORD, {"order_by": ["time_created.$date", "-state"], "limit": 2}, True),
        (ITEM, {"get": True}, True),
        (ITEM, {"select": ["id", "state", "time_started"], "offset": 1}, True),
        (ITEM, {"select": ["id", ["state", "phase"]]}, False),
        (RECORD, {"select": ["id", "steps"]}, False),
        (ITEM, {"order_by": ["nulls_last:progress.percent"]}, False),
    ],
)
async def test_usual_queries_are_made_by_the_store(
    tmp_path: Path, view: View, options: dict[str, Any], *, made: bool
) -> None:
    """Nothing of these queries needs a look at a job, with and without live ones."""
    jobs = [ended(1), ended(2, steps=[], counts={"a": 1}), ended(3)]
    asked = ([["state", "!=", "FAILED"]], QueryOptions(**options))
    async with opened(tmp_path) as database:
        await filled(database, jobs)
        for live in ([], [make_record(4), make_record(5, state=State.FAILED)]):
            text, by_store = await answer(SqliteStore(database), live, asked, view)
            assert by_store is made
            assert text == (await answer(Blind(database), live, asked, view))[0]


async def test_memory_is_newer_than_the_store(tmp_path: Path) -> None:
    """What runs is shown as it is in memory, though a row of it is on disk, too."""
    waits = make_record(2)
    runs = msgspec.structs.replace(waits, state=State.RUNNING, description="now")
    fleeting = make_record(3, transient=True)
    asked: Question = ([], QueryOptions(**NEWEST))
    async with opened(tmp_path) as database:
        await filled(database, [ended(1), waits])
        text, made = await answer(SqliteStore(database), [runs, fleeting], asked)
        assert made
        found = msgspec.json.decode(text)
    assert [(item["id"], item["description"]) for item in found] == [
        (3, None),
        (2, "now"),
        (1, None),
    ]
    assert found[0]["transient"] is True


@pytest.mark.parametrize(
    ("filters", "options", "few", "many"),
    [
        # The highest or the lowest ids end the look.
        ([], {"order_by": ["-id"], "limit": 3, "offset": 1}, True, True),
        ([], {"limit": 2}, True, True),
        # All have to be looked at.
        ([], {"order_by": ["-method"], "limit": 2}, True, False),
        ([["state", "=", "FAILED"]], {"limit": 2}, True, False),
        ([], {}, True, False),
    ],
)
async def test_many_live_jobs_are_looked_at_elsewhere(
    tmp_path: Path,
    filters: list[Any],
    options: dict[str, Any],
    *,
    few: bool,
    many: bool,
) -> None:
    """The loop looks at so many of them only; above, a thread does."""
    live = [make_record(number) for number in range(3, MAX_LIVE + 4)]
    asked: Question = (filters, QueryOptions(**options))
    async with opened(tmp_path) as database:
        await filled(database, [ended(1), ended(2), ended(MAX_LIVE + 4)])
        for jobs, made in ((live[1:], few), (live, many)):
            text, by_store = await answer(SqliteStore(database), jobs, asked)
            assert by_store is made
            assert text == (await answer(Blind(database), jobs, asked))[0]


async def test_offsets_may_be_larger_than_any_history(tmp_path: Path) -> None:
    """There is nothing there, by either way."""
    asked: Question = ([], QueryOptions(offset=2**63 - 1))
    async with opened(tmp_path) as database:
        await filled(database, [ended(1)])
        for live in ([], [make_record(2)]):
            for store in (SqliteStore(database), Blind(database)):
                assert (await answer(store, live, asked))[0] == b"[]"


async def test_default_limit_gives_the_newest(tmp_path: Path) -> None:
    """Without a wish the newest thousand come ascending, with and without live ones."""
    jobs = [ended(number) for number in range(1, 1104)]
    asked: Question = ([], QueryOptions())
    async with opened(tmp_path) as database:
        await filled(database, jobs)
        for live in ([], [make_record(1104)]):
            text, made = await answer(SqliteStore(database), live, asked)
            last = 1103 + len(live)
            assert made
            assert [item["id"] for item in msgspec.json.decode(text)] == list(
                range(last - 999, last + 1)
            )


@pytest.mark.parametrize(
    ("select", "shown"),
    [
        ([], ITEM.fields),
        (["id", "state", "id"], ("id", "state")),
        (["id", "uid"], None),
        (["progress.percent"], None),
        ([["id", "number"]], None),
    ],
)
def test_shown_fields(select: list[Any], shown: tuple[str, ...] | None) -> None:
    """Keys at the top under their own names can be read as such."""
    assert shown_fields(QueryOptions(select=select), ITEM) == shown
