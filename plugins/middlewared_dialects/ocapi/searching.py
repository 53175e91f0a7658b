"""Searches for executions: OCAPI queries as filters of the native language."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from middlewared_dialects.ocapi.faults import Fault
from middlewared_dialects.ocapi.publication import Ocapi
from middlewared_jobs import Phase

__all__ = ["MAX_COUNT", "Compiler", "SearchRequest", "sort_keys"]

MAX_COUNT = 200

Field = Literal["id", "job_id", "start_time", "end_time", "status"]
Operator = Literal[
    "is", "one_of", "is_null", "is_not_null", "less", "greater", "not_in", "neq"
]
_KEYS = {"start_time": "time_started", "end_time": "time_finished"}
_SORTED = {"job_id": "method", "status": "phase", "id": "id", **_KEYS}
_FINAL = (Phase.FINISHED, Phase.ABORTED)


class TermQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Values of fields; one field has to fit."""

    fields: Annotated[list[str], Meta(min_length=1)]
    operator: Operator
    values: list[Any] = []


class TextQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A text somewhere in fields."""

    fields: Annotated[list[str], Meta(min_length=1)]
    search_phrase: str


class BoolQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Queries that all, or not all, have to fit."""

    must: list["Query"] = []
    should: list["Query"] = []
    must_not: list["Query"] = []


class FilteredQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A query, narrowed by another."""

    query: "Query"
    filter: "Query"


class Query(msgspec.Struct, forbid_unknown_fields=True):
    """One of these."""

    match_all_query: dict[str, Any] | None = None
    term_query: TermQuery | None = None
    text_query: TextQuery | None = None
    bool_query: BoolQuery | None = None
    filtered_query: FilteredQuery | None = None


class Sort(msgspec.Struct, forbid_unknown_fields=True):
    """One key of the order."""

    field: str
    sort_order: Literal["asc", "desc"] = "asc"


class SearchRequest(msgspec.Struct):
    """Body of a search."""

    query: Query
    count: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 25
    start: Annotated[int, Meta(ge=0)] = 0
    sorts: list[Sort] = []
    select: str | None = None
    expand: list[str] = []


Filters = list[Any]
_NEVER: Filters = [["id", "=", -1]]


class Compiler:
    """Makes filters of queries.

    Args:
        published: for the methods of jobs.
    """

    def __init__(self, published: Ocapi) -> None:
        self._published = published
        self._terms: dict[str, Callable[[Operator, Sequence[Any]], Filters]] = {
            "id": self._id,
            "job_id": self._job_id,
            "status": self._status,
            "start_time": lambda o, v: self._time("start_time", o, v),
            "end_time": lambda o, v: self._time("end_time", o, v),
        }

    def compile(self, query: Query) -> Filters:
        """Give the filters that say the same.

        Raises:
            Fault: a field or an operator is not known, or it is too deep.
        """
        return self._any(query, negated=False)

    def _any(self, query: Query, *, negated: bool) -> Filters:
        if query.bool_query is not None:
            return self._bool(query.bool_query, negated=negated)
        if query.filtered_query is not None:
            both = [query.filtered_query.query, query.filtered_query.filter]
            return self._all_of(both, negated=negated)
        if query.term_query is not None:
            return self._term(query.term_query, negated=negated)
        if query.text_query is not None:
            return self._text(query.text_query, negated=negated)
        return list(_NEVER) if negated else []

    def _bool(self, query: BoolQuery, *, negated: bool) -> Filters:
        parts = [self._any(one, negated=negated) for one in query.must]
        parts += [self._any(one, negated=not negated) for one in query.must_not]
        if query.should:
            choices = [self._any(one, negated=negated) for one in query.should]
            parts.append(_all(choices) if negated else _either(choices))
        return _either(parts) if negated and parts else _all(parts)

    def _all_of(self, queries: Sequence[Query], *, negated: bool) -> Filters:
        parts = [self._any(one, negated=negated) for one in queries]
        return _either(parts) if negated else _all(parts)

    def _term(self, query: TermQuery, *, negated: bool) -> Filters:
        operator = _opposite(query.operator) if negated else query.operator
        parts = [self._field(name)(operator, query.values) for name in query.fields]
        return _all(parts) if negated else _either(parts)

    def _field(self, name: str) -> Callable[[Operator, Sequence[Any]], Filters]:
        found = self._terms.get(name)
        if found is None:
            text = f"Field '{name}' cannot be searched."
            raise Fault(400, "InvalidSearchFieldException", text, field=name)
        return found

    def _text(self, query: TextQuery, *, negated: bool) -> Filters:
        phrase = query.search_phrase.casefold()
        jobs = [p for p in self._published if phrase in p.options.job_id.casefold()]
        parts: list[Filters] = []
        for name in query.fields:
            self._field(name)
            if name == "job_id":
                methods = [job.name for job in jobs]
                parts.append([["method", "nin" if negated else "in", methods]])
            elif name == "id" and phrase.isdecimal() and len(phrase) < 19:  # noqa: PLR2004 - 2**63
                parts.append([["id", "!=" if negated else "=", int(phrase)]])
            elif name == "status":
                operator: Operator = "neq" if negated else "is"
                parts.append(self._status(operator, [query.search_phrase.upper()]))
            else:
                parts.append([] if negated else list(_NEVER))
        return _all(parts) if negated else _either(parts)

    # The fields.

    def _id(self, operator: Operator, values: Sequence[Any]) -> Filters:
        numbers = [int(v) for v in values if str(v).isdecimal() and len(str(v)) < 19]  # noqa: PLR2004 - 2**63
        return _plain("id", operator, numbers)

    def _job_id(self, operator: Operator, values: Sequence[Any]) -> Filters:
        found = [self._published.find_job(str(value)) for value in values]
        methods = [one.name for one in found if one is not None]
        return _plain("method", operator, methods)

    def _time(self, name: str, operator: Operator, values: Sequence[Any]) -> Filters:
        key = _KEYS[name]
        if operator in ("is_null", "is_not_null"):
            return [[key, "=" if operator == "is_null" else "!=", None]]
        signs = {"is": "=", "neq": "!=", "less": "<", "greater": ">"}
        sign = signs.get(operator)
        if sign is None or len(values) != 1:
            raise _unfit(name, operator)
        try:
            moment = dt.datetime.fromisoformat(str(values[0]))
            if moment.tzinfo is not None:
                moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            raise _unfit(name, operator) from None
        return [[f"{key}.$date", sign, moment.isoformat()]]

    def _status(self, operator: Operator, values: Sequence[Any]) -> Filters:
        if operator in ("is", "one_of"):
            return _either([_status_is(str(value)) for value in values])
        if operator in ("neq", "not_in"):
            return _all([_status_is_not(str(value)) for value in values])
        if operator == "is_null":
            return list(_NEVER)
        if operator == "is_not_null":
            return []
        raise _unfit("status", operator)


def _status_is(value: str) -> Filters:
    """A status is the phase before the end, and the code of the exit after it."""
    phase = value.lower()
    ended: Filters = [["exit.code", "=", value]]
    if phase in set(Phase) - set(_FINAL):
        return [["OR", [[["phase", "=", phase]], ended]]]
    return ended


def _status_is_not(value: str) -> Filters:
    phase = value.lower()
    ended: Filters = [["OR", [["exit", "=", None], ["exit.code", "!=", value]]]]
    if phase in set(Phase) - set(_FINAL):
        return [["phase", "!=", phase], *ended]
    return ended


def _plain(key: str, operator: Operator, values: Sequence[Any]) -> Filters:
    match operator:
        case "is" | "one_of":
            return [[key, "in", list(values)]]
        case "neq" | "not_in":
            return [[key, "nin", list(values)]]
        case "less" | "greater" if len(values) == 1:
            return [[key, "<" if operator == "less" else ">", values[0]]]
        case "is_null":
            return list(_NEVER)
        case "is_not_null":
            return []
    raise _unfit(key, operator)


def _unfit(field: str, operator: str) -> Fault:
    text = f"Operator '{operator}' does not fit field '{field}', or its values."
    return Fault(400, "InvalidSearchFieldTypeException", text, field=field)


_OPPOSITES: dict[Operator, Operator] = {
    "is": "neq",
    "one_of": "not_in",
    "is_null": "is_not_null",
}
_OPPOSITES |= {after: before for before, after in _OPPOSITES.items()}


def _opposite(operator: Operator) -> Operator:
    if operator not in _OPPOSITES:
        text = f"Operator '{operator}' cannot be in must_not."
        raise Fault(400, "InvalidSearchFieldTypeException", text, field=operator)
    return _OPPOSITES[operator]


def _all(parts: Sequence[Filters]) -> Filters:
    return [leaf for part in parts for leaf in part]


def _either(parts: Sequence[Filters]) -> Filters:
    if any(not part for part in parts):
        return []  # one of them fits everything
    if not parts:
        return list(_NEVER)
    return parts[0] if len(parts) == 1 else [["OR", list(parts)]]


def sort_keys(sorts: Sequence[Sort]) -> list[str]:
    """Give the native order.

    Raises:
        Fault: a field cannot be sorted by.
    """
    keys = []
    for sort in sorts:
        key = _SORTED.get(sort.field)
        if key is None:
            text = f"Field '{sort.field}' cannot be sorted by."
            raise Fault(400, "FieldNotSortableException", text, field=sort.field)
        first = "nulls_last:" if key.startswith("time_") else ""
        keys.append(f"{first}{'-' if sort.sort_order == 'desc' else ''}{key}")
    return keys or ["-id"]
