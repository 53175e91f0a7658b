"""The tree of parsed filters, and the errors of queries."""

import dataclasses
import errno

import pytest

from middlewared.errors import CallError, describe_error
from middlewared.filters import MatchNotFound, QueryError, parse_filters
from middlewared.filters.tree import equal_keys, filter_keys, is_date, may_raise


def test_query_error() -> None:
    """A query error is EINVAL, its reason the bare text, its class a CallError."""
    error = QueryError("no such thing")
    data = describe_error(error, with_trace=False)
    assert isinstance(error, CallError)
    assert (error.code, error.errno) == (-32001, errno.EINVAL)
    assert (data.error, data.reason, data.extra) == (22, "no such thing", None)


def test_match_not_found() -> None:
    """Clients know this error by its class name and its reason."""
    error = MatchNotFound()
    data = describe_error(error, with_trace=False)
    assert (error.code, error.errno, str(error)) == (-32001, 22, "MatchNotFound()")
    assert data.trace is not None
    assert (data.reason, data.trace.class_) == ("MatchNotFound()", "MatchNotFound")


def test_filters_are_immutable() -> None:
    """Parsed filters can be shared, nobody can change them."""
    filters = parse_filters([["a", "=", 1]])
    with pytest.raises(dataclasses.FrozenInstanceError):
        filters.nodes = ()  # type: ignore[misc]  # that is what must fail
    with pytest.raises(dataclasses.FrozenInstanceError):
        filters.nodes[0].path = ()  # type: ignore[misc,union-attr]  # likewise


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (["a", "=", 1], False),
        (["a", "!=", None], False),
        (["a", "in", [1]], False),
        (["a", "nin", []], False),
        (["a", "in", "x"], True),
        (["a", "nin", {1}], True),
        (["a", ">", 1], True),
        (["a", "~", "x"], True),
        (["a", "rin", "x"], True),
        (["a", "^", "x"], True),
        (["a", "C=", "x"], True),
        (["t.$date", "=", "2024-01-01"], False),
        (["t.$date", "<", "2024-01-01"], True),
        (["OR", [["a", "=", 1], ["b", "!=", 1]]], False),
        (["OR", [["a", "=", 1], [["b", "!=", 1], ["c", ">", 1]]]], True),
    ],
)
def test_may_raise(leaf: list[object], expected: bool) -> None:
    """Equality and lists never raise, whatever the items hold; all else may."""
    (node,) = parse_filters([leaf]).nodes
    assert may_raise(node) is expected


def test_is_date() -> None:
    """A time in wire form has the one key and no other."""
    assert is_date({"$date": 1})
    assert not is_date({"$date": 1, "x": 2})
    assert not is_date({})
    assert not is_date("$date")


def test_keys_of_filters() -> None:
    """Every key at the top that is looked at, and those that name one value."""
    filters = parse_filters(
        [
            ["state", "=", "RUNNING"],
            ["OR", [["id", "=", 1], [["a.b", ">", 2], ["c", "~", "x"]]]],
            ["time.$date", "=", 5],
            ["method", "C=", "X"],
        ]
    )
    assert filter_keys(filters) == {"state", "id", "a", "c", "time", "method"}
    assert equal_keys(filters) == {"state"}
