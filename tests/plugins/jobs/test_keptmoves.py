"""Kept events read from both of their tables, without a look at more than is asked."""

import contextlib
import sqlite3
from collections.abc import Iterator
from importlib.resources import files

import pytest
from jobs_records import make_record

from middlewared_jobs.change import change_of
from middlewared_jobs.keptmoves import KEPT_RANGE, MOVES, first_since, kept_moves
from middlewared_jobs.packs import PACK
from middlewared_jobs.rows import varying_values, whole_row
from middlewared_jobs.store import Move

ALL = 10**9
SINGLE = (
    "INSERT INTO job_events (seq, at, job, msg, change, size) VALUES (?, ?, ?, ?, ?, ?)"
)
GONE = "INSERT INTO job_events VALUES (?, ?, ?, 'removed', NULL, 0, 5, 't.gone')"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """Give a database with job 1."""
    folder = files("middlewared_jobs") / "migrations"
    steps = sorted(step.name for step in folder.iterdir() if step.name.endswith(".sql"))
    with contextlib.closing(sqlite3.connect(":memory:")) as opened:
        for step in steps:
            opened.executescript((folder / step).read_text())
        record = make_record(1, owner=3, method="t.a")
        opened.execute(*whole_row(record, varying_values(record, None)))
        yield opened


def made(*numbers: int, job: int = 1) -> list[Move]:
    """Make events of a job."""
    change = change_of(make_record(job, description="then"))
    return [(seq, 1000 + seq, job, "changed", 10, change) for seq in numbers]


def numbers(connection: sqlite3.Connection, after: int, upto: int) -> list[int]:
    """Give the numbers of what is read."""
    return [move.seq for move in kept_moves(connection, after, upto, ALL)]


def test_both_tables_are_one(connection: sqlite3.Connection) -> None:
    """What an earlier version kept, packs, and removals in the middle of a pack."""
    for seq, change in ((1, '{"description":"before"}'), (2, None)):
        connection.execute(SINGLE, (seq, 1000 + seq, 1, "changed", change, 10))
    PACK.run(connection, [*made(3), *made(4, job=2), *made(6)])
    connection.execute(GONE, (5, 1005, 2))
    PACK.run(connection, made(8, 9))
    assert numbers(connection, 0, ALL) == [1, 2, 3, 4, 5, 6, 8, 9]
    assert numbers(connection, 1, 4) == [2, 3, 4]
    assert numbers(connection, 4, 8) == [5, 6, 8]
    assert numbers(connection, 6, 7) == numbers(connection, 9, ALL) == []
    assert connection.execute(KEPT_RANGE).fetchall() == [(1, 3, 5, 9)]
    for at, wanted in (
        (0, 1),
        (1002, 2),
        (1004, 4),
        (1005, 5),
        (1007, 8),
        (1010, None),
    ):
        assert first_since(connection, at) == wanted
    one, two, three, four, five, *_ = kept_moves(connection, 0, ALL, ALL)
    told = [move.record and move.record().description for move in (one, two, three)]
    assert told == ["before", None, "then"]
    assert (three.owner, three.method, three.job) == (3, "t.a", 1)
    for move in (four, five):
        assert (move.owner, move.method, move.record) == (5, "t.gone", None)


def test_no_more_is_read_than_is_asked(connection: sqlite3.Connection) -> None:
    """Packs behind it are not looked at, and parts have a limit."""
    PACK.run(connection, made(*range(1, MOVES + 10)))
    connection.execute("INSERT INTO job_event_packs VALUES (9999, 9999, 0, 'nothing')")
    assert numbers(connection, 0, 9998) == list(range(1, MOVES + 1))
    assert numbers(connection, 5, 7) == [6, 7]
    assert numbers(connection, MOVES, 9998) == list(range(MOVES + 1, MOVES + 10))


def test_each_question_has_its_index(connection: sqlite3.Connection) -> None:
    """No table is looked through but in the order that is asked for."""
    asked: list[str] = []
    PACK.run(connection, made(1, 2))
    connection.set_trace_callback(asked.append)
    kept_moves(connection, 0, ALL, ALL)
    connection.execute(KEPT_RANGE).fetchall()
    connection.set_trace_callback(None)
    plans: list[str] = []
    for sql in asked:
        found = connection.execute(f"EXPLAIN QUERY PLAN {sql}")
        plans += [row[3] for row in found]
    assert any("USING INDEX job_events_removed" in plan for plan in plans)
    assert not [p for p in plans if p.startswith(("SCAN jobs", "USE TEMP B-TREE"))]
    assert not [p for p in plans if p.startswith("SCAN job_events")]
