"""The option `select`: which fields of an item are returned, and under which name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from middlewared.filters.tree import MISSING, QueryError, split_path

__all__ = ["Select", "SelectTerm", "compile_select", "parse_select", "select_keys"]

Select: TypeAlias = Sequence[str | Sequence[Any]]
"""Paths, and pairs of path and alias."""

_PAIR = 2


class SelectTerm(NamedTuple):
    """The keys that lead to a value in the item, and in what is made of it."""

    source: tuple[str, ...]
    target: tuple[str, ...]


def parse_select(select: Select) -> list[SelectTerm]:
    """Parse the paths to select (protocol page, 6.2).

    Raises:
        QueryError: an entry is neither a path nor a pair of strings.
    """
    return [_parse_term(spec) for spec in select]


def select_keys(select: Select) -> set[str]:
    """Give the keys at the top of items that are selected, none when all are.

    Raises:
        QueryError: an entry is neither a path nor a pair of strings.
    """
    return {term.source[0] for term in parse_select(select)}


def _parse_term(spec: str | Sequence[Any]) -> SelectTerm:
    if isinstance(spec, str):
        return SelectTerm(split_path(spec), split_path(spec))
    pair = list(spec)
    if len(pair) != _PAIR:
        raise QueryError(f"{pair!r}: select as list may only contain two parameters")
    path, alias = pair
    if not isinstance(path, str):
        raise QueryError(f"{pair!r}: first item must be a string")
    if not isinstance(alias, str):
        raise QueryError(f"{pair!r}: second item must be a string")
    return SelectTerm(split_path(path), (alias,))


def compile_select(
    select: Select,
) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Compile the option to a function that makes the selected item.

    A path keeps its nesting, an alias is a key at the top; missing paths are left out.
    Without a select the function returns its argument. It raises `QueryError` when a
    path goes through a list.

    Raises:
        QueryError: an entry is neither a path nor a pair of strings.
    """
    terms = parse_select(select)
    if not terms:
        return lambda item: item

    def project(item: Mapping[str, Any]) -> Mapping[str, Any]:
        entry: dict[str, Any] = {}
        for source, target in terms:
            value = _pick(item, source)
            if value is not MISSING:
                _put(entry, target, value)
        return entry

    return project


def _pick(item: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = item
    for key in path:
        if isinstance(value, list | tuple):
            raise QueryError("filter_list: selecting by list index is not supported")
        if not isinstance(value, dict | Mapping):
            return MISSING
        value = value.get(key, MISSING)
    return value


def _put(entry: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        inner = entry.get(key)
        # A copy: what is there may belong to the item.
        entry[key] = dict(inner) if isinstance(inner, dict | Mapping) else {}
        entry = entry[key]
    entry[path[-1]] = value
