"""SQL and evaluation on objects give the same answer, or the same error."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import permutations, product
from random import Random
from typing import Any

import pytest
import regex  # type: ignore[import-untyped]  # the package ships no type information
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewared.filters import (
    Column,
    Filters,
    QueryError,
    QueryOptions,
    compile_order,
    compile_select,
    compile_sql,
    matches,
    parse_filters,
    run_query,
)
from middlewared.filters.sql import MAX_CONDITIONS, MAX_PARAMS

COLUMNS = {
    "id": Column("j.id", "int"),
    "size": Column("j.size", "int", nullable=True),
    "state": Column("j.state", "text"),
    "note": Column("j.note", "text", nullable=True),
    "flag": Column("j.flag", "bool"),
    "maybe": Column("j.maybe", "bool", nullable=True),
    "started": Column("j.started", "time_ms"),
    "finished": Column("j.finished", "time_ms", nullable=True),
    "args": Column("j.args", "json", nullable=True),
    "progress.percent": Column("j.percent", "int"),
    "progress.text": Column("j.progress_text", "text", nullable=True),
    "constant": Column("0", "bool"),
}
NAMES = [column.sql for column in COLUMNS.values() if column.sql != "0"]

# Small pools, so that values meet their equals and their neighbours.
INTS = [0, 1, 2, 5, -1, 2**63 - 1, -(2**63)]
TEXTS = ["a", "ab", "b", "", "A", "ß", "é", "a\x00b", "\x00", "\ud7ff", "\ue000"]
TEXTS += ["\U0010ffff", "a\U0010ffff", "null", "demo.sum", "[a"]
MILLISECONDS = [0, 1, 2, 1000, 1001]
DATES = [{"$date": ms} for ms in MILLISECONDS]
DOCUMENTS: list[Any] = [None, True, False, 0, 1, 5, 1.5, -0.5, "", "a", "5", "null"]
DOCUMENTS += ["x a", "é", "[a", [], ["a"], ["b", "a"], [["a"]], [None], [5, 1.0, "5"]]
DOCUMENTS += [{}, {"a": "a"}, {"a": None}, {"0": "a"}, {"a": [5]}, [{"a": "b"}, "a"]]
DOCUMENTS += [{"$date": 1}, {"$date": None}, {"$date": "a"}, [{"$date": 1}]]


def make_row(random: Random) -> dict[str, Any]:
    pick = random.choice
    return {
        "size": pick([None, pick(INTS)]),
        "state": pick(TEXTS),
        "note": pick([None, pick(TEXTS)]),
        "flag": pick([True, False]),
        "maybe": pick([None, True, False]),
        "started": pick(DATES),
        "finished": pick([None, pick(DATES)]),
        "args": pick(DOCUMENTS),
        "progress": {
            "percent": pick(INTS),
            "text": pick([None, pick(TEXTS)]),
            "extra": pick(DOCUMENTS),
        },
        "constant": False,
        "unstored": pick(DOCUMENTS),
    }


# Drawing whole rows and operands from pools keeps examples small and fast.
ROWS = [make_row(Random(seed)) for seed in range(500)]  # noqa: S311 - no secrets
rows = st.lists(st.sampled_from(ROWS), max_size=8)

NUMBERS: list[Any] = [
    *INTS,
    True,
    False,
    None,
    2**63,
    2**64,
    -(2**63) - 1,
    0.0,
    1.0,
    1.5,
    -0.5,
]
NUMBERS += [5.5, 2.0**63, 1e300, float("inf"), float("nan"), "1"]
WORDS: list[Any] = [*TEXTS, None, "\ud800", "demo", "e\u0301", 5]
TIMES = ["1970-01-01T00:00:01", "1970-01-01T00:00:00.001+00:00", "1970-01-01"]
TIMES += ["1970-01-01T00:00:01.0005", "1970-01-01T01:00:00+01:00", "2262-04-11"]
COMPARISONS = ["=", "!=", ">", ">=", "<", "<="]
OPERATORS = [*COMPARISONS, "in", "nin", "rin", "rnin", "^", "!^", "$", "!$", "~"]
FOLDING = ["C=", "C!=", "C>", "C^", "Crin", "Cin", "C~"]


def conditions(
    paths: list[str], operators: list[str], values: list[Any]
) -> st.SearchStrategy[list[Any]]:
    lists = [[], [None], values[:2], [values[1], None], values]
    triples = product(paths, operators, [*values, *lists])
    return st.sampled_from([list(triple) for triple in triples])


STORED = {
    kind: [path for path, column in COLUMNS.items() if column.kind == kind]
    for kind in ("int", "bool", "text", "time_ms", "json")
}
INSIDE = ["args.0", "args.a", "args.*", "args.*.a", "unstored", "unstored.a", "nope"]
INSIDE += ["progress", "progress.extra", "state.deeper", "started.other"]

any_condition = st.one_of(
    conditions(STORED["int"] + STORED["bool"], OPERATORS, NUMBERS),
    conditions(STORED["text"], OPERATORS, WORDS),
    conditions(STORED["text"], FOLDING, TEXTS),
    conditions(STORED["time_ms"], [*COMPARISONS, "in", "nin"], [*DATES, None, 5]),
    conditions(
        ["finished.$date", "started.$date", "unstored.$date"],
        COMPARISONS,
        [*TIMES, *MILLISECONDS, 0.5, 1e300],
    ),
    conditions(STORED["json"] + INSIDE, OPERATORS, DOCUMENTS),
    conditions([*COLUMNS, *INSIDE], OPERATORS + FOLDING, [{"a", 5}, *DOCUMENTS]),
)


def combined(conditions: list[list[Any]]) -> Iterator[list[Any]]:
    """Combine conditions to queries: alone, in pairs both ways, and nested."""
    yield []
    yield from ([one] for one in conditions)
    for one, other in permutations(conditions, 2):
        yield [one, other]
        yield [["OR", [one, other]]]
    for one, two, three in permutations(conditions[:3], 3):
        yield [one, two, three]
        yield [one, ["OR", [two, three]]]
        yield [["OR", [[one, two], three]]]
        yield [["OR", [[one, ["OR", [two]]], three]], two]


order_terms = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "nulls_first:", "nulls_last:"]),
    st.sampled_from(["", "-"]),
    st.sampled_from([*COLUMNS, "finished.$date", "nope", "s"]),
)
selects = st.lists(
    st.sampled_from(
        [
            *("id", "state", "note", "size", "finished", "progress"),
            *("progress.percent", "progress.text", "finished.$date"),
            *(["state", "s"], ["note", "s"], ["progress.text", "s"], ["id", "state"]),
        ]
    ),
    max_size=3,
)


def items_of(raw: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": number} | item for number, item in enumerate(raw, start=1)]


@contextmanager
def table(items: list[dict[str, Any]]) -> Iterator[sqlite3.Connection]:
    """Store items in a real table, as their columns say."""
    with closing(sqlite3.connect(":memory:")) as connection:
        names = ", ".join(name.removeprefix("j.") for name in NAMES)
        connection.execute(f"CREATE TABLE jobs ({names})")
        connection.executemany(
            f"INSERT INTO jobs VALUES ({', '.join('?' * len(NAMES))})",  # noqa: S608
            [[stored(item, path) for path in COLUMNS][:-1] for item in items],
        )
        yield connection


def stored(item: dict[str, Any], path: str) -> Any:
    value: Any = item
    for key in path.split("."):
        value = value[key]
    kind = COLUMNS[path].kind
    if kind == "json":
        # Both forms of null are allowed.
        nothing = value is None and item["id"] % 2
        return None if nothing else json.dumps(value, separators=(",", ":"))
    return value["$date"] if kind == "time_ms" and value else value


def parsed(raw: list[Any]) -> Filters | None:
    try:
        return parse_filters(raw)
    except (QueryError, TypeError, regex.error):
        # Refused before there is anything to compare; other tests look at that.
        return None


def outcome(
    items: list[Any], filters: Filters, options: QueryOptions | None = None
) -> Any:
    """Run a query, and give its answer or what it raised."""
    try:
        return run_query(items, filters, options or QueryOptions())
    except (TypeError, QueryError) as exc:
        return type(exc), str(exc)


def check_filters(
    raw: list[Any], items: list[dict[str, Any]], connection: sqlite3.Connection
) -> None:
    """Hold SQL and `matches` on its rows to evaluation on all items."""
    filters = parsed(raw)
    if filters is None:
        return
    compiled = compile_sql(filters, COLUMNS)
    sql = f"SELECT id FROM jobs AS j WHERE {compiled.where} ORDER BY id"  # noqa: S608
    ids = {row[0] for row in connection.execute(sql, compiled.params)}
    narrowed = [item for item in items if item["id"] in ids]
    expected = outcome(items, filters)
    if compiled.exact:
        assert narrowed == expected, raw
    assert outcome(narrowed, filters) == expected, raw
    first = QueryOptions(get=True)
    assert outcome(narrowed, filters, first) == outcome(items, filters, first), raw


@settings(deadline=None, max_examples=150)
@given(leaves=st.lists(any_condition, max_size=4), rows=rows)
def test_same_answer(leaves: list[Any], rows: list[dict[str, Any]]) -> None:
    """Rows that SQL selects give the answer or error that all items give."""
    items = items_of(rows)
    with table(items) as connection:
        for raw in combined(leaves):
            check_filters(raw, items, connection)


def check_order(
    items: list[dict[str, Any]], order_by: list[str], select: list[Any], cut: slice
) -> None:
    """Hold an SQL order, where there is one, to sorting items."""
    order = compile_order(order_by, COLUMNS, select)
    if order is None:
        return
    terms = f"{order}, id" if order else "id"
    limit, offset = cut.stop, cut.start
    with table(items) as connection:
        sql = f"SELECT id FROM jobs AS j ORDER BY {terms} LIMIT ? OFFSET ?"  # noqa: S608
        ids = [row[0] for row in connection.execute(sql, [limit or -1, offset])]
    project = compile_select(select)
    options = QueryOptions(order_by=order_by, select=select, limit=limit, offset=offset)
    answer = outcome(items, parse_filters([]), options)
    assert [project(items[number - 1]) for number in ids] == answer


@settings(deadline=None, max_examples=100)
@given(
    rows=rows,
    order_by=st.lists(order_terms, max_size=3),
    select=st.just([]) | selects,
    cut=st.builds(slice, st.integers(0, 3), st.integers(0, 5)),
)
def test_same_order(
    rows: list[dict[str, Any]], order_by: list[str], select: list[Any], cut: slice
) -> None:
    """Rows that SQL sorts, skips and limits are those that sorting items gives."""
    check_order(items_of(rows), order_by, select, cut)


def compiled(*raw: Any) -> tuple[str, bool]:
    result = compile_sql(parse_filters(list(raw)), COLUMNS)
    return result.where, result.exact


def test_nothing_to_filter() -> None:
    """No filters select everything."""
    result = compile_sql(parse_filters([]), COLUMNS)
    assert (result.where, result.params, result.exact) == ("1", [], True)


def test_conjunction_narrows_by_what_it_can() -> None:
    """Conditions that SQL cannot decide are left to `matches`, the others narrow."""
    assert compiled(["state", "=", "a"], ["note", "~", "x"]) == ("j.state = ?", False)
    assert compiled(["note", "~", "x"], ["state", "=", "a"]) == ("j.state = ?", False)
    assert compiled(["state", "^", "a"], ["size", "=", 1]) == (
        "(j.size = ? AND (j.state >= ? AND j.state < ?))",
        True,
    )


def test_after_what_may_raise_anywhere_nothing_narrows() -> None:
    """A later condition must not hide the error of an earlier one."""
    assert compiled(["unstored", ">", 1], ["state", "^", "a"]) == ("1", False)
    assert compiled(["unstored", ">", 1], ["state", "=", "a"]) == ("j.state = ?", False)


def test_rows_that_raise_stay() -> None:
    """Rows where a nullable column does not compare pass later conditions too."""
    assert compiled(["size", ">", 1], ["state", "^", "\U0010ffff"]) == (
        "((j.size > ? OR j.size IS NULL) AND (j.state >= ? OR j.size IS NULL))",
        False,
    )


def test_null_excluded_before() -> None:
    """What an earlier condition says of null makes later comparisons exact."""
    assert compiled(["finished", "!=", None], ["finished.$date", ">", 5]) == (
        "(j.finished IS NOT NULL AND j.finished > ?)",
        True,
    )
    assert compiled(["size", "in", [1, 2]], ["OR", [["size", "<", 2]]]) == (
        "(j.size IN (?, ?) AND j.size < ?)",
        True,
    )


def test_disjunction_needs_every_branch() -> None:
    """An OR narrows only when each of its branches does."""
    one, unknown = ["state", "=", "a"], ["unstored", "=", "a"]
    assert compiled(["OR", [one, ["size", "=", 1]]]) == (
        "(j.state = ? OR j.size = ?)",
        True,
    )
    assert compiled(["OR", [one, unknown]]) == ("1", False)
    assert compiled(["OR", [one, [["size", "=", 1], unknown]]]) == (
        "(j.state = ? OR j.size = ?)",
        False,
    )
    assert compiled(["OR", []]) == ("0", True)


def test_index_serves_filters() -> None:
    """SQLite uses an index for equality, lists, prefixes and times."""
    with table([]) as connection:
        for name in ("state", "started"):
            connection.execute(f"CREATE INDEX i_{name} ON jobs ({name})")
        for leaf in (
            ["state", "=", "a"],
            ["state", "in", ["a", "b"]],
            ["state", "^", "demo."],
            ["started.$date", ">", "2024-01-01"],
        ):
            query = compile_sql(parse_filters([leaf]), COLUMNS)
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN SELECT * FROM jobs AS j WHERE {query.where}",  # noqa: S608
                query.params,
            ).fetchall()
            assert "USING INDEX" in plan[0][-1], leaf


MANY = range(MAX_CONDITIONS)


@pytest.mark.parametrize(
    "raw",
    [
        [["OR", [["size", "=", number] for number in MANY]]],
        [["size", "!=", number] for number in MANY],
        [["size", "in", list(range(MAX_PARAMS))]],
        [["OR", [["note", "^", f"demo{number}"] for number in MANY]]],
        [["OR", [["size", "=", n], ["state", "=", "a"]]] for n in MANY[::2]],
    ],
)
def test_large_filters_run(raw: list[Any]) -> None:
    """The largest filters that are compiled stay within SQLite's limits."""
    query = compile_sql(parse_filters(raw), COLUMNS)
    assert query.exact
    with table([]) as connection:
        sql = f"SELECT id FROM jobs AS j WHERE {query.where}"  # noqa: S608
        assert connection.execute(sql, query.params).fetchall() == []


@pytest.mark.parametrize(
    "raw",
    [
        [["size", "in", list(range(MAX_PARAMS + 1))]],
        [["OR", [["size", "=", number] for number in range(MAX_CONDITIONS + 1)]]],
    ],
)
def test_too_large_for_sql(raw: list[Any]) -> None:
    """Larger filters are evaluated on objects alone."""
    filters = parse_filters(raw)
    query = compile_sql(filters, COLUMNS)
    assert (query.where, query.params, query.exact) == ("1", [], False)
    assert matches(filters, {"size": MAX_CONDITIONS})
