"""One contract for every store of jobs: the memory one, and SQLite in a real file."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jobs_queries import filters, options
from jobs_records import EPOCH, make_record, records

from middlewared import Date
from middlewared.database import Database
from middlewared.events import Message
from middlewared.filters import Filters, QueryOptions, parse_filters, run_query
from middlewared.filters.tree import MatchNotFound
from middlewared_jobs import ItemError, JobRecord, State
from middlewared_jobs.change import FIXED, change_of
from middlewared_jobs.exits import COMPLETED
from middlewared_jobs.history import History
from middlewared_jobs.memory_store import MemoryStore
from middlewared_jobs.notes import Exit
from middlewared_jobs.part import DEFAULT_LIMIT
from middlewared_jobs.phase import Phase
from middlewared_jobs.record import AT_LAST, Abort, CoreGetJobsItemProgress
from middlewared_jobs.removal import Removal
from middlewared_jobs.rows import CHANGES, varying_values
from middlewared_jobs.sqlite_store import SqliteStore
from middlewared_jobs.store import (
    NO_CHANGE,
    Departure,
    JobStore,
    KeptMove,
    Move,
    Viewer,
)
from middlewared_jobs.views import ITEM, RECORD, View

STORES = ["memory", "sqlite"]
RESULT = msgspec.Raw(b"[1,2]")
VIEWERS = [None, Viewer(None), Viewer(1), Viewer(2, frozenset({"t.hold"}))]
stores = pytest.mark.parametrize("kind", STORES)
names = itertools.count()

few = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@contextlib.asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[JobStore]:
    """Open a store; opening a folder again is another start of the server."""
    if kind == "memory":
        yield MemoryStore()
        return
    async with Database.open(folder / "jobs.db") as database:
        await database.migrate("jobs", files("middlewared_jobs") / "migrations")
        yield SqliteStore(database)


@contextlib.asynccontextmanager
async def fresh(kind: str, factory: pytest.TempPathFactory) -> AsyncIterator[JobStore]:
    """Open an empty store, for one example."""
    folder = factory.getbasetemp() / f"store-{next(names)}"
    folder.mkdir()
    async with opened(kind, folder) as store:
        yield store


async def flushed(store: JobStore) -> None:
    """Wait until everything that was handed over is in the store."""
    done = anyio.Event()
    store.flush(lambda exc: done.set())
    with anyio.fail_after(10):
        await done.wait()


async def filled(store: JobStore, found: Sequence[JobRecord]) -> None:
    """Save jobs."""
    for record in found:
        store.save(record, b"[]", None)
    await flushed(store)


async def settled() -> None:
    """Wait for nothing: here no end is being written."""


def same(one: JobRecord | None, other: JobRecord | None) -> bool:
    """Compare records by what they show: raw parts compare as values."""
    return (one and RECORD.plain(one)) == (other and RECORD.plain(other))


# Saving.


@stores
@few
@given(record=records(3))
async def test_what_was_saved_is_found(
    tmp_path_factory: pytest.TempPathFactory, kind: str, record: JobRecord
) -> None:
    """Every kind of record comes back as it was, and no other id is known."""
    async with fresh(kind, tmp_path_factory) as store:
        await filled(store, [record])
        assert same(await store.get(3), record)
        assert await store.get(4) is None
        assert await store.get(2**62) is None


@stores
@few
@given(first=records(3, final=False), last=records(3))
async def test_newest_save_wins(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    first: JobRecord,
    last: JobRecord,
) -> None:
    """Saving again replaces what may change of a job."""
    kept = {name: getattr(first, name) for name in FIXED}
    kept["attempt"] = max(first.attempt, last.attempt)
    last = msgspec.structs.replace(last, **kept)
    async with fresh(kind, tmp_path_factory) as store:
        await filled(store, [first, last])
        assert same(await store.get(3), last)


@stores
async def test_earlier_attempts_do_not_overwrite_later_ones(
    tmp_path: Path, kind: str
) -> None:
    """What the body of an attempt says that is over changes nothing."""
    async with opened(kind, tmp_path) as store:
        now = make_record(1, attempt=2, description="second")
        late = make_record(1, attempt=1, description="first", state=State.SUCCESS)
        await filled(store, [now, late])
        assert same(await store.get(1), now)


async def test_end_follows_a_change_that_was_refused(tmp_path: Path) -> None:
    """The end is written with all that an earlier write should have written."""
    record, outcomes = make_record(3, state=State.RUNNING, attempt=1), list[Any]()
    async with opened("sqlite", tmp_path) as store:
        store.save(record, b"[]", None, moves=[moved(1, record)])
        await flushed(store)
        record.description, record.priority = "later", 2**63  # no integer of SQLite
        store.save(record, b"[]", outcomes.append, moves=[moved(2, record)])
        record.priority = 0
        record.state, record.time_finished = State.SUCCESS, Date(EPOCH)
        store.save(record, None, outcomes.append)
        await flushed(store)
        assert [outcome is None for outcome in outcomes] == [False, True]
        assert same(await store.get(3), record)


async def test_refused_job_leaves_nothing_behind(tmp_path: Path) -> None:
    """What was remembered of a job that could not be written is forgotten."""
    record, outcomes = make_record(3, state=State.RUNNING), list[Any]()
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        store.save(record, b"[]", None, moves=[moved(1, record)])
        other = make_record(4, priority=2**63)  # no integer of SQLite
        store.save(other, b"[]", outcomes.append, moves=[moved(2, other)])
        await flushed(store)
        assert [move.seq for move in await kept(store)] == [1]
        assert outcomes[0] is not None
        assert list(store._rows) == [3]
        record.state, record.time_finished = State.SUCCESS, Date(EPOCH)
        await filled(store, [record])
        assert not store._rows


LIVES: list[list[dict[str, Any]]] = [
    [{}, {"state": State.RUNNING, "attempt": 1, "phase": Phase.RUNNING}],
    [{"state": State.RUNNING, "attempt": 1}, {"description": "later"}],
    [{"state": State.RUNNING}, {"error": "x", "retries": 3, "logs_excerpt": "line"}],
    [{}, {"state": State.RUNNING, "attempt": 1, "priority": 3}],
    [{}, {"abort": Abort("admin", Date(EPOCH))}],
    [{"state": State.RUNNING}, {"state": State.WAITING, "run_at": Date(EPOCH)}],
]


END = {"state": State.SUCCESS, "time_finished": Date(EPOCH), "result": RESULT}
#: The end of most jobs.
COMPLETION = END | {
    "phase": Phase.FINISHED,
    "time_modified": Date(EPOCH),
    "progress": AT_LAST,
    "exit": COMPLETED,
}
ENDS: list[dict[str, Any]] = [
    END,
    COMPLETION,
    COMPLETION | {"time_modified": Date(EPOCH + 1)},
    COMPLETION | {"exit": Exit("COMPLETED", "OK", "all of it")},
    COMPLETION | {"progress": CoreGetJobsItemProgress(100, 'it\'s "done"', None)},
    COMPLETION | {"message_ids": ["1"]},
    COMPLETION | {"state": State.FAILED},
]


@pytest.mark.parametrize("changes", LIVES)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("waits", [True, False], ids=["one by one", "together"])
async def test_whole_life(
    tmp_path: Path, changes: list[dict[str, Any]], end: dict[str, Any], waits: bool
) -> None:
    """Each move is written whole, whatever it changes of the one before it."""
    record = make_record(3)
    async with opened("sqlite", tmp_path) as store:
        for change in [*changes, end]:
            for name, value in change.items():
                setattr(record, name, value)
            store.save(record, b"[]", None)
            if waits:
                await flushed(store)
                assert same(await store.get(3), record)
        await flushed(store)
        assert same(await store.get(3), record)


def test_usual_end_is_written_with_few_values() -> None:
    """And only that one: a row has no other place for what differs."""
    before = make_record(1, state=State.RUNNING, attempt=1)
    values = varying_values(before, b"[]")
    change, *_ = CHANGES[State.SUCCESS]
    found = []
    for end in ENDS:
        after = msgspec.structs.replace(before, **end)
        found.append(change.makes(values, varying_values(after, None)))
    assert found == [end is COMPLETION for end in ENDS]


@stores
async def test_keys_name_jobs(tmp_path: Path, kind: str) -> None:
    """A key is found with its owner and method only; nobody's is one of its own."""
    async with opened(kind, tmp_path) as store:
        mine = make_record(1, owner=7, key="k")
        nobodys = make_record(2, owner=None, key="k")
        await filled(store, [mine, nobodys, make_record(3, owner=8)])
        assert same(await store.find_key(7, "t.echo", "k"), mine)
        assert same(await store.find_key(None, "t.echo", "k"), nobodys)
        assert await store.find_key(8, "t.echo", "k") is None
        assert await store.find_key(7, "t.hold", "k") is None


