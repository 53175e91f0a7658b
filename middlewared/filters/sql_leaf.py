"""One condition of a filter compiled to SQLite, with its exact meaning."""

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from middlewared.filters.columns import FoundColumn, Table, find_column
from middlewared.filters.tree import ORDERINGS, Leaf, is_date, may_raise

__all__ = ["SAFE", "Condition", "compile_leaf", "implied_value"]


class Condition(NamedTuple):
    """What SQL can say about a node.

    A row that fails `where` is one for which the node is false and raises nothing.

    Attributes:
        where: the condition; None when every row must be looked at.
        params: for its placeholders.
        exact: whether a row that passes is one for which the node is true.
        risk: evaluation may raise, but only where one of these expressions is NULL;
            None: anywhere.
    """

    where: str | None
    params: tuple[Any, ...] = ()
    exact: bool = True
    risk: frozenset[str] | None = frozenset()


SAFE: frozenset[str] = frozenset()

_Sql = tuple[str, tuple[Any, ...]]

# Stands for an operand that no stored value can equal.
_NEVER: Any = object()
_MIN, _MAX = -(2**63), 2**63 - 1
_LAST_BEFORE_SURROGATES, _FIRST_AFTER_SURROGATES = 0xD7FF, 0xE000
_LAST_CHARACTER = 0x10FFFF
# Text that every JSON encoder writes as it is.
_PLAIN = re.compile(r"[A-Za-z0-9_.: -]+")


def compile_leaf(leaf: Leaf, table: Table, known: frozenset[str]) -> Condition:
    """Compile a condition.

    Args:
        leaf: the condition.
        table: the columns.
        known: expressions that are not NULL wherever the condition is looked at.
    """
    found = find_column(leaf.path, table)
    if found is None or found.column.kind == "json":
        return _json(leaf, table)
    column = found.column
    nulls = SAFE if column.sql in known or not column.nullable else {column.sql}
    return _scalar(leaf, found, frozenset(nulls))


def implied_value(leaf: Leaf, table: Table) -> frozenset[str]:
    """Name the expression that is not NULL wherever the condition is true, if any."""
    found = find_column(leaf.path, table)
    match leaf.op:
        case "=":
            implied = leaf.value is not None
        case "!=":
            implied = leaf.value is None
        case "in":
            implied = isinstance(leaf.value, str) or (
                isinstance(leaf.value, list) and None not in leaf.value
            )
        case op:
            implied = op != "~"
    return frozenset({found.column.sql}) if found and implied else SAFE


def _undecided(leaf: Leaf) -> Condition:
    return Condition(None, exact=False, risk=None if may_raise(leaf) else SAFE)


def _scalar(leaf: Leaf, found: FoundColumn, nulls: frozenset[str]) -> Condition:
    column = found.column
    kind = "int" if found.is_ms or column.kind == "bool" else column.kind
    key, bound = _KINDS[kind]
    if not column.nullable:
        key = partial(_present, key)
    sql: _Sql | None = None
    if not leaf.fold:
        if leaf.op in ORDERINGS:
            sql = bound(column.sql, leaf.op, leaf.value)
            if sql and nulls:
                # Null does not compare: those rows raise, so they must come along.
                where = f"({sql[0]} OR {column.sql} IS NULL)"
                return Condition(where, sql[1], exact=False, risk=nulls)
        else:
            sql = _equality(column.sql, leaf, key)
        if sql is None and kind == "text":
            sql = _text(column.sql, leaf)
    if sql is not None:
        return Condition(*sql)
    if kind == "text":
        return Condition(None, exact=False, risk=_text_risk(leaf, nulls))
    return _undecided(leaf)


def _present(key: Callable[[Any], Any], value: Any) -> Any:
    """Give the key of a value that no row has when it is null."""
    return _NEVER if value is None else key(value)


def _text_risk(leaf: Leaf, nulls: frozenset[str]) -> frozenset[str] | None:
    """Say where a condition on text raises that SQL does not decide."""
    is_list = isinstance(leaf.value, list)
    if leaf.op in ("=", "!=") or (leaf.op in ("in", "nin") and is_list):
        return SAFE
    if not isinstance(leaf.value, str):
        return None
    return nulls if leaf.op in ORDERINGS or leaf.op == "in" else SAFE


def _equality(e: str, leaf: Leaf, key: Callable[[Any], Any]) -> _Sql | None:
    match leaf.op:
        case "=":
            return _equal(e, key(leaf.value))
        case "!=":
            return _unequal(e, key(leaf.value))
        case "in" | "nin" if isinstance(leaf.value, list):
            keys = [key(part) for part in leaf.value]
            values = tuple(part for part in keys if part not in (None, _NEVER))
            if leaf.op == "nin":
                return _not_among(e, values)
            return _among(e, values, null=None in keys)
        case _:
            return None


def _equal(e: str, value: Any) -> _Sql:
    if value is _NEVER:
        return "0", ()
    return (f"{e} IS NULL", ()) if value is None else (f"{e} = ?", (value,))


def _unequal(e: str, value: Any) -> _Sql:
    if value is _NEVER:
        return "1", ()
    # IS NOT: null differs from every value.
    return (f"{e} IS NOT NULL", ()) if value is None else (f"{e} IS NOT ?", (value,))


def _among(e: str, values: tuple[Any, ...], *, null: bool) -> _Sql:
    marks = ", ".join("?" * len(values))
    where = f"{e} IN ({marks})" if values else "0"
    return (f"({where} OR {e} IS NULL)" if null else where), values


def _not_among(e: str, values: tuple[Any, ...]) -> _Sql:
    if not values:
        return f"{e} IS NOT NULL", ()
    return f"{e} NOT IN ({', '.join('?' * len(values))})", values


