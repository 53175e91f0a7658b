"""Filters as clients send them: what is accepted, and the text of each refusal."""

import errno
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from middlewared.errors import InvalidParams, ValidationErrors, describe_error
from middlewared.filters import QueryError, parse_filters
from middlewared.filters.parse import MAX_KEYS
from middlewared.filters.tree import AnyOf, Leaf, leaves


def leaf_of(*raw: Any) -> Leaf:
    (leaf,) = leaves(parse_filters([list(raw)]).nodes)
    return leaf


def nested(ors: int) -> list[Any]:
    """Nest a condition in so many ORs."""
    filters: list[Any] = ["id", "=", 1]
    for _ in range(ors):
        filters = ["OR", [filters]]
    return [filters]


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        ([["id", "==", 1]], "unknown operator '=='"),
        ([["id", "", 1]], "unknown operator ''"),
        ([["id", "C", 1]], "unknown operator 'C'"),
        ([["id", "CC=", "x"]], "unknown operator 'CC='"),
        ([["id", "Cfoo", "x"]], "unknown operator 'Cfoo'"),
        ([["id", "OR", 1]], "unknown operator 'OR'"),
        ([["id", "x" * 300, 1]], f"unknown operator '{'x' * 200}...'"),
        ([["OR", [["id", "like", 1]]]], "unknown operator 'like'"),
        ([[]], "invalid filter length 0"),
        ([["id"]], "invalid filter length 1"),
        ([["id", "=", 1, 2]], "invalid filter length 4"),
        ([["OR", [[]]]], "invalid filter length 0"),
        ([["OR", [[["id", "=", 1, 2]]]]], "invalid filter length 4"),
        (["state", "=", "RUNNING"], "invalid filter length 5"),
        ([["id", "="]], 'len-2 filter must start with "OR"'),
        ([["or", []]], 'len-2 filter must start with "OR"'),
        ([[1, []]], 'len-2 filter must start with "OR"'),
        (["OR", [["id", "=", 1]]], 'len-2 filter must start with "OR"'),
        ([["OR", 5]], '"OR" must be followed by a list of branches'),
        ([["OR", [5]]], "a filter must be a list, not int"),
        ([5], "a filter must be a list, not int"),
        ([None], "a filter must be a list, not NoneType"),
        ([{"a": 1, "b": 2}], "a filter must be a list, not dict"),
        (["abc"], "a filter must be a list, not str"),
        ([[1, "=", 1]], "field name must be a string"),
        ([[["id"], "=", 1]], "field name must be a string"),
        ([["id", 1, 1]], "operator must be a string"),
        ([["id", "=", 1]] * (MAX_KEYS + 1), "more than 4000 field names"),
        ([["a." * MAX_KEYS, "=", 1]], "more than 4000 field names"),
        ([["OR", []]] * (MAX_KEYS + 1), "more than 4000 field names"),
    ],
)
def test_wrong_shape(filters: Any, text: str) -> None:
    """A wrong shape or operator is -32602 on the attribute filters, with its text."""
    with pytest.raises(InvalidParams) as caught:
        parse_filters(filters)
    data = describe_error(caught.value, with_trace=False)
    assert caught.value.code == -32602
    assert data.extra == [("filters", f"Value error, filter_list: {text}", 22)]


@pytest.mark.parametrize("filters", [None, {}, "id", 5, {"id": 1}])
def test_no_list(filters: Any) -> None:
    """Filters that are no list at all are -32602 too."""
    with pytest.raises(ValidationErrors) as caught:
        parse_filters(filters)
    (error,) = caught.value.errors
    assert (error.attribute, error.text) == ("filters", "Input should be a valid list")


def test_empty() -> None:
    """No filters are filters that everything passes."""
    assert parse_filters([]).nodes == ()
    assert parse_filters(()).test({}, None)


def test_depth() -> None:
    """Three nested ORs are accepted, four are EINVAL with the bare text."""
    parse_filters(nested(3))
    with pytest.raises(QueryError) as caught:
        parse_filters(nested(4))
    data = describe_error(caught.value, with_trace=False)
    assert caught.value.code == -32001
    assert (data.error, data.errname) == (errno.EINVAL, "EINVAL")
    assert data.reason == "query-filters max recursion depth exceeded"


def test_depth_of_a_bomb() -> None:
    """Nesting far beyond the limit is refused the same way."""
    with pytest.raises(QueryError, match="max recursion depth"):
        parse_filters(nested(50_000))


def test_and_groups_do_not_count_as_depth() -> None:
    """Only ORs count for the depth, not the groups between them."""
    leaf = ["id", "=", 1]
    group = ["OR", [[leaf, ["OR", [[leaf, ["OR", [[leaf, leaf]]]]]]]]]
    assert len(list(leaves(parse_filters([group]).nodes))) == 4


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("id", ("id",)),
        ("", ("",)),
        ("progress.percent", ("progress", "percent")),
        (r"a\.b", ("a.b",)),
        (r"a\.b.c\.d.e", ("a.b", "c.d", "e")),
        (r"a\.", ("a.",)),
        ("a\\", ("a\\",)),
        (r"a\b.c", ("a\\b", "c")),
        ("list.*.k", ("list", "*", "k")),
        (".", ("", "")),
    ],
)
def test_paths(path: str, keys: tuple[str, ...]) -> None:
    """Paths are split at dots that no backslash escapes."""
    assert leaf_of(path, "=", 1).path == keys