@stores
async def test_item_errors_are_kept_in_order(tmp_path: Path, kind: str) -> None:
    """They come with any write of their job, and are given in pages."""
    async with opened(kind, tmp_path) as store:
        errors = [ItemError(n, f"item {n}", "E1", "bad") for n in range(1, 6)]
        store.save(make_record(1), None, None, errors[:2])
        store.save(make_record(1), None, None, errors[2:])
        store.save(make_record(2), None, None, errors[:1])
        await flushed(store)
        assert list(await store.item_errors(1, 0, 10)) == errors
        assert list(await store.item_errors(1, 1, 2)) == errors[1:3]
        assert list(await store.item_errors(3, 0, 10)) == []


@stores
async def test_ended_jobs_are_deleted_whole(tmp_path: Path, kind: str) -> None:
    """With all that belongs to them; what has not ended stays, whoever asks."""
    async with opened(kind, tmp_path) as store:
        ended = make_record(1, state=State.SUCCESS, time_finished=Date(EPOCH))
        error = ItemError(1, "item", "E1", "bad")
        store.save(ended, None, None, [error])
        store.save(make_record(2), None, None, [error])
        await flushed(store)
        store.delete([1, 2, 3], None)
        await flushed(store)
        assert await store.get(1) is None
        assert list(await store.item_errors(1, 0, 10)) == []
        assert await store.get(2) is not None
        assert list(await store.item_errors(2, 0, 10)) == [error]


