"""Every operator of the filters, row by row of the protocol's table, on objects."""

from collections import UserDict
from datetime import UTC, datetime
from typing import Any

import pytest

from middlewared.errors import describe_error
from middlewared.filters import QueryError, matches, parse_filters
from middlewared.filters.evaluate import OPERATORS


def passes(item: Any, *leaf: Any) -> bool:
    return matches(parse_filters([list(leaf)]), item)


def outcome(x: Any, op: str, y: Any) -> bool:
    """Apply an operator to a value."""
    return passes({"x": x}, "x", op, y)


@pytest.mark.parametrize(
    ("x", "op", "y", "expected"),
    [
        (1, "=", 1, True),
        (1, "=", 1.0, True),
        (1, "=", True, True),
        (1, "=", "1", False),
        ("a", "=", "A", False),
        (None, "=", None, True),
        (None, "=", 0, False),
        ([1, "a"], "=", [1, "a"], True),
        ({"a": 1}, "=", {"a": 1}, True),
        (2**70, "=", 2**70, True),
        (1, "!=", 2, True),
        (1, "!=", 1, False),
        (None, "!=", 1, True),
        (None, "!=", None, False),
        (2, ">", 1, True),
        (1, ">", 1, False),
        (1, ">=", 1, True),
        (1, "<", 1.5, True),
        (2, "<=", 1, False),
        ("b", ">", "a", True),
        (True, ">", 0, True),
        ([2], ">", [1], True),
        ("pool.scrub", "~", "pool", True),
        ("pool.scrub", "~", "scrub", False),
        ("pool.scrub", "~", ".*scrub$", True),
        ("Pool", "~", "pool", False),
        (None, "~", "^$", True),
        (None, "~", "x", False),
        (1, "in", [1, 2], True),
        (3, "in", [1, 2], False),
        (1.0, "in", [1, 2], True),
        (None, "in", [1, None], True),
        (None, "in", [1], False),
        ([1], "in", [[1], 2], True),
        ("b", "in", "abc", True),
        ("a", "in", {"a": 1}, True),
        (7, "in", list(range(100)), True),
        (True, "in", list(range(100)), True),
        ([7], "in", list(range(100)), False),
        (None, "in", [None, *range(100)], True),
        (3, "nin", [1, 2], True),
        (1, "nin", [1, 2], False),
        (None, "nin", [1, 2], False),
        ("d", "nin", "abc", True),
        (["a", "b"], "rin", "a", True),
        (["a", "b"], "rin", "c", False),
        ("abc", "rin", "b", True),
        ({"a": 1}, "rin", "a", True),
        (None, "rin", "a", False),
        (["a", "b"], "rnin", "c", True),
        (["a", "b"], "rnin", "a", False),
        (None, "rnin", "a", False),
        ("pool.scrub", "^", "pool", True),
        ("pool.scrub", "^", "Pool", False),
        ("pool.scrub", "^", "", True),
        (None, "^", "pool", False),
        ("pool.scrub", "!^", "core", True),
        ("pool.scrub", "!^", "pool", False),
        (None, "!^", "pool", False),
        ("pool.scrub", "$", "scrub", True),
        ("pool.scrub", "$", "Scrub", False),
        (None, "$", "scrub", False),
        ("pool.scrub", "!$", "core", True),
        ("pool.scrub", "!$", "scrub", False),
        (None, "!$", "scrub", False),
    ],
)
def test_operators(x: Any, op: str, y: Any, expected: bool) -> None:
    """Each operator has the meaning of its row, nulls included."""
    assert outcome(x, op, y) is expected


@pytest.mark.parametrize(
    ("x", "op", "y", "expected"),
    [
        ("STRASSE", "C=", "straße", True),
        ("a", "C!=", "A", False),
        ("B", "C>", "a", True),
        ("Pool", "C^", "pOOL", True),
        ("Pool", "C!^", "pOOL", False),
        ("Pool", "C$", "OOL", True),
        ("Pool", "C!$", "OOL", False),
        ("A", "Cin", ["a", "b"], True),
        ("A", "Cnin", ["a", "b"], False),
        (["A", "B"], "Crin", "b", True),
        (["A", "B"], "Crnin", "b", False),
        (["A"], "C=", ["a"], True),
        ("POOL", "C~", "pool", True),
        ("POOL", "C~", "POOL", False),
        (None, "C=", None, True),
        (None, "C=", "a", False),
        (None, "C~", "^$", True),
        (None, "C^", "a", False),
        (None, "Cnin", ["a"], False),
    ],
)
def test_casefolding(x: Any, op: str, y: Any, expected: bool) -> None:
    """The prefix C folds both sides, except the pattern."""
    assert outcome(x, op, y) is expected


