"""Query options, and the pipeline that they steer."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, TypeAlias

import msgspec

from middlewared.errors import InvalidParams
from middlewared.filters.evaluate import matches
from middlewared.filters.order import parse_order, sort_items
from middlewared.filters.pattern import Budget
from middlewared.filters.select import compile_select, parse_select
from middlewared.filters.tree import Filters, MatchNotFound, QueryError

__all__ = [
    "MAX_LIMIT",
    "QueryOptions",
    "apply_options",
    "check_options",
    "parse_options",
    "run_query",
]

MAX_LIMIT = 10_000
"""The largest `limit` that a query may ask for."""

_MAX_OFFSET = 2**63 - 1

Item: TypeAlias = Mapping[str, Any]


class QueryOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a query returns of the items that pass its filters (protocol page, 6.2).

    Attributes:
        extra: for the method that is queried.
        order_by: sort keys, the first is the primary one: ``[nulls_first:][-]path``.
        select: paths to keep, or ``[path, alias]``.
        count: return the number of items instead of them.
        get: return the first item instead of a list.
        offset: how many items to leave out at the start.
        limit: how many items to return at most, 0 for all.
        force_sql_filters: accepted, and without effect.
    """

    extra: dict[str, Any] = {}
    order_by: Sequence[str] = ()
    select: Sequence[str | list[Any]] = ()
    count: bool = False
    get: bool = False
    offset: Annotated[int, msgspec.Meta(ge=0, le=_MAX_OFFSET)] = 0
    limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_LIMIT)] = 0
    force_sql_filters: bool = False


_AT = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)
# What msgspec says, and what clients of the protocol expect to read.
_WORDING = (
    (r"Expected `\w+` >= (-?\d+)", r"Input should be greater than or equal to \1"),
    (r"Expected `\w+` <= (-?\d+)", r"Input should be less than or equal to \1"),
    (r"Expected `int\b.*", "Input should be a valid integer"),
    (r"Expected `bool\b.*", "Input should be a valid boolean"),
    (r"Expected `str\b.*", "Input should be a valid string"),
    (r"Expected `array\b.*", "Input should be a valid list"),
    (r"Expected `object\b.*", "Input should be a valid dictionary"),
)


def parse_options(options: Any) -> QueryOptions:
    """Check the options of a query that were not decoded with the params.

    Raises:
        InvalidParams: the attribute is like ``options.limit``, the texts are those of
            the protocol (6.3); the first error only.
    """
    try:
        return msgspec.convert(options, QueryOptions)
    except msgspec.ValidationError as exc:
        raise _invalid_option(str(exc)) from None


def _invalid_option(text: str) -> InvalidParams:
    place = _AT.search(text)
    attribute = "options"
    if place:
        attribute += "." + re.sub(r"\[(\d+|\.\.\.)\]", r".\1", place[1])
        text = text[: place.start()]
    unknown = re.fullmatch(
        r"Object contains unknown field `(.*)`", text, flags=re.DOTALL
    )
    if unknown:
        return InvalidParams(f"options.{unknown[1]}", "Extra inputs are not permitted")
    reworded = (
        re.sub(pattern, wording, text)
        for pattern, wording in _WORDING
        if re.fullmatch(pattern, text)
    )
    return InvalidParams(attribute, next(reworded, text))


def check_options(options: QueryOptions) -> None:
    """Check what options must keep among themselves.

    Raises:
        QueryError: `get` with `limit` or `offset`, a wrong `select` or `order_by`.
    """
    if options.get and options.limit > 1:
        raise QueryError("get=True is incompatible with limit > 1")
    if options.get and options.offset:
        raise QueryError("get=True is incompatible with offset")
    parse_select(options.select)
    parse_order(options.order_by)


def run_query(
    items: Iterable[Item],
    filters: Filters,
    options: QueryOptions,
    budget: Budget | None = None,
) -> list[Item] | Item | int:
    """Filter items, then return what the options ask for (protocol page, 6.2).

    With `get` and without `order_by` the items after the first match are not read.

    Args:
        items: with times in wire form, in the order they have without `order_by`.
        filters: what `parse_filters` returned.
        options: `count` wins over `get`.
        budget: for patterns; a new one when None.

    Raises:
        CallError: ETIMEDOUT, patterns used up the budget.
        MatchNotFound: `get` found nothing.
        QueryError: the options contradict each other or name what cannot be selected.
        Incomparable: values do not compare.
    """
    budget = budget or Budget()
    found = (item for item in items if matches(filters, item, budget))
    return apply_options(found, options)


def apply_options(
    items: Iterable[Item], options: QueryOptions
) -> list[Item] | Item | int:
    """Do what follows the filters: select, count, order, offset, limit, get.

    Args:
        items: those that passed the filters.
        options: as in `run_query`.

    Raises:
        MatchNotFound: `get` found nothing.
        QueryError: the options contradict each other or name what cannot be selected.
        Incomparable: values do not compare.
    """
    check_options(options)
    if options.count:
        return sum(1 for _ in items)
    selected: Iterator[Item] = map(compile_select(options.select), items)
    if options.get:
        return _first(selected, options.order_by)
    rows = sort_items(selected, options.order_by)
    stop = options.offset + options.limit if options.limit else None
    return rows[options.offset : stop]


def _first(items: Iterator[Item], order_by: Sequence[str]) -> Item:
    if order_by:
        items = iter(sort_items(items, order_by))
    for item in islice(items, 1):
        return item
    raise MatchNotFound
