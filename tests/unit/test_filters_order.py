"""Sorting: keys, directions, nulls, stability; and which sorts SQL can do."""

from typing import Any

import pytest

from middlewared.filters import (
    Column,
    QueryError,
    compile_order,
    order_keys,
    sort_items,
)
from middlewared.filters.order import OrderTerm, parse_order

ITEMS: list[dict[str, Any]] = [
    {"id": 1, "a": 2, "b": "x", "t": {"$date": 30}, "n": None, "list": [2]},
    {"id": 2, "a": 1, "b": "y", "t": {"$date": 10}, "n": 5, "list": [1]},
    {"id": 3, "a": 2, "b": "y", "t": {"$date": 20}, "n": None, "list": []},
    {"id": 4, "a": 1, "b": "x", "t": {"$date": 10}, "n": 3, "list": [3]},
]

COLUMNS = {
    "id": Column("id", "int"),
    "state": Column("j.state", "text"),
    "note": Column("note", "text", nullable=True),
    "flag": Column("flag", "bool"),
    "args": Column("args", "json"),
    "started": Column("started", "time_ms"),
    "finished": Column("finished", "time_ms", nullable=True),
    "progress.percent": Column("percent", "int", nullable=True),
    "progress.total": Column("total", "int"),
    "constant": Column("0", "bool"),
}


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("id", OrderTerm(("id",), descending=False, nulls="")),
        ("-a.b", OrderTerm(("a", "b"), descending=True, nulls="")),
        ("nulls_first:id", OrderTerm(("id",), descending=False, nulls="first")),
        (
            "nulls_last:-t.$date",
            OrderTerm(("t", "$date"), descending=True, nulls="last"),
        ),
        (r"a\.b", OrderTerm(("a.b",), descending=False, nulls="")),
        ("--id", OrderTerm(("-id",), descending=True, nulls="")),
        ("-nulls_last:id", OrderTerm(("nulls_last:id",), descending=True, nulls="")),
    ],
)
def test_terms(term: str, expected: OrderTerm) -> None:
    """A term is a path after an optional prefix for nulls and an optional minus."""
    assert parse_order([term]) == [expected]


@pytest.mark.parametrize("term", ["", "-", "nulls_first:", "nulls_last:-"])
def test_empty_terms(term: str) -> None:
    """A term that names no field is EINVAL."""
    with pytest.raises(QueryError, match="order_by field name is empty"):
        parse_order([term])


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ([], [1, 2, 3, 4]),
        (["a"], [2, 4, 1, 3]),
        (["-a"], [1, 3, 2, 4]),
        (["a", "b"], [4, 2, 1, 3]),
        (["-a", "-b"], [3, 1, 2, 4]),
        (["b", "-a"], [1, 4, 3, 2]),
        (["t"], [2, 4, 3, 1]),
        (["-t.$date"], [1, 3, 2, 4]),
        (["nulls_first:n"], [1, 3, 4, 2]),
        (["nulls_last:n"], [4, 2, 1, 3]),
        (["nulls_first:-n"], [1, 3, 2, 4]),
        (["nulls_last:-n", "-id"], [2, 4, 3, 1]),
        (["nulls_last:nope", "-id"], [4, 3, 2, 1]),
        (["nope"], [1, 2, 3, 4]),
        (["-nope", "nope.deeper", "a.deeper"], [1, 2, 3, 4]),
        (["list"], [3, 2, 1, 4]),
        (["list.k"], [1, 2, 3, 4]),
    ],
)
def test_sort(order_by: list[str], expected: list[int]) -> None:
    """The first key is primary, equal items keep their order in both directions."""
    assert [item["id"] for item in sort_items(ITEMS, order_by)] == expected


@pytest.mark.parametrize("order_by", [["n"], ["-n"], ["list.0"], ["id", "n"]])
def test_nulls_do_not_sort_with_values(order_by: list[str]) -> None:
    """Nulls without a place are a TypeError beside values."""
    with pytest.raises(TypeError, match="NoneType"):
        sort_items(ITEMS, order_by)


def test_null_test_looks_at_the_first_key() -> None:
    """The prefix for nulls tests the first key of the path only."""
    items: list[dict[str, Any]] = [
        {"id": 1, "t": None},
        {"id": 2, "t": {"$date": 20}},
        {"id": 3, "t": {"$date": 10}},
    ]
    ordered = sort_items(items, ["nulls_last:t.$date"])
    assert [item["id"] for item in ordered] == [3, 2, 1]
    items[1]["t"] = {"$date": None}
    with pytest.raises(TypeError):
        sort_items(items, ["nulls_last:t.$date"])


@pytest.mark.parametrize(
    ("order_by", "sql"),
    [
        ([], ""),
        (["id"], "id ASC"),
        (["-state", "id"], "j.state DESC, id ASC"),
        (["flag", "started", "-started.$date"], "flag ASC, started ASC, started DESC"),
        (["nulls_first:state"], "j.state ASC"),
        (["note"], None),
        (["nulls_last:note"], "note ASC NULLS LAST"),
        (["nulls_first:-finished.$date"], "finished DESC NULLS FIRST"),
        (["finished"], None),
        (["nulls_last:progress.percent"], None),
        (["progress.total"], "total ASC"),
        (["args"], None),
        (["nope"], None),
        (["state.deeper"], None),
        (["id", "nope"], None),
        (["constant", "id"], "NULL, id ASC"),
    ],
)
def test_compile(order_by: list[str], sql: str | None) -> None:
    """SQL sorts what cannot raise and has a column, everything or nothing."""
    assert compile_order(order_by, COLUMNS) == sql


@pytest.mark.parametrize(
    ("order_by", "select", "sql"),
    [
        (["id"], ["id", "state"], "id ASC"),
        (["-state", "id"], ["id"], "id ASC"),
        (["state"], ["id"], ""),
        (["s"], [["state", "s"]], "j.state ASC"),
        (["state"], [["state", "s"]], ""),
        (["state"], [["id", "state"]], "id ASC"),
        (["nulls_last:n"], [["note", "n"]], "note ASC NULLS LAST"),
        (["nulls_last:p"], [["progress.percent", "p"]], "percent ASC NULLS LAST"),
        (["nulls_last:t.$date"], [["finished", "t"]], "finished ASC NULLS LAST"),
        (["nulls_last:t"], [["finished.$date", "t"]], None),
        (["nulls_last:finished.$date"], ["finished.$date"], "finished ASC NULLS LAST"),
        (["progress.total"], ["progress.total"], "total ASC"),
        (["progress.total"], ["progress"], "total ASC"),
        (["progress"], ["progress.total"], None),
        (["progress.total"], ["progress.percent"], None),
        (["progress.total"], ["progress.total", "progress.percent"], None),
        (["id"], ["id", ["state", "id"]], None),
    ],
)
def test_compile_with_select(
    order_by: list[str], select: list[Any], sql: str | None
) -> None:
    """Only what is selected sorts, under the name it was given."""
    assert compile_order(order_by, COLUMNS, select) == sql


def test_keys_of_an_order() -> None:
    """The keys at the top that sorting looks at."""
    assert order_keys(["-id", "nulls_first:progress.percent"]) == {"id", "progress"}
    with pytest.raises(QueryError):
        order_keys(["-"])