@pytest.mark.parametrize(
    ("x", "name"), [(5, "int"), ({}, "dict"), (True, "bool"), (["a", 1.5], "float")]
)
def test_casefolding_refuses(x: Any, name: str) -> None:
    """A value that cannot be casefolded is EINVAL with its type."""
    with pytest.raises(QueryError) as caught:
        outcome(x, "C=", "a")
    reason = describe_error(caught.value, with_trace=False).reason
    assert reason == f"filter_list: cannot casefold value of type {name}"


@pytest.mark.parametrize(
    ("x", "op", "y", "text"),
    [
        (5, ">", "x", "'>' not supported between instances of 'int' and 'str'"),
        (None, "<", 5, "'<' not supported between instances of 'NoneType' and 'int'"),
        (5, "in", 5, "argument of type 'int' is not"),
        (5, "in", "5", "requires string as left operand, not int"),
        (None, "in", "5", "requires string as left operand, not NoneType"),
        (5, "nin", 5, "argument of type 'int' is not"),
        (5, "rin", 5, "argument of type 'int' is not"),
        ("a", "rin", 5, "requires string as left operand, not int"),
        (5, "rnin", 5, "argument of type 'int' is not"),
        (5, "^", "5", "must be str, not int"),
        ("5", "^", 5, "must be str, not int"),
        (["a"], "$", "a", "must be str, not list"),
        ("a", "!^", None, "must be str, not NoneType"),
        (5, "!$", "5", "must be str, not int"),
        (
            "a",
            "C>",
            None,
            "'>' not supported between instances of 'str' and 'NoneType'",
        ),
    ],
)
def test_wrong_types(x: Any, op: str, y: Any, text: str) -> None:
    """Types that do not go together are an error of the query, EINVAL on the wire."""
    with pytest.raises(TypeError) as caught:
        outcome(x, op, y)
    data = describe_error(caught.value, with_trace=False)
    assert data.errname == "EINVAL"
    assert text in data.reason


@pytest.mark.parametrize("op", ["~", "C~"])
def test_pattern_on_wrong_type(op: str) -> None:
    """A pattern on a number is an error of the request, not of the server."""
    with pytest.raises((TypeError, QueryError)):
        outcome(5, op, "5")


@pytest.mark.parametrize("op", [*sorted(OPERATORS), "C=", "C!=", "C~"])
def test_missing_key(op: str) -> None:
    """A missing key matches no operator, wherever on the path it is missing."""
    y = ["x"] if op in ("in", "nin") else "x"
    for path in ("nope", "deep.nope", "deep.nope.more", "nope.deep"):
        assert not passes({"deep": {}}, path, op, y)
    assert not passes({"deep": {}}, "deep.nope.$date", "!=", "2024-01-01")


ITEM = {
    "id": 1,
    "progress": {"percent": 50, "extra": None},
    "a.b": "dotted",
    "list": [{"k": 1}, {"k": 2}, {"other": 3}],
    "matrix": [[1, 2], [3]],
    "words": ["x", "y"],
    "empty": [],
    "0": "zero",
}


@pytest.mark.parametrize(
    ("path", "op", "y", "expected"),
    [
        ("progress.percent", "=", 50, True),
        (r"a\.b", "=", "dotted", True),
        ("a.b", "=", "dotted", False),
        ("list.0.k", "=", 1, True),
        ("list.1", "=", {"k": 2}, True),
        ("list.9", "=", None, True),
        ("list.9.k", "=", None, True),
        ("list.99999999999999999999999", "=", None, True),
        ("list.k", "=", 1, False),
        ("list.-1", "!=", 1, False),
        ("list.*.k", "=", 2, True),
        ("list.*.k", ">", 2, False),
        ("list.*", "=", {"other": 3}, True),
        ("matrix.*.*", "=", 3, True),
        ("matrix.0.1", "=", 2, True),
        ("words.*", "^", "y", True),
        ("words.*.k", "=", "y", True),
        ("empty.*", "!=", 1, False),
        ("id.deeper.still", "=", 1, True),
        ("progress.extra.more", "=", None, True),
        ("0", "=", "zero", True),
        ("*", "=", 1, False),
    ],
)
def test_paths(path: str, op: str, y: Any, expected: bool) -> None:
    """Paths go through keys, indexes and any element; a scalar is compared itself."""
    assert passes(ITEM, path, op, y) is expected


