"""Query filters and options: evaluated on objects, compiled to SQLite where possible.

The language is that of the TrueNAS API (protocol page, section 6). Nothing here does
I/O. `parse_filters` and `compile_sql` are cheap; a query with patterns (`~`) belongs
in a worker thread, see `Budget`.
"""

from middlewared.filters.columns import Column, Columns
from middlewared.filters.evaluate import matches
from middlewared.filters.order import compile_order, order_keys, sort_items
from middlewared.filters.parse import parse_filters
from middlewared.filters.pattern import PATTERN_SECONDS, Budget
from middlewared.filters.query import (
    MAX_LIMIT,
    QueryOptions,
    apply_options,
    check_options,
    parse_options,
    run_query,
)
from middlewared.filters.select import compile_select, select_keys
from middlewared.filters.sql import CompiledFilters, compile_sql
from middlewared.filters.tree import (
    Filters,
    MatchNotFound,
    QueryError,
    count_fields,
    equal_keys,
    filter_keys,
)

__all__ = [
    "MAX_LIMIT",
    "PATTERN_SECONDS",
    "Budget",
    "Column",
    "Columns",
    "CompiledFilters",
    "Filters",
    "MatchNotFound",
    "QueryError",
    "QueryOptions",
    "apply_options",
    "check_options",
    "compile_order",
    "compile_select",
    "compile_sql",
    "count_fields",
    "equal_keys",
    "filter_keys",
    "matches",
    "order_keys",
    "parse_filters",
    "parse_options",
    "run_query",
    "select_keys",
    "sort_items",
]
