"""The option select: nesting, aliases, and what cannot be selected."""

from typing import Any

import pytest

from middlewared.errors import describe_error
from middlewared.filters import QueryError, compile_select, select_keys

ITEM = {
    "id": 1,
    "progress": {"percent": 50, "extra": {"a": 1, "b": 2}},
    "a.b": "dotted",
    "list": [{"k": 1}],
    "none": None,
}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ([], ITEM),
        (["id"], {"id": 1}),
        (["id", "none"], {"id": 1, "none": None}),
        (["nope", "none.deeper", "id.deeper", "progress.nope"], {}),
        (["progress.percent"], {"progress": {"percent": 50}}),
        (
            ["progress.extra.a", "progress.percent"],
            {"progress": {"extra": {"a": 1}, "percent": 50}},
        ),
        ([r"a\.b"], {"a.b": "dotted"}),
        (["list"], {"list": [{"k": 1}]}),
        ([["progress.percent", "p"]], {"p": 50}),
        ([["progress.percent", "p.q"]], {"p.q": 50}),
        ([["nope", "p"], "id"], {"id": 1}),
        ([("id", "n")], {"n": 1}),
        ([["id", "n"], ["none", "n"]], {"n": None}),
        (
            ["progress", "progress.percent"],
            {"progress": {"percent": 50, "extra": {"a": 1, "b": 2}}},
        ),
        ([["id", "progress"], "progress.percent"], {"progress": {"percent": 50}}),
    ],
)
def test_select(select: list[Any], expected: dict[str, Any]) -> None:
    """Paths keep their nesting, aliases are flat, missing paths are left out."""
    assert compile_select(select)(ITEM) == expected


def test_item_is_not_changed() -> None:
    """Selecting into a part that was selected before leaves the item alone."""
    item = {"a": {"b": {"c": 1}}, "x": 5}
    compile_select(["a", ["x", "x"], "a.b.c"])(item)
    assert item == {"a": {"b": {"c": 1}}, "x": 5}
    selected = compile_select(["a.b", "a.b.c"])(item)
    assert selected["a"] is not item["a"]


@pytest.mark.parametrize("path", ["list.0", "list.0.k", "list.k", "list.*.k"])
def test_no_list_indexes(path: str) -> None:
    """A path through a list is EINVAL."""
    with pytest.raises(QueryError) as caught:
        compile_select([path])(ITEM)
    reason = describe_error(caught.value, with_trace=False).reason
    assert reason == "filter_list: selecting by list index is not supported"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ([], "[]: select as list may only contain two parameters"),
        (["a"], "['a']: select as list may only contain two parameters"),
        (
            ["a", "b", "c"],
            "['a', 'b', 'c']: select as list may only contain two parameters",
        ),
        ([1, "b"], "[1, 'b']: first item must be a string"),
        (["a", None], "['a', None]: second item must be a string"),
    ],
)
def test_wrong_spec(spec: list[Any], text: str) -> None:
    """An entry that is no pair of strings is EINVAL and is shown."""
    with pytest.raises(QueryError) as caught:
        compile_select([spec])
    assert describe_error(caught.value, with_trace=False).reason == text


def test_keys_of_a_selection() -> None:
    """Where the values come from, whatever they are called."""
    assert select_keys(["id", "progress.percent", ["list.k", "id"]]) == {
        "id",
        "progress",
        "list",
    }
    assert select_keys([]) == set()