@stores
async def test_those_that_ended_first_leave_first(tmp_path: Path, kind: str) -> None:
    """Of one state, by the time of the end and then by id; unfinished ones never."""
    async with opened(kind, tmp_path) as store:
        for number, finished in ((1, 30), (2, 10), (3, 10), (4, 20)):
            when = Date(EPOCH + finished)
            ended = make_record(number, state=State.SUCCESS, time_finished=when)
            store.save(ended, None, None)
        failed = make_record(5, state=State.FAILED, time_finished=Date(EPOCH), owner=3)
        store.save(failed, None, None)
        store.save(make_record(6), None, None)
        await flushed(store)

        async def oldest(state: State, before: int | None, limit: int) -> list[int]:
            return [gone.id for gone in await store.oldest(state, before, limit)]

        assert await oldest(State.SUCCESS, None, 10) == [2, 3, 4, 1]
        assert await oldest(State.SUCCESS, None, 2) == [2, 3]
        assert await oldest(State.SUCCESS, EPOCH + 20, 10) == [2, 3]
        assert list(await store.oldest(State.FAILED, None, 10)) == [
            Removal(5, 3, "t.echo")
        ]
        assert await oldest(State.WAITING, None, 10) == []
        assert await store.count_ended(State.SUCCESS) == 4
        assert await store.count_ended(State.ABORTED) == 0
        assert await store.known([2, 6, 7]) == {2, 6}


@stores
async def test_later_changes_are_not_saved(tmp_path: Path, kind: str) -> None:
    """A store keeps what it was given, not what becomes of it afterwards."""
    async with opened(kind, tmp_path) as store:
        record = make_record(1, message_ids=["a"])
        store.save(record, b"[]", None)
        record.message_ids.append("b")
        record.state = State.RUNNING
        await flushed(store)
        found = await store.get(1)
        assert found is not None
        assert (found.message_ids, found.state) == (["a"], State.WAITING)
        found.message_ids.append("c")
        assert (await store.get(1)).message_ids == ["a"]  # type: ignore[union-attr]  # it is there


