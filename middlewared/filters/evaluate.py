"""Filters evaluated on objects, through closures compiled once."""

import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any

from middlewared.filters.pattern import Budget, Patterns
from middlewared.filters.tree import (
    MISSING,
    ORDERINGS,
    Filters,
    Incomparable,
    Leaf,
    Node,
    QueryError,
    Test,
    is_date,
)

__all__ = ["OPERATORS", "casefold", "compile_tests", "index_of", "matches"]

# Filters without patterns use no budget.
_UNUSED = Budget()
# Below this a list is searched faster than a set is asked.
_SMALL = 8
# Longer numbers are no list index, and int() refuses thousands of digits.
_INDEX_DIGITS = 18

# Tuples, because a union would be made anew for every item.
_MAPPINGS = (dict, Mapping)
_LISTS = (list, tuple)
# What can be looked up in a set of operands, by type.
_PLAIN = (str, int, float, type(None))

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def matches(
    filters: Filters, item: Mapping[str, Any], budget: Budget | None = None
) -> bool:
    """Say whether an item passes the filters.

    Protocol page, 6.1.

    Args:
        filters: what `parse_filters` returned.
        item: with times in wire form, ``{"$date": ms}``.
        budget: shared by all items of a query; the item gets its own when None.

    Raises:
        CallError: ETIMEDOUT, patterns used up the budget.
        QueryError: a value cannot be casefolded.
        Incomparable: operator, value and operand do not go together.
    """
    if budget is None:
        budget = Budget() if filters.has_patterns else _UNUSED
    try:
        return filters.test(item, budget)
    except TypeError as exc:
        raise Incomparable(str(exc)) from exc


def compile_tests(nodes: tuple[Node, ...]) -> Test:
    """Compile nodes that must all be true into one test of an item.

    Raises:
        QueryError: a pattern is refused, or malformed.
        Incomparable: a pattern is no string.
    """
    return _all_of(nodes, Patterns())


