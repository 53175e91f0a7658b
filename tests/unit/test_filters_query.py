"""Query options and the pipeline: filter, select, count, order, offset, limit, get."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from middlewared.errors import InvalidParams, describe_error
from middlewared.filters import (
    MatchNotFound,
    QueryError,
    QueryOptions,
    apply_options,
    check_options,
    parse_filters,
    parse_options,
    run_query,
)

ITEMS: list[dict[str, Any]] = [
    {"id": 1, "state": "SUCCESS", "n": {"x": 3}},
    {"id": 2, "state": "FAILED", "n": {"x": 1}},
    {"id": 3, "state": "SUCCESS", "n": {"x": 2}},
    {"id": 4, "state": "RUNNING", "n": {"x": 1}},
]


def run(filters: list[Any], **options: Any) -> Any:
    return run_query(ITEMS, parse_filters(filters), parse_options(options))


def ids(result: Any) -> list[int]:
    return [item["id"] for item in result]


def test_all() -> None:
    """Without filters and options a query returns the items themselves, in order."""
    result = run([])
    assert result == ITEMS
    assert result[0] is ITEMS[0]


def test_filter() -> None:
    """Filters keep the order of the items."""
    assert ids(run([["state", "=", "SUCCESS"]])) == [1, 3]


def test_count() -> None:
    """Count is the number of matches, whatever offset, limit and get say."""
    assert run([["state", "=", "SUCCESS"]], count=True) == 2
    assert run([], count=True, offset=3, limit=1) == 4
    assert run([], count=True, get=True) == 4
    assert run([["id", "=", 9]], count=True) == 0


def test_offset_and_limit() -> None:
    """Offset comes before limit, a limit of 0 is none."""
    assert ids(run([], offset=1)) == [2, 3, 4]
    assert ids(run([], limit=2)) == [1, 2]
    assert ids(run([], limit=0)) == [1, 2, 3, 4]
    assert ids(run([], offset=1, limit=2)) == [2, 3]
    assert ids(run([], offset=9, limit=2)) == []
    assert ids(run([], offset=2**63 - 1, limit=10_000)) == []


def test_order() -> None:
    """Order comes before offset and limit."""
    assert ids(run([], order_by=["n.x", "-id"], limit=3)) == [4, 2, 3]
    assert ids(run([], order_by=["-id"], offset=1, limit=2)) == [3, 2]


def test_get() -> None:
    """Get returns the first item, in the order that is asked for."""
    assert run([["state", "=", "SUCCESS"]], get=True) is ITEMS[0]
    assert run([], get=True, order_by=["-id"])["id"] == 4
    assert run([], get=True, limit=1)["id"] == 1


def test_get_stops_at_the_first_match() -> None:
    """Without an order nothing is read after the first match."""

    def items() -> Iterator[dict[str, Any]]:
        yield from ITEMS[:2]
        raise AssertionError

    filters = parse_filters([["id", ">", 1]])
    assert run_query(items(), filters, QueryOptions(get=True)) is ITEMS[1]


@pytest.mark.parametrize("order_by", [[], ["-id"]])
def test_get_without_match(order_by: list[str]) -> None:
    """Get that finds nothing is EINVAL with its own class and text."""
    with pytest.raises(MatchNotFound) as caught:
        run([["id", "=", 9]], get=True, order_by=order_by)
    data = describe_error(caught.value, with_trace=False)
    assert (data.errname, data.reason) == ("EINVAL", "MatchNotFound()")


def test_select() -> None:
    """Select comes after the filters: they see what it drops."""
    assert run([["state", "=", "FAILED"]], select=["id"]) == [{"id": 2}]
    assert run([["state", "=", "FAILED"]], select=[["n.x", "x"]], get=True) == {"x": 1}


def test_order_sees_what_is_selected() -> None:
    """A field that is not selected does not sort, an alias does."""
    assert run([], select=["id"], order_by=["n.x"]) == [{"id": n} for n in (1, 2, 3, 4)]
    renamed = run([], select=["id", ["n.x", "x"]], order_by=["x", "-id"])
    assert ids(renamed) == [4, 2, 3, 1]


def test_errors_of_filters_pass_through() -> None:
    """What filters raise on an item fails the query."""
    with pytest.raises(TypeError):
        run([["state", ">", 5]])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"get": True, "limit": 2}, "get=True is incompatible with limit > 1"),
        ({"get": True, "offset": 1}, "get=True is incompatible with offset"),
        (
            {"select": [["a"]]},
            "['a']: select as list may only contain two parameters",
        ),
        ({"select": [[1, "a"]]}, "[1, 'a']: first item must be a string"),
        ({"select": [["a", 1]]}, "['a', 1]: second item must be a string"),
        ({"order_by": ["-"]}, "filter_list: order_by field name is empty"),
    ],
)
def test_contradictions(options: dict[str, Any], text: str) -> None:
    """Options that contradict each other are -32001 EINVAL, items or not."""
    parsed = parse_options(options)
    with pytest.raises(QueryError) as caught:
        run_query([], parse_filters([]), parsed)
    data = describe_error(caught.value, with_trace=False)
    assert (caught.value.code, data.errname, data.reason) == (-32001, "EINVAL", text)
    with pytest.raises(QueryError):
        check_options(parsed)


AT_LEAST = "Input should be greater than or equal to 0"


@pytest.mark.parametrize(
    ("options", "attribute", "text"),
    [
        (
            {"limit": 10_001},
            "options.limit",
            "Input should be less than or equal to 10000",
        ),
        ({"limit": -1}, "options.limit", AT_LEAST),
        ({"offset": -1}, "options.offset", AT_LEAST),
        (
            {"offset": 2**63},
            "options.offset",
            "Input should be less than or equal to 9223372036854775807",
        ),
        ({"limit": "5"}, "options.limit", "Input should be a valid integer"),
        ({"limit": True}, "options.limit", "Input should be a valid integer"),
        ({"limit": None}, "options.limit", "Input should be a valid integer"),
        ({"get": 1}, "options.get", "Input should be a valid boolean"),
        ({"order_by": "id"}, "options.order_by", "Input should be a valid list"),
        ({"order_by": [1]}, "options.order_by.0", "Input should be a valid string"),
        ({"select": ["a", 5]}, "options.select.1", "Input should be a valid string"),
        ({"extra": []}, "options.extra", "Input should be a valid dictionary"),
        ({"sort": 1}, "options.sort", "Extra inputs are not permitted"),
        ([], "options", "Input should be a valid dictionary"),
        (None, "options", "Input should be a valid dictionary"),
    ],
)
def test_wrong_options(options: Any, attribute: str, text: str) -> None:
    """A wrong option is -32602 with its dotted attribute and the protocol's text."""
    with pytest.raises(InvalidParams) as caught:
        parse_options(options)
    extra = describe_error(caught.value, with_trace=False).extra
    assert (caught.value.code, extra) == (-32602, [(attribute, text, 22)])


def test_all_options() -> None:
    """All options of the protocol are known, and decode from JSON."""
    options = {
        "extra": {"raw_result": True},
        "order_by": ["-id"],
        "select": ["id", ["state", "s"]],
        "count": False,
        "get": False,
        "offset": 0,
        "limit": 10_000,
        "force_sql_filters": True,
    }
    decoded = msgspec.json.decode(msgspec.json.encode(options), type=QueryOptions)
    assert msgspec.to_builtins(decoded) == options
    assert decoded == parse_options(options)


def test_apply_options_after_other_filters() -> None:
    """What follows the filters can be had alone, for items filtered elsewhere."""
    options = QueryOptions(order_by=["-id"], limit=1, select=["id"])
    assert apply_options(iter(ITEMS), options) == [{"id": 4}]
