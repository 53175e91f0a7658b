"""Rows that go into SQLite many at a time."""

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared.inserts import MAX_SHARING, WIDTHS, Insert

INSERT = Insert("t", ("x", "text"))
UPSERT = Insert(
    "t", ("x", "text"), "ON CONFLICT (x) DO UPDATE SET text = text || excluded.text"
)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY, text TEXT) STRICT")
    yield connection
    connection.close()


def test_one_row() -> None:
    """It is the SQL of one row wherever a text is expected."""
    assert INSERT == "INSERT INTO t (x, text) VALUES (?, ?)"
    assert UPSERT.startswith(f"{INSERT} ON CONFLICT")


@pytest.mark.parametrize("count", [0, 1, 3, *WIDTHS, 65, 2 * 64 + 16 + 4 + 3])
def test_rows(connection: sqlite3.Connection, count: int) -> None:
    """Any number of rows are inserted, each once."""
    rows = [(x, str(x)) for x in range(count)]
    INSERT.run(connection, rows)
    assert connection.execute("SELECT x, text FROM t ORDER BY x").fetchall() == rows


def test_order(connection: sqlite3.Connection) -> None:
    """Rows that conflict with earlier ones of the same call find them."""
    UPSERT.run(connection, [(x % 2, str(x)) for x in range(10)])
    found = connection.execute("SELECT x, text FROM t ORDER BY x").fetchall()
    assert found == [(0, "02468"), (1, "13579")]


def test_few_calls(connection: sqlite3.Connection) -> None:
    """A hundred rows are a handful of statements."""
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    INSERT.run(connection, [(x, "a") for x in range(100)])
    assert len(statements) == 64 // 64 + 36 // 16 + 4 // 4


def test_broken_rule(connection: sqlite3.Connection) -> None:
    """A row that breaks a rule is told as ever."""
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        INSERT.run(connection, [(1, "a")] * 4)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1]), st.sampled_from([None, "a", ""]), st.booleans()
        ),
        max_size=2 * WIDTHS[0],
    ),
    st.integers(0, 2**3 - 1),
)
def test_what_rows_have_in_common(rows: list[tuple[object, ...]], alike: int) -> None:
    """Whatever that is, every row is what it was."""
    if rows:
        rows = [
            tuple(
                (rows[0] if alike & 1 << place else row)[place]
                for place in range(len(row))
            )
            for row in rows
        ]
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE u (a INTEGER, b TEXT, c INTEGER) STRICT")
        Insert("u", ("a", "b", "c")).run(connection, rows)
        found = connection.execute("SELECT a, b, c FROM u ORDER BY rowid").fetchall()
    assert found == rows


def test_few_statements_are_remembered(connection: sqlite3.Connection) -> None:
    """However many ways there are in which rows are alike."""
    columns = [f"c{n}" for n in range(2 * MAX_SHARING)]
    connection.execute(f"CREATE TABLE v ({', '.join(columns)})")
    insert = Insert("v", columns)
    for alike in range(len(columns)):
        rows = [[x] * alike + [0] * (len(columns) - alike) for x in range(WIDTHS[0])]
        insert.run(connection, rows)
        assert len(insert._sharing) <= MAX_SHARING
        found = connection.execute("SELECT * FROM v ORDER BY rowid").fetchall()
        assert found[-WIDTHS[0] :] == [tuple(row) for row in rows]