def _all_of(nodes: tuple[Node, ...], patterns: Patterns) -> Test:
    tests = tuple(_test(node, patterns) for node in nodes)
    if len(tests) == 1:
        return tests[0]

    def all_of(item: Any, budget: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator costs more than the tests
            if not test(item, budget):
                return False
        return True

    return all_of


def _test(node: Node, patterns: Patterns) -> Test:
    if isinstance(node, Leaf):
        return _leaf_test(node, patterns)
    tests = tuple(_all_of(branch, patterns) for branch in node.branches)

    def any_of(item: Any, budget: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator costs more than the tests
            if test(item, budget):
                return True
        return False

    return any_of


def _leaf_test(leaf: Leaf, patterns: Patterns) -> Test:
    if leaf.moment is not None:
        return _walk(leaf.path[:-1], _moment_test(leaf))
    if leaf.fold:
        return _walk(leaf.path, _folding(_value_test(leaf, patterns)))
    if len(leaf.path) == 1 and leaf.op == "=":
        # The most frequent condition of all; MISSING equals no operand.
        key, value = leaf.path[0], leaf.value

        def equals(item: Any, _budget: Any) -> bool:
            equal: bool = item.get(key, MISSING) == value
            return equal

        return equals
    return _walk(leaf.path, _value_test(leaf, patterns))


def _walk(path: tuple[str, ...], test: Test) -> Test:
    """Apply a test to what a path leads to; false when a key is missing.

    A scalar in the middle of the path is tested itself.
    """
    if len(path) == 1:
        key = path[0]

        def flat(item: Any, budget: Any) -> bool:
            value = item.get(key, MISSING)
            return value is not MISSING and test(value, budget)

        return flat
    walk = test
    for key in reversed(path):
        walk = _step(key, walk, test)
    return walk


def _step(key: str, rest: Test, test: Test) -> Test:
    index = index_of(key)

    def step(value: Any, budget: Any) -> bool:
        if isinstance(value, _MAPPINGS):
            value = value.get(key, MISSING)
            return value is not MISSING and rest(value, budget)
        if isinstance(value, _LISTS):
            if key == "*":
                return any(rest(element, budget) for element in value)
            if index is None:
                return False
            return rest(value[index] if index < len(value) else None, budget)
        return test(value, budget)

    return step


def index_of(key: str) -> int | None:
    """Read a key as a list index, None when it is none."""
    if not (key.isascii() and key.isdigit()):
        return None
    return int(key) if len(key) <= _INDEX_DIGITS else sys.maxsize


def _moment_test(leaf: Leaf) -> Test:
    compare, ms, moment = _COMPARISONS[leaf.op], leaf.value, leaf.moment

    def test(value: Any, _budget: Any) -> bool:
        if isinstance(value, dict):
            date = value.get("$date", MISSING)
            if date is MISSING:
                return False
            # What is no time raises as it does when compared with a datetime.
            return compare(date, ms if isinstance(date, int) else moment)
        return not isinstance(value, _LISTS) and compare(value, moment)

    return test


def casefold(value: Any) -> Any:
    """Casefold a string, or the strings of a list; None stays None.

    Raises:
        QueryError: anything else.
    """
    match value:
        case str():
            return value.casefold()
        case None:
            return None
        case list() | tuple() if all(isinstance(part, str) for part in value):
            return [part.casefold() for part in value]
        case list() | tuple():
            value = next(part for part in value if not isinstance(part, str))
    raise QueryError(
        f"filter_list: cannot casefold value of type {type(value).__name__}"
    )


def _folding(test: Test) -> Test:
    def folded(value: Any, budget: Any) -> bool:
        return test(casefold(value), budget)

    return folded


def _value_test(leaf: Leaf, patterns: Patterns) -> Test:
    if leaf.op == "~":
        pattern = patterns.compile(leaf.value)

        def like(value: Any, budget: Any) -> bool:
            found: bool = budget.match(pattern, "" if value is None else value)
            return found

        return like
    return _VALUE_TESTS[leaf.op](leaf.op, leaf.value)


def _comparison(op: str, operand: Any) -> Test:
    compare = _COMPARISONS[op]
    if op in ORDERINGS and is_date(operand):
        ms = operand["$date"]
        return lambda value, _budget: (
            compare(value["$date"], ms) if is_date(value) else compare(value, operand)
        )
    return lambda value, _budget: compare(value, operand)


def _in(op: str, operand: Any) -> Test:
    contains = _membership(operand)
    if op == "in":
        return lambda value, _budget: contains(value)
    return lambda value, _budget: value is not None and not contains(value)


def _membership(operand: Any) -> Callable[[Any], bool]:
    """Compile `value in operand`."""
    if (
        isinstance(operand, _LISTS)
        and len(operand) > _SMALL
        and all(isinstance(part, _PLAIN) for part in operand)
    ):
        members = frozenset(operand)

        def contains(value: Any) -> bool:
            return isinstance(value, _PLAIN) and value in members

        return contains
    return lambda value: value in operand


def _reverse_in(op: str, operand: Any) -> Test:
    if op == "rin":
        return lambda value, _budget: value is not None and operand in value
    return lambda value, _budget: value is not None and operand not in value


def _affix(op: str, operand: Any) -> Test:
    method = str.startswith if op.endswith("^") else str.endswith
    wanted = not op.startswith("!")

    def test(value: Any, _budget: Any) -> bool:
        if value is None:
            return False
        for text in (value, operand):
            if not isinstance(text, str):
                raise TypeError(f"must be str, not {type(text).__name__}")
        return method(value, operand) is wanted

    return test


_VALUE_TESTS: dict[str, Callable[[str, Any], Test]] = {
    **dict.fromkeys(_COMPARISONS, _comparison),
    **dict.fromkeys(("in", "nin"), _in),
    **dict.fromkeys(("rin", "rnin"), _reverse_in),
    **dict.fromkeys(("^", "!^", "$", "!$"), _affix),
}

OPERATORS = frozenset((*_VALUE_TESTS, "~"))
"""All operators, without the prefix ``C``."""