def _number_key(value: Any) -> Any:
    """Map an operand to the stored integer it equals; True is 1, as in Python."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return int(value) if isinstance(value, int) and _MIN <= value <= _MAX else _NEVER


def _number_bound(e: str, op: str, value: Any) -> _Sql | None:
    if not isinstance(value, int | float):
        return None
    if isinstance(value, float) and math.isfinite(value) and not value.is_integer():
        # No integer equals it: the bound is the integer below.
        value, op = math.floor(value), {">=": ">", "<": "<="}.get(op, op)
    if value > _MAX:
        return "01"[op in ("<", "<=")], ()
    if value < _MIN:
        return "01"[op in (">", ">=")], ()
    # What is left and no integer is NaN, which nothing compares with.
    return ("0", ()) if value != value else (f"{e} {op} ?", (int(value),))  # noqa: PLR0124


def _time_key(value: Any) -> Any:
    if value is None:
        return None
    if not is_date(value) or value["$date"] is None:
        return _NEVER
    return _number_key(value["$date"])


def _time_bound(e: str, op: str, value: Any) -> _Sql | None:
    return _number_bound(e, op, value["$date"]) if is_date(value) else None


def _text_key(value: Any) -> Any:
    if value is None or (isinstance(value, str) and _is_storable(value)):
        return value
    return _NEVER


def _is_storable(text: str) -> bool:
    # A lone surrogate has no UTF-8: no stored text contains one.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _text_bound(e: str, op: str, value: Any) -> _Sql | None:
    # Bytes of UTF-8 sort like the code points that Python compares.
    if isinstance(value, str) and _is_storable(value):
        return f"{e} {op} ?", (value,)
    return None


_KINDS: dict[
    str, tuple[Callable[[Any], Any], Callable[[str, str, Any], _Sql | None]]
] = {
    "int": (_number_key, _number_bound),
    "time_ms": (_time_key, _time_bound),
    "text": (_text_key, _text_bound),
}


def _text(e: str, leaf: Leaf) -> _Sql | None:
    """Compile an operator on parts of a text; it is false for null."""
    text = leaf.value
    if not isinstance(text, str) or leaf.op not in _PARTS:
        return None
    compiled, wanted = _PARTS[leaf.op]
    if not text:
        return (f"{e} IS NOT NULL" if wanted else "0"), ()
    if not _is_storable(text):
        return ("0" if wanted else f"{e} IS NOT NULL"), ()
    return compiled(e, text, wanted=wanted)


def _prefix(e: str, text: str, *, wanted: bool) -> _Sql:
    """Compare with the range of texts that start so, which an index can serve."""
    end = _successor(text)
    if end is None:
        return f"{e} {'>=' if wanted else '<'} ?", (text,)
    where = f"({e} >= ? AND {e} < ?)" if wanted else f"({e} < ? OR {e} >= ?)"
    return where, (text, end)


def _successor(text: str) -> str | None:
    """Find the least text greater than all that start with *text*."""
    stem = text.rstrip(chr(_LAST_CHARACTER))
    if not stem:
        return None
    last = ord(stem[-1])
    after = _FIRST_AFTER_SURROGATES if last == _LAST_BEFORE_SURROGATES else last + 1
    return stem[:-1] + chr(after)


def _suffix(e: str, text: str, *, wanted: bool) -> _Sql:
    # As bytes: functions on text stop at a NUL character, and UTF-8 cannot match in
    # the middle of a character.
    end = text.encode()
    last = f"substr(CAST({e} AS BLOB), -{len(end)})"
    if wanted:
        return f"{last} = ?", (end,)
    # The end of an empty blob is NULL in SQLite.
    return f"({e} IS NOT NULL AND {last} IS NOT ?)", (end,)


def _containing(e: str, text: str, *, wanted: bool) -> _Sql:
    compare = "> 0" if wanted else "= 0"
    return f"instr(CAST({e} AS BLOB), ?) {compare}", (text.encode(),)


_PARTS = {
    "^": (_prefix, True),
    "!^": (_prefix, False),
    "$": (_suffix, True),
    "!$": (_suffix, False),
    "rin": (_containing, True),
    "rnin": (_containing, False),
}


def _json(leaf: Leaf, table: Table) -> Condition:
    """Compile a condition on a JSON column or on something inside of one."""
    prefix = _stored_prefix(leaf.path, table)
    if prefix is None or table[prefix].kind != "json" or leaf.fold:
        return _undecided(leaf)
    e, whole = table[prefix].sql, prefix == leaf.path
    plain = isinstance(leaf.value, str) and _PLAIN.fullmatch(leaf.value)
    match leaf.op:
        case "=" if whole and leaf.value is None:
            return Condition(f"({e} IS NULL OR {e} = 'null')")
        case "!=" if whole and leaf.value is None:
            return Condition(f"({e} IS NOT NULL AND {e} <> 'null')")
        case "=" if plain:
            return Condition(f"instr({e}, ?) > 0", (leaf.value,), exact=False)
        case "rin" if plain and whole:
            # Numbers and booleans contain nothing: those rows raise.
            raising = f"substr({e}, 1, 1) NOT IN ('[', '{{', '\"')"
            where = f"(instr({e}, ?) > 0 OR {raising})"
            return Condition(where, (leaf.value,), exact=False, risk=None)
        case _:
            return _undecided(leaf)


def _stored_prefix(path: tuple[str, ...], table: Table) -> tuple[str, ...] | None:
    """Find the longest start of a path that is a column."""
    longest = max(map(len, table), default=0)
    starts = (path[:end] for end in range(min(len(path), longest), 0, -1))
    return next((start for start in starts if start in table), None)
