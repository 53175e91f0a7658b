"""The parsed filter tree, and the errors of queries."""

import errno
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from middlewared.errors import CallError

__all__ = [
    "MISSING",
    "ORDERINGS",
    "AnyOf",
    "Filters",
    "Incomparable",
    "Leaf",
    "MatchNotFound",
    "Node",
    "QueryError",
    "Test",
    "count_fields",
    "equal_keys",
    "filter_keys",
    "is_date",
    "leaves",
    "may_raise",
    "split_path",
]

MISSING: Any = object()
"""Stands for a key that an item does not have; equal to nothing else."""

ORDERINGS = frozenset((">", ">=", "<", "<="))

_DOT = re.compile(r"(?<!\\)\.")

Test: TypeAlias = Callable[[Any, Any], bool]
"""Takes an item, or a value in it, and the `Budget` of the query."""


class QueryError(CallError):
    """A query cannot be run: EINVAL, the reason is the bare text.

    Protocol page, 6.3: official clients show the reason as it is, without the prefix
    that other call errors carry.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, errno.EINVAL)

    def __str__(self) -> str:
        return self.text


class Incomparable(QueryError, TypeError):
    """Operator, value and operand do not go together; the reason is Python's text.

    It is the caller's mistake, not the server's: an error that is told, not logged.
    """


class MatchNotFound(QueryError):
    """A query with `get` found nothing; clients know it by its name and its text."""

    def __init__(self) -> None:
        super().__init__("MatchNotFound()")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One condition.

    Attributes:
        path: the keys that lead to the value; the last is ``$date`` for times.
        op: the operator without the ``C`` prefix.
        fold: whether both sides are casefolded; `value` already is.
        value: the operand. For a `moment` its milliseconds since 1970, plus one half
            when the moment lies between two of them.
        moment: the operand of a comparison of times, with its offset.
    """

    path: tuple[str, ...]
    op: str
    fold: bool
    value: Any
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when all nodes of any branch are."""

    branches: tuple[tuple["Node", ...], ...]


Node: TypeAlias = Leaf | AnyOf


@dataclass(frozen=True, slots=True, eq=False)
class Filters:
    """Parsed filters: immutable, and good for any number of items and threads.

    Attributes:
        nodes: all must be true; those that cannot raise come first.
        has_patterns: whether evaluation may be slow, and needs a `Budget`.
    """

    nodes: tuple[Node, ...]
    has_patterns: bool
    test: Test = field(repr=False)


def may_raise(node: Node) -> bool:
    """Say whether some value in an item could make the evaluation of a node raise."""
    if isinstance(node, AnyOf):
        return any(may_raise(part) for branch in node.branches for part in branch)
    if node.fold:
        return True
    if node.op in ("in", "nin"):
        return not isinstance(node.value, list | tuple)
    return node.op not in ("=", "!=")


def leaves(nodes: Iterable[Node]) -> Iterable[Leaf]:
    """Yield every condition of a tree, in order."""
    for node in nodes:
        if isinstance(node, Leaf):
            yield node
        else:
            for branch in node.branches:
                yield from leaves(branch)


def count_fields(filters: Filters) -> int:
    """Count the keys of all paths: what a look at one item costs."""
    return sum(len(leaf.path) for leaf in leaves(filters.nodes))


def filter_keys(filters: Filters) -> set[str]:
    """Give the keys at the top of items that filters look at."""
    return {leaf.path[0] for leaf in leaves(filters.nodes)}


def equal_keys(filters: Filters) -> set[str]:
    """Give the keys at the top of items that have to equal one value."""
    return {
        node.path[0]
        for node in filters.nodes
        if isinstance(node, Leaf)
        and len(node.path) == 1
        and node.op == "="
        and not node.fold
    }


def split_path(path: str) -> tuple[str, ...]:
    r"""Split a path at its dots; ``\.`` is a dot inside a key."""
    if "\\" not in path:
        return tuple(path.split("."))
    return tuple(key.replace("\\.", ".") for key in _DOT.split(path))


def is_date(value: Any) -> bool:
    """Say whether a value is a time in its wire form, ``{"$date": ms}``."""
    return type(value) is dict and len(value) == 1 and "$date" in value
