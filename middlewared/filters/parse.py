"""Filters as clients send them, checked and turned into a tree."""

import reprlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from middlewared.errors import InvalidParams
from middlewared.filters.evaluate import OPERATORS, casefold, compile_tests
from middlewared.filters.tree import (
    ORDERINGS,
    AnyOf,
    Filters,
    Leaf,
    Node,
    QueryError,
    leaves,
    may_raise,
    split_path,
)

__all__ = ["MAX_DEPTH", "MAX_KEYS", "parse_filters"]

MAX_DEPTH = 3
"""How deeply ORs may nest in each other."""

MAX_KEYS = 4_000
"""How many keys the paths of all conditions may have together; an OR counts as one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMESTAMP_OPS = ORDERINGS | {"=", "!="}
_PLAIN_TYPES = {str, int, float, bool, type(None)}
_LEAF_LENGTH = 3


def parse_filters(filters: Any) -> Filters:
    """Check filters and compile them for evaluation.

    Protocol page, 6.1. Times are compared as instants: an ISO string without offset
    is UTC, and the operand may be a `datetime` where EJSON produced one. Conditions
    that cannot raise are evaluated before those that can, which else keep their order.

    Args:
        filters: a list of ``[path, operator, value]`` and ``["OR", [branch, ...]]``.

    Raises:
        InvalidParams: shape or operator is wrong; the attribute is ``filters``.
        QueryError: a wrong time, too deep, or a pattern that is refused or malformed.
        Incomparable: a pattern is no string.
    """
    if not isinstance(filters, list | tuple):
        raise InvalidParams("filters", "Input should be a valid list")
    parser = _Parser()
    nodes = _safe_first(parser.node(raw, 0) for raw in filters)
    return Filters(
        nodes=nodes,
        has_patterns=any(leaf.op == "~" for leaf in leaves(nodes)),
        test=compile_tests(nodes),
    )


def _invalid(text: str) -> InvalidParams:
    return InvalidParams("filters", f"Value error, filter_list: {text}")


def _safe_first(nodes: Iterable[Node]) -> tuple[Node, ...]:
    # What SQL can decide mostly cannot raise. In this order SQL may drop a row for
    # such a condition without hiding the error another one would have raised.
    return tuple(sorted(nodes, key=may_raise))


class _Parser:
    """Builds the nodes of one query, and counts what they cost."""

    def __init__(self) -> None:
        self._keys = 0

    def node(self, raw: Any, depth: int) -> Node:
        """Parse a leaf or an OR that is nested in *depth* ORs."""
        # A string has a length too: a bare `["OR", [...]]` is a frequent mistake.
        is_word = isinstance(raw, str) and len(raw) != _LEAF_LENGTH
        if not is_word and not isinstance(raw, list | tuple):
            raise _invalid(f"a filter must be a list, not {type(raw).__name__}")
        match len(raw):
            case 3:
                return self._leaf(*raw)
            case 2:
                if raw[0] != "OR":
                    raise _invalid('len-2 filter must start with "OR"')
                return self._any_of(raw[1], depth)
            case length:
                raise _invalid(f"invalid filter length {length}")

    def _count(self, keys: int) -> None:
        # Each key is a closure: a message full of them would block for seconds.
        self._keys += keys
        if self._keys > MAX_KEYS:
            raise _invalid(f"more than {MAX_KEYS} field names")

    def _any_of(self, raw: Any, depth: int) -> AnyOf:
        self._count(1)
        if depth >= MAX_DEPTH:
            raise QueryError("query-filters max recursion depth exceeded")
        if not isinstance(raw, list | tuple):
            raise _invalid('"OR" must be followed by a list of branches')
        branches = [self._branch(branch, depth + 1) for branch in raw]
        # As in a conjunction: a branch that is surely true spares one that may raise.
        branches.sort(key=lambda branch: any(map(may_raise, branch)))
        return AnyOf(tuple(branches))

    def _branch(self, raw: Any, depth: int) -> tuple[Node, ...]:
        if isinstance(raw, list | tuple) and raw and isinstance(raw[0], list | tuple):
            return _safe_first(self.node(part, depth) for part in raw)
        return (self.node(raw, depth),)

    def _leaf(self, path: Any, op: Any, value: Any) -> Leaf:
        if not isinstance(path, str):
            raise _invalid("field name must be a string")
        if not isinstance(op, str):
            raise _invalid("operator must be a string")
        if op.removeprefix("C") not in OPERATORS:
            raise _invalid(f"unknown operator '{_short(op)}'")
        keys = split_path(path)
        self._count(len(keys))
        if len(keys) > 1 and keys[-1] == "$date":
            return _timestamp_leaf(keys, op, value)
        return _plain_leaf(keys, op, value)


def _plain_leaf(keys: tuple[str, ...], op: str, value: Any) -> Leaf:
    try:
        value = _wire(value)
    except RecursionError:
        raise QueryError("filter_list: value is nested too deeply") from None
    plain = op.removeprefix("C")
    if plain == op:
        return Leaf(keys, op, fold=False, value=value)
    folded = casefold(value)
    # The pattern of `C~` is taken as it is, only the text is folded.
    return Leaf(keys, plain, fold=True, value=value if plain == "~" else folded)


def _timestamp_leaf(keys: tuple[str, ...], op: str, value: Any) -> Leaf:
    if op not in _TIMESTAMP_OPS:
        raise QueryError(f"{op}: invalid timestamp operation.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Leaf(keys, op, fold=False, value=value)
    try:
        moment = _aware(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        raise QueryError(
            f"{_short(value)}: must be an ISO-8601 formatted timestamp string"
        ) from None
    ms, microseconds = divmod((moment - _EPOCH) // _MICROSECOND, 1000)
    # Between two milliseconds: half of one keeps every comparison with whole ones
    # right, and the float exact.
    bound = ms + 0.5 if microseconds else ms
    return Leaf(keys, op, fold=False, value=bound, moment=moment)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _wire(value: Any) -> Any:
    """Copy an operand, with times in the form that they have in items."""
    match value:
        case datetime():
            return {"$date": (_aware(value) - _EPOCH) // _MICROSECOND // 1000}
        case list() | tuple():
            if _PLAIN_TYPES.issuperset(map(type, value)):
                return list(value)
            return [_wire(part) for part in value]
        case dict():
            return {key: _wire(part) for key, part in value.items()}
        case _:
            return value


def _short(value: Any) -> str:
    """Show an operand in a message, as it is unless it is long."""
    longest = 200
    if not isinstance(value, str):
        return reprlib.repr(value)
    return value if len(value) <= longest else f"{value[:longest]}..."