@stores
async def test_saves_are_told_in_order(tmp_path: Path, kind: str) -> None:
    """Callbacks come in the order of the calls, with None, and once each."""
    async with opened(kind, tmp_path) as store:
        told: list[tuple[int, Exception | None]] = []
        for number in range(1, 700):
            record = make_record(number)
            store.save(record, b"[]", lambda exc, n=number: told.append((n, exc)))  # type: ignore[misc]  # a default argument
            if number % 100 == 0:
                store.reserve_ids(number, lambda exc, n=-number: told.append((n, exc)))  # type: ignore[misc]  # a default argument
        assert told == []  # never from inside the call
        await flushed(store)
        wanted = []
        for number in range(1, 700):
            wanted += [number, -number] if number % 100 == 0 else [number]
        assert told == [(number, None) for number in wanted]


@stores
async def test_told_means_findable(tmp_path: Path, kind: str) -> None:
    """By the time a save is told, every query sees it."""
    async with opened(kind, tmp_path) as store:
        done = anyio.Event()
        record = make_record(1, state=State.SUCCESS, time_finished=Date(EPOCH))
        store.save(record, None, lambda exc: done.set())
        with anyio.fail_after(10):
            await done.wait()
        assert await store.get(1) is not None
        assert await store.count(parse_filters([]), ITEM, None, without=[]) == 1


@stores
async def test_flush_is_told_when_nothing_waits(tmp_path: Path, kind: str) -> None:
    """An empty store flushes, too."""
    async with opened(kind, tmp_path) as store:
        await flushed(store)


# Events that are kept.


def moved(
    seq: int,
    record: JobRecord,
    msg: Message = "changed",
    at: int = EPOCH,
    size: int = 100,
) -> Move:
    """Make an event that shows a job as it is now."""
    change = NO_CHANGE if record.final else change_of(record)
    return seq, at, record.id, msg, size, change


async def kept(store: JobStore, after: int = 0, upto: int = 10**6) -> list[KeptMove]:
    """Give kept events."""
    return list(await store.moves(after, upto, 10**9))


@stores
@few
@given(
    lives=st.lists(records(7, final=False), min_size=1, max_size=4),
    end=records(7, final=True),
)
async def test_events_show_the_job_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    lives: list[JobRecord],
    end: JobRecord,
) -> None:
    """Whatever became of it since; the end is what the row says."""
    fixed = {name: getattr(lives[0], name) for name in FIXED}
    lives = [
        msgspec.structs.replace(record, attempt=n, **fixed)
        for n, record in enumerate(lives)
    ]
    end = msgspec.structs.replace(end, attempt=9, **fixed)
    async with fresh(kind, tmp_path_factory) as store:
        for seq, record in enumerate([*lives, end], 1):
            store.save(record, None, None, (), [moved(seq, record)])
        await flushed(store)
        found = await kept(store)
        assert [move.seq for move in found] == list(range(1, len(lives) + 2))
        for move, record in zip(found, [*lives, end], strict=True):
            assert move.record is not None
            assert same(move.record(), record)
            assert (move.owner, move.method) == (record.owner, record.method)


@stores
async def test_events_are_given_by_number(tmp_path: Path, kind: str) -> None:
    """In parts that are not too large, but never empty before the end."""
    async with opened(kind, tmp_path) as store:
        assert await store.kept_range() == (0, 0)
        for seq in (3, 4, 6, 7):
            record = make_record(seq)
            move = moved(seq, record, "added", at=EPOCH + seq)
            store.save(record, None, None, (), [move])
        await flushed(store)
        assert await store.kept_range() == (2, 7)
        assert [m.seq for m in await kept(store, 3, 6)] == [4, 6]
        assert [m.msg for m in await kept(store)] == ["added"] * 4
        for size, wanted in ((1, [3]), (100, [3]), (250, [3, 4]), (400, [3, 4, 6, 7])):
            assert [m.seq for m in await store.moves(0, 9, size)] == wanted
        assert await store.first_move(EPOCH + 5) == 6
        assert await store.first_move(EPOCH + 9) is None
        await store.drop_moves(4)
        assert await store.kept_range() == (5, 7)
        assert [m.seq for m in await kept(store)] == [6, 7]