def test_any_mapping() -> None:
    """Items and what is in them may be any mapping."""
    item = UserDict({"a": UserDict({"b": 1})})
    assert passes(item, "a.b", "=", 1)
    assert not passes(item, "a.c", "=", 1)


@pytest.mark.parametrize(
    ("op", "y", "expected"),
    [
        ("=", "2023-12-18T16:15:35", True),
        ("=", "2023-12-18T16:15:35+00:00", True),
        ("=", "2023-12-18T17:15:35+01:00", True),
        ("=", "2023-12-18T16:15:35Z", True),
        ("!=", "2023-12-18T16:15:36", True),
        (">", "2023-12-18T16:15:34.999", True),
        (">", "2023-12-18T16:15:35", False),
        (">=", "2023-12-18T16:15:35", True),
        ("<", "2023-12-18T16:15:35.000001", True),
        ("=", "2023-12-18T16:15:35.000001", False),
        ("!=", "2023-12-18T16:15:35.000001", True),
        (">=", "2023-12-18T16:15:35.000001", False),
        ("<=", "2023-12-19", True),
        ("=", 1702916135000, True),
        (">", 1702916134999.5, True),
        ("<", 1702916135000, False),
    ],
)
def test_times(op: str, y: Any, expected: bool) -> None:
    """The milliseconds of a time compare with ISO strings and with numbers."""
    item = {"t": {"$date": 1702916135000}, "all": [{"t": {"$date": 1702916135000}}]}
    assert passes(item, "t.$date", op, y) is expected
    assert passes(item, "all.*.t.$date", op, y) is expected


def test_times_that_are_null() -> None:
    """A null time equals no moment, and does not compare with one."""
    assert not passes({"t": None}, "t.$date", "=", "2024-01-01")
    assert passes({"t": None}, "t.$date", "!=", "2024-01-01")
    with pytest.raises(TypeError, match=r"'NoneType' and 'datetime\.datetime'"):
        passes({"t": None}, "t.$date", ">", "2024-01-01")


def test_what_is_no_time() -> None:
    """A moment compares with times only."""
    for value in (5, "2024-01-01", {"$date": "2024-01-01"}):
        assert not passes({"t": value}, "t.$date", "=", "2024-01-01")
        with pytest.raises(TypeError):
            passes({"t": value}, "t.$date", "<", "2024-01-01")
    assert not passes({"t": {"other": 1}}, "t.$date", "!=", "2024-01-01")
    assert not passes({"t": [1]}, "t.$date", "!=", "2024-01-01")


def test_times_as_values() -> None:
    """Times compare with times, in wire form or as EJSON decoded them."""
    item = {"t": {"$date": 5000}}
    for y in ({"$date": 4000}, datetime(1970, 1, 1, 0, 0, 4, tzinfo=UTC)):
        assert passes(item, "t", ">", y)
        assert passes(item, "t", "!=", y)
        assert not passes(item, "t", "<=", y)
        assert not passes(item, "t", "in", [y])
    assert passes(item, "t", "=", datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC))
    with pytest.raises(TypeError):
        passes({"t": None}, "t", ">", {"$date": 4000})


def test_conjunction_and_disjunction() -> None:
    """The top level and lists in branches are ANDs, branches are ORed."""
    filters = parse_filters(
        [
            ["a", "=", 1],
            ["OR", [["b", "=", 1], [["c", "=", 1], ["OR", [["d", "=", 1]]]]]],
        ]
    )
    expected = {
        (1, 1, 0, 0): True,
        (1, 0, 1, 1): True,
        (1, 0, 1, 0): False,
        (1, 0, 0, 1): False,
        (0, 1, 1, 1): False,
    }
    for values, result in expected.items():
        item = dict(zip("abcd", values, strict=True))
        assert matches(filters, item) is result


def test_empty_or() -> None:
    """An OR without branches matches nothing, no filters at all match everything."""
    assert not matches(parse_filters([["OR", []]]), {})
    assert matches(parse_filters([]), {})


def test_errors_only_where_they_matter() -> None:
    """A condition that raises is not looked at when a safe one decides already."""
    filters = parse_filters([["id", ">", "x"], ["state", "=", "RUNNING"]])
    assert not matches(filters, {"id": 1, "state": "WAITING"})
    with pytest.raises(TypeError):
        matches(filters, {"id": 1, "state": "RUNNING"})
    branches = parse_filters([["OR", [["id", ">", "x"], ["state", "=", "RUNNING"]]]])
    assert matches(branches, {"id": 1, "state": "RUNNING"})
