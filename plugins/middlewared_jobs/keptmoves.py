"""Reads kept events from their tables, with what is there of their jobs."""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import chain, islice, takewhile
from operator import itemgetter
from typing import Any

from middlewared_jobs.change import FIXED
from middlewared_jobs.packs import SELECT_PACKS, unpacked
from middlewared_jobs.rows import STORED, json_text, record_of_move
from middlewared_jobs.store import NO_CHANGE, KeptMove, Move

__all__ = ["KEPT_RANGE", "first_since", "kept_moves"]

#: Events that are read at a time.
MOVES = 256

#: The oldest number and the newest, of events that have a row of their own (removals,
#: and what was kept before there were packs) and of those in packs. Each its own
#: question, since two in one are answered by a look at all rows.
KEPT_RANGE = "SELECT " + ", ".join(  # noqa: S608 - our own names
    f"({question})"
    for question in (
        "SELECT min(seq) FROM job_events",
        "SELECT first FROM job_event_packs ORDER BY last LIMIT 1",
        "SELECT max(seq) FROM job_events",
        "SELECT max(last) FROM job_event_packs",
    )
)
_SELECT_SINGLE = (
    "SELECT seq, at, job, msg, size, ifnull(change, 'null') FROM job_events "
    "WHERE seq > ? AND seq <= ? ORDER BY seq"
)
_NEWER_SINGLE = "SELECT seq FROM job_events WHERE at >= ? ORDER BY seq LIMIT 1"
_NEWER_PACK = (
    "SELECT events FROM job_event_packs WHERE newest >= ? ORDER BY last LIMIT 1"
)
_CHOSEN = "(SELECT value FROM json_each(?))"
_SELECT_ROWS = f"SELECT {', '.join(STORED)} FROM jobs WHERE id IN {_CHOSEN}"  # noqa: S608 - our own names
#: Of an event with a change of its own no more is read of its job.
_SELECT_FIXED = (
    f"SELECT {', '.join(c if c in FIXED else 'NULL' for c in STORED)} "  # noqa: S608 - our own names
    f"FROM jobs WHERE id IN {_CHOSEN}"
)
_SELECT_GONE = (
    "SELECT job, owner, method FROM job_events "  # noqa: S608 - our own names
    f"WHERE msg = 'removed' AND job IN {_CHOSEN}"
)
_ID, _OWNER, _METHOD = map(STORED.index, ("id", "owner", "method"))
_number = itemgetter(0)


def kept_moves(
    connection: sqlite3.Connection, after: int, upto: int, size: int
) -> list[KeptMove]:
    """Give kept events by number, at least one when there is any.

    Args:
        connection: to read from, within a transaction.
        after: those with higher numbers.
        upto: and not above this one.
        size: no more than so many bytes together, or one.
    """
    moves = list(_moves(connection, after, upto, size))
    told = {job for _, _, job, _, _, change in moves if change == NO_CHANGE}
    others = {job for _, _, job, *_ in moves} - told
    rows = _rows(connection, _SELECT_ROWS, told)
    rows |= _rows(connection, _SELECT_FIXED, others)
    missing = (json_text((told | others) - rows.keys()),)
    gone = {job: who for job, *who in connection.execute(_SELECT_GONE, missing)}
    found = []
    for seq, _, job, msg, _, change in moves:
        row = rows.get(job)
        if row is None:
            owner, method = gone.get(job, (None, ""))
            found.append(KeptMove(seq, job, msg, owner, method, None))
        else:
            load = partial(record_of_move, change, row)  # decoded when it is needed
            found.append(KeptMove(seq, job, msg, row[_OWNER], row[_METHOD], load))
    return found


def _rows(
    connection: sqlite3.Connection, sql: str, jobs: set[int]
) -> dict[int, Sequence[Any]]:
    return {row[_ID]: row for row in connection.execute(sql, (json_text(jobs),))}


def _moves(
    connection: sqlite3.Connection, after: int, upto: int, size: int
) -> Iterator[Move]:
    packs = connection.execute(SELECT_PACKS, (after,))
    # One after the other: those that are not needed are not read.
    near = takewhile(lambda pack: pack[0] <= upto, packs)
    together = chain.from_iterable(unpacked(events) for _, events in near)
    inside = (move for move in together if after < move[0] <= upto)
    singles = connection.execute(_SELECT_SINGLE, (after, upto))
    alone = ((*others, change.encode()) for *others, change in singles)
    for count, move in enumerate(islice(merge(inside, alone, key=_number), MOVES)):
        size -= move[4]
        if count and size < 0:
            return
        yield move


def first_since(connection: sqlite3.Connection, at: int) -> int | None:
    """Give the number of the oldest kept event that is not older than *at*.

    Args:
        connection: to read from, within a transaction.
        at: milliseconds since 1970-01-01 UTC.
    """
    found = [seq for (seq,) in connection.execute(_NEWER_SINGLE, (at,))]
    for (events,) in connection.execute(_NEWER_PACK, (at,)):
        found.append(next(move[0] for move in unpacked(events) if move[1] >= at))
    return min(found, default=None)