@stores
async def test_events_of_a_removed_job_say_whose_it_was(
    tmp_path: Path, kind: str
) -> None:
    """What it was like is gone with its row."""
    async with opened(kind, tmp_path) as store:
        ended = make_record(
            1, state=State.SUCCESS, time_finished=Date(EPOCH), owner=5, method="t.hold"
        )
        other = make_record(2)
        store.save(ended, None, None, (), [moved(1, ended)])
        store.save(other, None, None, (), [moved(2, other, "added")])
        store.delete([1], None, [Departure(3, EPOCH, 1, 5, "t.hold")])
        await flushed(store)
        one, two, three = await kept(store)
        assert two.record is not None
        assert (one.record, three.record) == (None, None)
        assert (three.msg, three.owner, three.method) == ("removed", 5, "t.hold")
        assert (one.owner, one.method) == (5, "t.hold")


@stores
async def test_events_are_written_with_their_job(tmp_path: Path, kind: str) -> None:
    """By the time a save is told, its events are there, too."""
    async with opened(kind, tmp_path) as store:
        done = anyio.Event()
        record = make_record(1)
        moves = [moved(1, record, "added"), moved(2, record)]
        store.save(record, None, lambda exc: done.set(), (), moves)
        with anyio.fail_after(10):
            await done.wait()
        assert [m.seq for m in await kept(store)] == [1, 2]


#: What happens to jobs 1 to 5: some get events, which are written together or one by
#: one, or refused; some are removed; old events are dropped.
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("moves"), st.integers(1, 5), st.integers(1, 4)),
        st.tuples(st.just("moves"), st.integers(1, 5), st.integers(1, 4)),
        st.tuples(st.just("refused"), st.integers(1, 5), st.integers(1, 2)),
        st.tuples(st.just("end"), st.integers(1, 5), st.just(0)),
        st.tuples(st.just("removed"), st.integers(1, 5), st.just(0)),
        st.tuples(st.just("committed"), st.just(0), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 9), st.just(0)),
    ),
    max_size=30,
)


class Keeping:
    """The same events in both stores."""

    def __init__(self, memory: JobStore, sqlite: JobStore) -> None:
        self.stores = memory, sqlite
        self.head = 0
        self.records: dict[int, JobRecord] = {}
        self._attempts = itertools.count(1)

    async def do(self, what: str, number: int, count: int) -> None:
        """Do one thing to both, or what only the one with a disk knows."""
        _, sqlite = self.stores
        if what == "committed":
            await flushed(sqlite)
        elif what == "drop":
            await flushed(sqlite)
            for store in self.stores:
                await store.drop_moves(self.head - number)
        elif what == "removed":
            if number in self.records and self.records[number].final:
                del self.records[number]
                self.head += 1
                gone = Departure(self.head, EPOCH - self.head, number, number, "t.a")
                for store in self.stores:
                    store.delete([number], None, [gone])
        else:
            self.save(what, number, count)

    def save(self, what: str, number: int, count: int) -> None:
        """Save a job with events."""
        attempt = next(self._attempts)
        record = make_record(number, attempt=attempt, owner=number, method="t.a")
        if what == "end":
            record.state, record.time_finished = State.SUCCESS, Date(EPOCH)
        moves = []
        for _ in range(max(count, 1)):
            self.head += 1
            at, size = EPOCH + self.head // 3 * 5 % 7, 90 + self.head % 5
            record.description = f"event {self.head}"
            moves.append(moved(self.head, record, at=at, size=size))
        if what == "refused":
            record.id += (
                10  # of a new job whose first row is refused nothing more comes
            )
            record.priority = 2**63  # no integer of SQLite
            self.stores[1].save(record, None, None, (), moves)
            return
        self.records[number] = record
        for store in self.stores:
            store.save(record, None, None, (), moves)

    async def compare(self, after: int, upto: int, size: int, at: int) -> None:
        """Ask both the same."""
        answers = []
        for store in self.stores:
            found = await store.moves(after, upto, size)
            shown = [
                (m.seq, m.job, m.msg, m.owner, m.method, self._shown(m)) for m in found
            ]
            since = await store.first_move(EPOCH + at)
            answers.append((shown, since, await store.kept_range()))
        assert answers[0] == answers[1]

    def _shown(self, move: KeptMove) -> Any:
        return None if move.record is None else RECORD.plain(move.record())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=happenings,
    asked=st.lists(
        st.tuples(
            st.integers(0, 60),
            st.integers(0, 60),
            st.sampled_from([1, 100, 250, 1000, 10**6]),
            st.integers(-60, 8),
        ),
        min_size=3,
        max_size=10,
    ),
)
async def test_kept_events_are_those_of_a_list(
    tmp_path_factory: pytest.TempPathFactory, steps: Any, asked: Any
) -> None:
    """However they were written together; also after a start."""
    folder = tmp_path_factory.getbasetemp() / f"store-{next(names)}"
    folder.mkdir()
    memory = MemoryStore()
    async with opened("sqlite", folder) as store:
        keeping = Keeping(memory, store)
        for step in steps:
            await keeping.do(*step)
        await flushed(store)
        for question in asked:
            await keeping.compare(*question)
    async with opened("sqlite", folder) as store:
        keeping.stores = memory, store
        await keeping.compare(0, 10**6, 10**9, 0)