def test_prefix_c() -> None:
    """The prefix C folds the operand when filters are parsed, but not a pattern."""
    assert leaf_of("a", "C=", "STRASSE ẞ") == Leaf(("a",), "=", True, "strasse ss")
    assert leaf_of("a", "Cin", ["A", "B"]).value == ["a", "b"]
    assert leaf_of("a", "C=", None).value is None
    assert leaf_of("a", "C~", "A|B").value == "A|B"


@pytest.mark.parametrize(
    ("value", "name"),
    [(5, "int"), (True, "bool"), ({}, "dict"), (["a", 5], "int"), ([None], "NoneType")],
)
def test_prefix_c_refuses(value: Any, name: str) -> None:
    """An operand that cannot be casefolded is named by its type."""
    with pytest.raises(QueryError) as caught:
        parse_filters([["a", "C=", value]])
    assert str(caught.value) == f"filter_list: cannot casefold value of type {name}"


def test_times_become_milliseconds() -> None:
    """ISO strings are instants: UTC without offset, finer than a millisecond too."""
    moment = leaf_of("t.$date", ">", "1970-01-01T00:00:01.500")
    assert (moment.value, moment.moment) == (
        1500,
        datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC),
    )
    assert leaf_of("t.$date", ">", "1970-01-01T01:00:00+01:00").value == 0
    assert leaf_of("t.$date", ">", "1970-01-01T00:00:00Z").value == 0
    assert leaf_of("t.$date", ">", "1970-01-02").value == 86_400_000
    assert leaf_of("t.$date", ">", "1970-01-01T00:00:00.001001").value == 1.5
    assert leaf_of("t.$date", ">", "0001-01-01T00:00:00+23:59").moment is not None


def test_milliseconds_are_plain_values() -> None:
    """A number compared with the milliseconds of a time is a plain number."""
    assert leaf_of("t.$date", "=", 5) == Leaf(("t", "$date"), "=", False, 5)
    assert leaf_of("t.$date", "<", 5.5).moment is None


def test_date_as_a_key() -> None:
    """Only a last key after another one means a time."""
    assert leaf_of("$date", "^", "x").moment is None
    assert leaf_of(r"t\.$date", "^", "x").moment is None
    assert leaf_of("$date.x", "^", "x").moment is None


@pytest.mark.parametrize("op", ["^", "~", "in", "nin", "rin", "C=", "C>", "!$"])
@pytest.mark.parametrize("value", ["2024-01-01", 5, [5]])
def test_wrong_operator_for_a_time(op: str, value: Any) -> None:
    """Times take the six comparisons, nothing else."""
    with pytest.raises(QueryError) as caught:
        parse_filters([["t.$date", op, value]])
    assert str(caught.value) == f"{op}: invalid timestamp operation."


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Canary", "Canary"),
        ("2024-13-01", "2024-13-01"),
        ("", ""),
        (None, "None"),
        (True, "True"),
        ([1, 2], "[1, 2]"),
        ({"$date": 5}, "{'$date': 5}"),
        ("9" * 300, "9" * 200 + "..."),
    ],
)
def test_wrong_time(value: Any, shown: str) -> None:
    """What is neither an ISO string nor a number is shown in the error."""
    with pytest.raises(QueryError) as caught:
        parse_filters([["t.$date", "=", value]])
    reason = describe_error(caught.value, with_trace=False).reason
    assert reason == f"{shown}: must be an ISO-8601 formatted timestamp string"


def test_datetimes_take_their_wire_form() -> None:
    """Times that EJSON decoded in operands are brought back to milliseconds."""
    east = timezone(timedelta(hours=1))
    moments = [datetime(1970, 1, 1, 0, 0, 5), datetime(1970, 1, 1, 1, 0, tzinfo=east)]  # noqa: DTZ001
    assert leaf_of("t", "=", moments[0]).value == {"$date": 5000}
    assert leaf_of("t", "in", moments).value == [{"$date": 5000}, {"$date": 0}]
    assert leaf_of("t", "=", {"k": (moments[1],)}).value == {"k": [{"$date": 0}]}


def test_operands_are_copied() -> None:
    """A list that its owner changes later does not change the filters."""
    states = ["RUNNING"]
    filters = parse_filters([["state", "in", states]])
    states.append("WAITING")
    assert not filters.test({"state": "WAITING"}, None)


def test_operand_nested_too_deeply() -> None:
    """An operand as deep as the stack is refused, not fatal."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(QueryError, match="value is nested too deeply"):
        parse_filters([["a", "=", value]])


def test_what_cannot_raise_comes_first() -> None:
    """Conditions keep their order, except that those which may raise come last."""
    filters = parse_filters(
        [
            ["a", ">", 1],
            ["b", "=", 1],
            ["c", "~", "x"],
            ["d", "in", [1]],
            ["OR", [["e", "^", "x"]]],
            ["OR", [["g", "rin", "x"], [["h", "<", 1], ["i", "!=", 1]], ["f", "=", 1]]],
        ]
    )
    assert [leaf.path[0] for leaf in leaves(filters.nodes)] == list("bdacefgih")


def test_branches() -> None:
    """A branch is a condition, a nested OR, or a list of them that must all be true."""
    one, two = ["a", "=", 1], ["b", "=", 2]
    filters = parse_filters([["OR", [one, ["OR", [two]], [one, ["OR", [two]]]]]])
    (node,) = filters.nodes
    assert isinstance(node, AnyOf)
    assert [len(branch) for branch in node.branches] == [1, 1, 2]


def test_has_patterns() -> None:
    """Filters say whether they hold patterns, anywhere."""
    assert not parse_filters([["a", "=", "~"]]).has_patterns
    assert parse_filters([["OR", [["a", "=", 1], ["b", "C~", "x"]]]]).has_patterns
