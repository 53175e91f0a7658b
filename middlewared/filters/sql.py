"""Filters compiled to an SQLite condition that drops what cannot match.

What is dropped is only what `matches` would call false *without raising*; all else is
decided there. Conditions are joined by AND and OR alone, so that an SQL NULL counts as
false wherever it arises.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from middlewared.filters.columns import Column, Table, column_table
from middlewared.filters.sql_leaf import SAFE, Condition, compile_leaf, implied_value
from middlewared.filters.tree import AnyOf, Filters, Leaf, Node, leaves

__all__ = ["MAX_CONDITIONS", "MAX_PARAMS", "CompiledFilters", "compile_sql"]

MAX_CONDITIONS = 200
"""Conditions that are compiled at most; SQLite plans longer ones in quadratic time."""

MAX_PARAMS = 10_000
"""Placeholders at most; SQLite allows 32,766 in a statement."""


class CompiledFilters(msgspec.Struct, frozen=True):
    """A condition for a WHERE clause.

    Attributes:
        where: the condition, without the keyword; ``1`` when it drops nothing.
        params: for its placeholders, in order.
        exact: whether it selects what matches and nothing else; when not, the selected
            rows must pass `matches`, which also raises what there is to raise.
    """

    where: str
    params: list[Any]
    exact: bool


def compile_sql(filters: Filters, columns: Mapping[str, Column]) -> CompiledFilters:
    """Compile filters to an SQLite condition, as far as that is exactly possible.

    Rows that pass it, in their order, give `run_query` the same answer or error as all
    rows do. Filters too large for a statement are not compiled.

    Args:
        filters: what `parse_filters` returned.
        columns: what is stored where, by the path that filters use; ``$date`` of times
            need not be listed.
    """
    too_large = CompiledFilters("1", [], exact=False)
    if sum(1 for _ in leaves(filters.nodes)) > MAX_CONDITIONS:
        return too_large
    condition = _all_of(filters.nodes, column_table(columns), SAFE)
    if len(condition.params) > MAX_PARAMS:
        return too_large
    return CompiledFilters(
        condition.where or "1", list(condition.params), condition.exact
    )


def _all_of(nodes: Sequence[Node], table: Table, known: frozenset[str]) -> Condition:
    """Compile a conjunction, whose nodes are evaluated in order."""
    parts: list[str] = []
    params: list[Any] = []
    exact = True
    risk: frozenset[str] | None = SAFE
    for node in nodes:
        condition = _compile(node, table, known)
        if condition.where is None or risk is None:
            exact = False
        else:
            # A row where an earlier node raises never comes to this one: keep it.
            raising = [f"{e} IS NULL" for e in sorted(risk)]
            parts.append(_join([condition.where, *raising], " OR "))
            params += condition.params
            exact = exact and condition.exact
        risk = _united(risk, condition.risk)
        if isinstance(node, Leaf):
            known |= implied_value(node, table)
    return Condition(
        _join(parts, " AND ") if parts else None, tuple(params), exact, risk
    )


def _compile(node: Node, table: Table, known: frozenset[str]) -> Condition:
    if isinstance(node, AnyOf):
        return _any_of(node, table, known)
    return compile_leaf(node, table, known)


def _any_of(node: AnyOf, table: Table, known: frozenset[str]) -> Condition:
    parts: list[str] = []
    params: list[Any] = []
    exact, decided = True, True
    risk: frozenset[str] | None = SAFE
    for branch in node.branches:
        condition = _all_of(branch, table, known)
        risk = _united(risk, condition.risk)
        exact = exact and condition.exact
        if condition.where is None:
            decided = False
        else:
            parts.append(condition.where)
            params += condition.params
    if not decided:
        return Condition(None, exact=False, risk=risk)
    return Condition(_join(parts or ["0"], " OR "), tuple(params), exact, risk)


def _united(
    one: frozenset[str] | None, other: frozenset[str] | None
) -> frozenset[str] | None:
    return None if one is None or other is None else one | other


def _join(parts: list[str], operator: str) -> str:
    """Join conditions as a balanced tree: SQLite limits the depth of expressions."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_join(parts[:half], operator)}{operator}{_join(parts[half:], operator)})"