# Unfinished jobs and ids.


@stores
@few
@given(found=st.lists(st.booleans(), max_size=6).flatmap(
    lambda ends: st.tuples(*(records(n, final=e) for n, e in enumerate(ends, 1)))
))  # fmt: skip
async def test_unfinished_jobs_come_back_by_id(
    tmp_path_factory: pytest.TempPathFactory, kind: str, found: tuple[JobRecord, ...]
) -> None:
    """Those that have not ended come by id, with their params; the others do not."""
    async with fresh(kind, tmp_path_factory) as store:
        for record in reversed(found):
            store.save(record, b"params %d" % record.id, None)
        await flushed(store)
        left = await store.unfinished()
        wanted = [record for record in found if not record.final]
        assert [stored.params for stored in left] == [
            b"params %d" % record.id for record in wanted
        ]
        assert all(
            same(stored.record, record)
            for stored, record in zip(left, wanted, strict=True)
        )


@stores
async def test_params_go_with_the_end(tmp_path: Path, kind: str) -> None:
    """The params of a job are erased when its end is saved, whatever is passed."""
    async with opened(kind, tmp_path) as store:
        record = make_record(1)
        store.save(record, b"sealed", None)
        record.state, record.time_finished = State.ABORTED, Date(EPOCH)
        store.save(record, b"sealed", None)
        await flushed(store)
        assert await store.unfinished() == []
    if kind == "sqlite":
        async with Database.open(tmp_path / "jobs.db") as database:
            assert await database.read("SELECT params FROM jobs") == [(None,)]


@stores
async def test_first_id_is_what_was_reserved(tmp_path: Path, kind: str) -> None:
    """Ids begin at 1, then where they were reserved; rows do not matter."""
    async with opened(kind, tmp_path) as store:
        assert await store.first_id() == 1
        await filled(store, [make_record(77)])
        assert await store.first_id() == 1
        store.reserve_ids(1001, None)
        await flushed(store)
        assert await store.first_id() == 1001


async def test_another_start_finds_everything(tmp_path: Path) -> None:
    """Jobs, params and ids are there after the file was closed and opened again."""
    record = make_record(5, message_ids=[0, "", None])
    async with opened("sqlite", tmp_path) as store:
        store.save(record, b'["clear"]', None)
        store.reserve_ids(1001, None)
    async with opened("sqlite", tmp_path) as store:
        (left,) = await store.unfinished()
        assert same(left.record, record)
        assert left.params == b'["clear"]'
        assert await store.first_id() == 1001


# Queries.


class Case(msgspec.Struct):
    """One query."""

    filters: list[Any]
    options: QueryOptions
    viewer: Viewer | None
    view: View


cases = st.builds(
    Case, filters, options, st.sampled_from(VIEWERS), st.sampled_from([ITEM, RECORD])
)
histories = st.integers(0, 8).flatmap(
    lambda count: st.tuples(*(records(number) for number in range(1, count + 1)))
)


def expected(found: Sequence[JobRecord], case: Case) -> Any:
    """Answer a query from all jobs, by the filter language alone.

    Raises:
        TypeError: some job cannot be compared, also when the answer has no need to.
    """
    visible = [r for r in found if case.viewer is None or case.viewer.sees(r)]
    items = [case.view.plain(record) for record in visible]
    run_query(items, parse_filters(case.filters), QueryOptions())
    return run_query(items, parse_filters(case.filters), case.options)


