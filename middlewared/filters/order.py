"""Sorting by `order_by`, on objects and in SQL."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from middlewared.filters.columns import Column, Table, column_table, find_column
from middlewared.filters.evaluate import index_of
from middlewared.filters.select import Select, SelectTerm, parse_select
from middlewared.filters.tree import Incomparable, QueryError, is_date, split_path

__all__ = ["OrderTerm", "compile_order", "order_keys", "parse_order", "sort_items"]


ItemT = TypeVar("ItemT", bound=Mapping[str, Any])


class OrderTerm(NamedTuple):
    """One key to sort by.

    Attributes:
        path: the keys that lead to the value.
        descending: largest first; equal ones keep their order all the same.
        nulls: ``first`` or ``last`` when nulls have a place, else empty.
    """

    path: tuple[str, ...]
    descending: bool
    nulls: str


def parse_order(order_by: Iterable[str]) -> list[OrderTerm]:
    """Parse sort keys like ``nulls_last:-time_finished.$date`` (protocol page, 6.2).

    Raises:
        QueryError: a key names no field.
    """
    return [_parse_term(term) for term in order_by]


def _parse_term(term: str) -> OrderTerm:
    nulls = ""
    for place in ("first", "last"):
        name = term.removeprefix(f"nulls_{place}:")
        if name != term:
            nulls, term = place, name
            break
    name = term.removeprefix("-")
    if not name:
        raise QueryError("filter_list: order_by field name is empty")
    return OrderTerm(split_path(name), name != term, nulls)


def order_keys(order_by: Iterable[str]) -> set[str]:
    """Give the keys at the top of items that sorting looks at.

    Raises:
        QueryError: a key names no field.
    """
    return {term.path[0] for term in parse_order(order_by)}


def sort_items(items: Iterable[ItemT], order_by: Iterable[str]) -> list[ItemT]:
    """Sort items by several keys, the first is the primary one; stable.

    A missing key counts as null. Where a term gives nulls a place, an item is null when
    the first key of the path is missing or null in it. Times sort as such.

    Raises:
        QueryError: a key names no field.
        Incomparable: values do not compare, as null and a number without a nulls
            prefix.
    """
    result = list(items)
    try:
        for term in reversed(parse_order(order_by)):
            result = _sort(result, term)
    except TypeError as exc:
        raise Incomparable(str(exc)) from exc
    return result


def _sort(items: list[ItemT], term: OrderTerm) -> list[ItemT]:
    key = _sort_key(term.path)
    if not term.nulls:
        return sorted(items, key=key, reverse=term.descending)
    top = term.path[0]
    nulls = [item for item in items if item.get(top) is None]
    others = [item for item in items if item.get(top) is not None]
    others.sort(key=key, reverse=term.descending)
    return nulls + others if term.nulls == "first" else others + nulls


def _sort_key(path: tuple[str, ...]) -> Callable[[Any], tuple[Any]]:
    steps = [(key, index_of(key)) for key in path]

    def sort_key(item: Any) -> tuple[Any]:
        value = item
        for key, index in steps:
            if isinstance(value, dict | Mapping):
                value = value.get(key)
            elif isinstance(value, list | tuple) and index is not None:
                value = value[index] if index < len(value) else None
            else:
                value = None
        # Tuples look for the first difference: two nulls are equal, never ordered.
        return (value["$date"] if is_date(value) else value,)

    return sort_key


def compile_order(
    order_by: Sequence[str],
    columns: Mapping[str, Column],
    select: Select = (),
) -> str | None:
    """Compile sort keys to the terms of an SQL ``ORDER BY``, if they can be exact.

    Sorting is stable, so append the order the rows have without `order_by`, such as
    ``, id``. Sorting comes after `select`: a field that is not selected does not sort.

    Args:
        order_by: the option; empty gives an empty string.
        columns: as for `compile_sql`.
        select: the option of the same query.

    Returns:
        The terms, joined by commas; empty when nothing sorts; None when `sort_items`
        must do it, which includes whatever would raise there.

    Raises:
        QueryError: a key names no field.
    """
    table, shown = column_table(columns), parse_select(select)
    compiled = []
    for term in parse_order(order_by):
        source = _source(term.path, shown)
        if source is None:
            continue
        sql = _compile_term(term, source, table)
        if sql is None:
            return None
        compiled.append(sql)
    return ", ".join(compiled)


class _Source(NamedTuple):
    """Where in the item a sort key comes from; an empty path when that is unsure.

    Attributes:
        path: the keys that lead to the value.
        top: how many of them lead to what the nulls prefix looks at.
    """

    path: tuple[str, ...]
    top: int


def _source(path: tuple[str, ...], shown: list[SelectTerm]) -> _Source | None:
    """Find the path in the item that a path in the selected item shows, if any."""
    if not shown:
        return _Source(path, 1)
    found = [term for term in shown if term.target[0] == path[0]]
    if not found:
        return None
    source, target = found[0]
    if len(found) > 1 or path[: len(target)] != target:
        return _Source((), 0)
    # With a target of one key the value itself is what the nulls prefix looks at.
    top = len(source) if len(target) == 1 else 1
    return _Source(source + path[len(target) :], top)


def _compile_term(term: OrderTerm, source: _Source, table: Table) -> str | None:
    found = find_column(source.path, table)
    if found is None or found.column.kind == "json":
        return None
    column = found.column
    if column.sql.isdecimal():
        # A constant sorts nothing, and SQL would take it for the number of a column.
        return "NULL"
    direction = "DESC" if term.descending else "ASC"
    if not column.nullable:
        return f"{column.sql} {direction}"
    if not term.nulls or found.depth != source.top:
        return None
    return f"{column.sql} {direction} NULLS {term.nulls.upper()}"
