"""Kept events in packs: put together, taken apart, and cut."""

import contextlib
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared.database import Statement
from middlewared_jobs.packs import (
    CUT,
    DELETE_PACKS,
    MOST,
    MOST_BYTES,
    PACK,
    packed,
    unpacked,
)
from middlewared_jobs.store import NO_CHANGE, Move

numbers = st.integers(1, 2**53)
changes = st.sampled_from(
    [
        NO_CHANGE,
        b"{}",
        b'{"state":"RUNNING"}',
        '{"description":"\u00fcber \u2713"}'.encode(),
    ]
)
moves = st.lists(
    st.tuples(
        numbers,
        numbers,
        numbers,
        st.sampled_from(["added", "changed"]),
        numbers,
        changes,
    ),
    min_size=1,
    unique_by=lambda move: move[0],
).map(sorted)


def made(count: int, change: bytes = NO_CHANGE) -> list[Move]:
    """Make events with numbers from one on."""
    return [(n, 1000 - n, n // 3, "changed", 5, change) for n in range(1, count + 1)]


@given(found=moves)
def test_everything_comes_back(found: list[Move]) -> None:
    """In order, with the ends and the newest time beside it."""
    ((last, first, newest, events),) = packed(found)
    assert list(unpacked(events)) == found
    assert (first, last) == (found[0][0], found[-1][0])
    assert newest == max(move[1] for move in found)


@pytest.mark.parametrize(
    ("count", "size", "packs"),
    [
        (1, 4, [1]),
        (MOST, 4, [MOST]),
        (MOST + 1, 4, [MOST, 1]),
        (4, MOST_BYTES // 4 - 1, [4]),
        (4, MOST_BYTES // 4, [2, 2]),
        (3, MOST_BYTES, [1, 1, 1]),
        (2, 2 * MOST_BYTES, [1, 1]),
    ],
)
def test_no_pack_is_too_large(count: int, size: int, packs: list[int]) -> None:
    """Unless one event alone is."""
    change = b'"%b"' % (b"x" * (size - 2))
    rows = list(packed(made(count, change)))
    found = [list(unpacked(events)) for *_, events in rows]
    assert [len(pack) for pack in found] == packs
    assert list(chain.from_iterable(found)) == made(count, change)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    folder = files("middlewared_jobs") / "migrations"
    with contextlib.closing(sqlite3.connect(":memory:")) as opened:
        opened.executescript((folder / "0006_packs.sql").read_text())
        yield opened


def kept(connection: sqlite3.Connection) -> list[tuple[int, list[Any]]]:
    """Give the first number that is said of each pack, and the numbers in it."""
    sql = "SELECT first, events FROM job_event_packs ORDER BY last"
    return [
        (first, [move[0] for move in unpacked(events)])
        for first, events in connection.execute(sql)
    ]


def test_cut(connection: sqlite3.Connection) -> None:
    """Of the pack in which a number is, what is above it stays; of others all."""
    PACK.run(connection, made(4))
    PACK.run(connection, made(9)[6:])
    steps: list[tuple[Statement, list[Any]]] = [
        ((CUT, (0,)), [(1, [1, 2, 3, 4]), (7, [7, 8, 9])]),
        ((CUT, (2,)), [(3, [3, 4]), (7, [7, 8, 9])]),
        ((CUT, (5,)), [(3, [3, 4]), (7, [7, 8, 9])]),
        ((DELETE_PACKS, (5,)), [(7, [7, 8, 9])]),
        ((CUT, (8,)), [(9, [9])]),
        ((CUT, (9,)), [(9, [9])]),
    ]
    for (sql, params), wanted in steps:
        if sql is CUT:
            CUT.run(connection, [params])
        else:
            connection.execute(sql, params)
        assert kept(connection) == wanted


def test_cut_pack_knows_its_newest_time(connection: sqlite3.Connection) -> None:
    """The clock was set back: the newest went."""
    PACK.run(connection, made(3))
    CUT.run(connection, [(1,)])
    sql = "SELECT newest FROM job_event_packs"
    assert connection.execute(sql).fetchall() == [(998,)]
