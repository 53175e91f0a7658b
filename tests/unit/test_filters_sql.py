"""SQL and evaluation on objects give the same answer, or the same error."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import permutations, product
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
DOCUMENTS: list[Any] = [
    None,
    None,
    True,
    False,
    0,
    1,
    5,
    1.5,
    -0.5,
    "",
    "a",
    "5",
    "null",
]
DOCUMENTS += ["x a", "é", "[a", [], ["a"], ["b", "a"], [["a"]], [None], [5, 1.0, "5"]]
DOCUMENTS += [{}, {"a": "a"}, {"a": None}, {"0": "a"}, {"a": [5]}, [{"a": "b"}, "a"]]
DOCUMENTS += [{"$date": 1}, {"$date": None}, {"$date": "a"}, [{"$date": 1}]]


def make_item(number: int) -> dict[str, Any]:
    """Make an item; forty of them hold every value in every field."""

    def pick(values: list[Any], stride: int) -> Any:
        return values[number * stride % len(values)]

    return {
        "id": number,
        "size": pick([None, *INTS], 3),
        "state": pick(TEXTS, 5),
        "note": pick([None, *TEXTS], 7),
        "flag": number % 2 == 0,
        "maybe": pick([None, True, False], 1),
        "started": pick(DATES, 2),
        "finished": pick([None, *DATES], 1),
        "args": pick(DOCUMENTS, 3),
        "progress": {
            "percent": pick(INTS, 2),
            "text": pick([None, *TEXTS], 3),
            "extra": pick(DOCUMENTS, 5),
        },
        "constant": False,
        "unstored": pick(DOCUMENTS, 7),
    }


ITEMS = [make_item(number) for number in range(1, 41)]
some_items = st.lists(
    st.sampled_from(ITEMS), max_size=6, unique_by=lambda item: item["id"]
).map(lambda items: sorted(items, key=lambda item: item["id"]))

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


STORED = {
    kind: [path for path, column in COLUMNS.items() if column.kind == kind]
    for kind in ("int", "bool", "text", "time_ms", "json")
}
INSIDE = ["args.0", "args.a", "args.*", "args.*.a", "unstored", "unstored.a", "nope"]
INSIDE += ["progress", "progress.extra", "state.deeper", "started.other"]
TIME_PATHS = ["finished.$date", "started.$date", "unstored.$date"]


def conditions(
    paths: list[str], operators: list[str], values: list[Any]
) -> list[list[Any]]:
    lists = [[], [None], values[:2], [values[1], None], values]
    return [list(triple) for triple in product(paths, operators, [*values, *lists])]


CONDITIONS = [
    *conditions(STORED["int"] + STORED["bool"], OPERATORS, NUMBERS),
    *conditions(STORED["text"], OPERATORS, WORDS),
    *conditions(STORED["text"], FOLDING, TEXTS),
    *conditions(STORED["time_ms"], OPERATORS, [*DATES, None, {"$date": None}, 5]),
    *([*one] for one in product(TIME_PATHS, COMPARISONS, [*TIMES, *MILLISECONDS, 0.5])),
    *conditions(STORED["json"], OPERATORS, DOCUMENTS),
    *conditions(INSIDE, OPERATORS, [None, "a", {"a": 5}]),
    *conditions([*COLUMNS, *INSIDE], OPERATORS[6:] + FOLDING, [{"a", 5}, "a"]),
]
OF_ONE_COLUMN = [
    [one for one in CONDITIONS if one[0].split(".")[0] == name]
    for name in sorted({path.split(".")[0] for path in COLUMNS})
]
some_conditions = st.lists(st.sampled_from(CONDITIONS), max_size=4) | st.sampled_from(
    OF_ONE_COLUMN
).flatmap(lambda of_one: st.lists(st.sampled_from(of_one), min_size=2, max_size=4))


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


ORDER_TERMS = [
    "".join(parts)
    for parts in product(
        ["", "nulls_first:", "nulls_last:"],
        ["", "-"],
        [*COLUMNS, "finished.$date", "progress", "nope", "s"],
    )
]
SELECTED: list[Any] = ["id", "state", "note", "args", "finished", "finished.$date"]
SELECTED += ["progress", "progress.percent", "progress.text", "constant"]
SELECTED += [["note", "s"], ["progress.text", "s"], ["finished", "s"], ["id", "state"]]
SELECTED += [["finished.$date", "s"], ["state", "progress"]]


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


def outcome(items: list[Any], filters: Filters, options: QueryOptions) -> Any:
    """Run a query, and give its answer or what it raised."""
    try:
        return run_query(items, filters, options)
    except (TypeError, QueryError) as exc:
        return type(exc), str(exc)


def check_filters(raw: list[Any], connection: sqlite3.Connection) -> None:
    """Hold SQL, item by item, to what `matches` says."""
    filters = parsed(raw)
    if filters is None:
        return
    compiled = compile_sql(filters, COLUMNS)
    sql = f"SELECT id FROM jobs AS j WHERE {compiled.where} ORDER BY id"  # noqa: S608
    ids = {row[0] for row in connection.execute(sql, compiled.params)}
    for item in ITEMS:
        try:
            answer = matches(filters, item)
        except (TypeError, QueryError):
            answer = None
        if item["id"] not in ids:
            assert answer is False, (raw, item)
        elif compiled.exact:
            assert answer is True, (raw, item)


def test_every_condition() -> None:
    """What SQL drops does not match, and raises nothing; what is exact matches."""
    with table(ITEMS) as connection:
        for condition in CONDITIONS:
            check_filters([condition], connection)


OF_NULLABLE: dict[str, list[tuple[Any, ...]]] = {
    "note": [
        *product(["note"], ["=", "!=", "in", "nin"], [None, "a", ["a"], ["a", None]]),
        *product(["note"], [">", "rin", "!^", "~", "C>"], ["a", "", "\ud800"]),
    ],
    "size": [
        *product(["size"], ["=", "!=", ">"], [None, 1]),
        *product(["size"], ["in", "nin"], [[1], [1, None]]),
    ],
    "finished": [
        *product(["finished"], ["=", "!=", ">"], [None, {"$date": 1}]),
        *product(["finished.$date"], ["=", "!=", ">"], ["1970-01-01"]),
    ],
    "unstored": [("unstored", "^", "a"), ("size", "=", 1), ("args", "rin", "a")],
}


@pytest.mark.parametrize("name", OF_NULLABLE)
def test_every_pair(name: str) -> None:
    """What a condition says of null, or raises, is kept in mind for the next one."""
    assert any(item[name] is None for item in ITEMS)
    with table(ITEMS) as connection:
        for pair in product(OF_NULLABLE[name], repeat=2):
            check_filters([list(one) for one in pair], connection)


@settings(deadline=None, max_examples=60)
@given(leaves=some_conditions)
def test_combined_conditions(leaves: list[Any]) -> None:
    """The same holds for conditions joined by AND and OR."""
    with table(ITEMS) as connection:
        for raw in combined(leaves):
            check_filters(raw, connection)


@settings(deadline=None, max_examples=60)
@given(leaves=some_conditions, items=some_items, get=st.booleans())
def test_same_answer(leaves: list[Any], items: list[dict[str, Any]], get: bool) -> None:
    """A query over the rows that SQL selects gives the answer or error of all items."""
    options = QueryOptions(get=get)
    with table(items) as connection:
        for raw in combined(leaves):
            filters = parsed(raw)
            if filters is None:
                continue
            compiled = compile_sql(filters, COLUMNS)
            sql = f"SELECT id FROM jobs AS j WHERE {compiled.where}"  # noqa: S608
            ids = {row[0] for row in connection.execute(sql, compiled.params)}
            narrowed = [item for item in items if item["id"] in ids]
            expected = outcome(items, filters, options)
            assert outcome(narrowed, filters, options) == expected, raw


def check_order(
    connection: sqlite3.Connection, items: list[Any], **choices: Any
) -> None:
    """Hold an SQL order, where there is one, to sorting items."""
    options = QueryOptions(**choices)
    order = compile_order(options.order_by, COLUMNS, options.select)
    if order is None:
        return
    terms = f"{order}, id" if order else "id"
    sql = f"SELECT id FROM jobs AS j ORDER BY {terms} LIMIT ? OFFSET ?"  # noqa: S608
    rows = connection.execute(sql, [options.limit or -1, options.offset])
    project = compile_select(options.select)
    answer = outcome(items, parse_filters([]), options)
    assert [project(ITEMS[number - 1]) for (number,) in rows] == answer


@pytest.mark.parametrize("select", [[], *([one] for one in SELECTED), ["id", "note"]])
def test_every_order(select: list[Any]) -> None:
    """Each sort key alone, with each select, sorts in SQL as it does on items."""
    with table(ITEMS) as connection:
        for term in ORDER_TERMS:
            check_order(connection, ITEMS, order_by=[term], select=select)


@settings(deadline=None, max_examples=100)
@given(
    items=some_items,
    order_by=st.lists(st.sampled_from(ORDER_TERMS), max_size=3),
    select=st.just([]) | st.lists(st.sampled_from(SELECTED), max_size=3),
    offset=st.integers(0, 3),
    limit=st.integers(0, 5),
)
def test_same_order(items: list[Any], **choices: Any) -> None:
    """Rows that SQL sorts, skips and limits are those that sorting items gives."""
    with table(items) as connection:
        check_order(connection, items, **choices)


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
