"""What a query in a long history costs without a server: SQL, and the JSON of it."""

import contextlib
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from middlewared import Date
from middlewared_jobs.record import CoreGetJobsItem, JobRecord
from middlewared_jobs.rows import BOOLEANS, RAW, TIMES

__all__ = ["ByHand", "json_of", "read_by_hand"]

_encode = msgspec.json.Encoder().encode
#: Keys of the answer, by method.
_FIELDS = {
    "core.get_jobs": CoreGetJobsItem.__struct_fields__,
    "job.query": JobRecord.__struct_fields__,
}
_DEFAULTS = msgspec.json.decode(
    _encode(
        JobRecord(
            id=0,
            uid="",
            method="",
            arguments=msgspec.Raw(b"[]"),
            time_created=Date(0),
        )
    )
)


class ByHand(msgspec.Struct, frozen=True):
    """What one query costs in the asking process.

    Attributes:
        ms: median milliseconds of the clock, SQL alone.
        cpu: CPU milliseconds of the same.
        with_json: CPU milliseconds with the JSON of its rows.
    """

    ms: float
    cpu: float
    with_json: float


def read_by_hand(
    path: Path, sql: str, params: Sequence[Any], method: str, times: int
) -> ByHand:
    """Read rows through sqlite3 so many times, and make the answer of *method*."""
    with contextlib.closing(sqlite3.connect(path)) as database:

        def read() -> Sequence[Any]:
            return database.execute(sql, params).fetchall()

        names = [column[0] for column in database.execute(sql, params).description]
        alone, cpu = _cost(read, times)
        _, both = _cost(lambda: json_of(read(), names, method), times)
    return ByHand(alone, cpu, both)


def _cost(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Give median milliseconds, and CPU milliseconds of one."""
    work()
    found = []
    cpu = time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - began))
    cpu = time.process_time() - cpu
    return statistics.median(found), 1000 * cpu / times


def json_of(rows: Sequence[Any], names: Sequence[str], method: str) -> bytes:
    """Make the answer in the most direct way: what is JSON already is not read."""
    index = {name: place for place, name in enumerate(names)}
    stored = [name for name in _FIELDS[method] if name in index]
    rest = {n: _DEFAULTS[n] for n in _FIELDS[method] if n not in index}
    raw = [(name, index[name]) for name in stored if name in RAW]
    times = [(name, index[name]) for name in stored if name in TIMES]
    truths = [(name, index[name]) for name in stored if name in BOOLEANS]
    plain = [
        (name, index[name]) for name in stored if name not in RAW + TIMES + BOOLEANS
    ]
    return _encode(
        [
            {name: row[place] for name, place in plain}
            | {name: msgspec.Raw(row[place]) for name, place in raw}
            | {name: _date(row[place]) for name, place in times}
            | {name: bool(row[place]) for name, place in truths}
            | rest
            for row in rows
        ]
    )


def _date(ms: int | None) -> dict[str, int] | None:
    return None if ms is None else {"$date": ms}