async def answer(history: History, parsed: Filters, case: Case) -> Any:
    """Answer a query; text is decoded."""
    found = await history.query(parsed, case.options, case.view, case.viewer)
    return msgspec.json.decode(found) if isinstance(found, msgspec.Raw) else found


async def outcome(history: History, case: Case) -> Any:
    """Answer a query as the server does; an error is its class."""
    parsed = parse_filters(case.filters)
    try:
        return await answer(history, parsed, case)
    except (TypeError, MatchNotFound) as exc:
        return type(exc)


@stores
@settings(parent=few, max_examples=25)
@given(found=histories, asked=st.lists(cases, min_size=1, max_size=12))
async def test_history_answers_like_one_list(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    found: tuple[JobRecord, ...],
    asked: list[Case],
) -> None:
    """Memory and store together answer as one list of all jobs would."""
    live = [record for record in found if not record.final]
    async with fresh(kind, tmp_path_factory) as store:
        await filled(store, found)
        history = History(store, lambda: live, settled)
        for case in asked:
            try:
                wanted = expected(found, case)
            except MatchNotFound:
                wanted = MatchNotFound
            except TypeError:
                continue  # which comparison fails first is not promised
            assert await outcome(history, case) == wanted


@stores
@few
@given(found=histories, case=cases)
async def test_job_in_memory_and_store_counts_once(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    found: tuple[JobRecord, ...],
    case: Case,
) -> None:
    """A job whose end is written but that is in memory still, is there once."""
    assume(found)
    async with fresh(kind, tmp_path_factory) as store:
        await filled(store, found)
        history = History(store, lambda: found, settled)
        try:
            wanted = expected(found, case)
        except MatchNotFound:
            wanted = MatchNotFound
        except TypeError:
            return
        assert await outcome(history, case) == wanted


def ended(number: int, **changes: Any) -> JobRecord:
    """Make a job that ended well."""
    return make_record(
        number, state=State.SUCCESS, time_finished=Date(EPOCH + number), **changes
    )


@stores
async def test_newest_thousand_without_a_limit(tmp_path: Path, kind: str) -> None:
    """Without a limit the newest 1000 matches come, ascending; count counts all."""
    assert DEFAULT_LIMIT == 1000
    total = 1203
    found = [ended(n, owner=n % 2) for n in range(1, total + 1)]
    async with opened(kind, tmp_path) as store:
        await filled(store, found)
        live = [make_record(total + 1, owner=1)]
        history = History(store, lambda: live, settled)

        async def ask(*filters: Any, viewer: Viewer | None = None, **more: Any) -> Any:
            asked = Case(list(filters), QueryOptions(**more), viewer, ITEM)
            return await outcome(history, asked)

        newest = [item["id"] for item in await ask()]
        assert newest == list(range(total + 2 - 1000, total + 2))
        odd = [item["id"] for item in await ask(viewer=Viewer(1))]
        assert odd == [n for n in range(1, total + 2) if n % 2 or n > total]
        old = [item["id"] for item in await ask(["id", "<", 5])]
        assert old == [1, 2, 3, 4]
        assert await ask(count=True) == total + 1
        assert await ask(["id", "<=", total], count=True) == total
        first = [item["id"] for item in await ask(limit=3)]
        assert first == [1, 2, 3]
        last = [item["id"] for item in await ask(limit=3, order_by=["-id"])]
        assert last == [total + 1, total, total - 1]
        page = [item["id"] for item in await ask(limit=2, offset=1100)]
        assert page == [1101, 1102]
        assert len(await ask(limit=10_000)) == total + 1


@stores
async def test_limit_applies_to_matches(tmp_path: Path, kind: str) -> None:
    """Filters look at the whole history, also those that SQL cannot narrow."""
    found = [
        ended(n, arguments=msgspec.Raw(b"[%d]" % (n % 50))) for n in range(1, 2600)
    ]
    async with opened(kind, tmp_path) as store:
        await filled(store, found)
        history = History(store, list, settled)
        parsed = parse_filters([["arguments.0", "=", 7]])
        items = await history.query(parsed, QueryOptions(), ITEM, None)
        assert [item["id"] for item in items] == list(range(7, 2600, 50))
        options = QueryOptions(limit=2)
        items = await history.query(parsed, options, ITEM, None)
        assert [item["id"] for item in items] == [7, 57]
