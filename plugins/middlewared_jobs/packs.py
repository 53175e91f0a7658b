"""Kept events in packs: those that one transaction writes are one row, not one each."""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

import msgspec

from middlewared.events import Message
from middlewared.inserts import Bulk, Insert
from middlewared_jobs.store import Move

__all__ = [
    "CUT",
    "DELETE_PACKS",
    "MOST",
    "MOST_BYTES",
    "PACK",
    "SELECT_PACKS",
    "packed",
    "unpacked",
]

#: Events that a pack has at most, and bytes, unless one event alone has more: who
#: wants a few events has to take a whole pack apart.
MOST, MOST_BYTES = 256, 2**18

#: A pack as it stands in its table: its last number, its first, the time of the newest
#: of its events, and all of them as JSON: an array for each part of a `Move`.
PackRow: TypeAlias = tuple[int, int, int, str]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(
    tuple[list[int], list[int], list[int], list[Message], list[int], list[msgspec.Raw]]
).decode
_INSERT = Insert("job_event_packs", ("last", "first", "newest", "events"))
DELETE_PACKS = "DELETE FROM job_event_packs WHERE last <= ?"
#: A pack may begin before the number after which events are wanted.
SELECT_PACKS = "SELECT first, events FROM job_event_packs WHERE last > ? ORDER BY last"


def packed(moves: Sequence[Move]) -> Iterator[PackRow]:
    """Put events into packs.

    Args:
        moves: the events, by number, at least one.
    """
    for first in range(0, len(moves), MOST):
        yield from _packed(moves[first : first + MOST])


def _packed(moves: Sequence[Move]) -> Iterator[PackRow]:
    seqs, ats, *others, changes = zip(*moves, strict=True)
    text = b",".join(changes)  # JSON already
    if len(moves) > 1 and len(text) > MOST_BYTES:
        half = len(moves) // 2
        yield from chain(_packed(moves[:half]), _packed(moves[half:]))
        return
    head = _encode((seqs, ats, *others))[:-1]
    yield seqs[-1], seqs[0], max(ats), (b"%b,[%b]]" % (head, text)).decode()


def unpacked(events: str) -> Iterator[Move]:
    """Give the events of a pack."""
    seqs, ats, jobs, msgs, sizes, changes = _decode(events)
    # Copies: they would keep the whole pack in memory.
    return zip(seqs, ats, jobs, msgs, sizes, map(bytes, changes), strict=True)


class _Pack(Bulk):
    """Writes events, each a `Move`, as packs."""

    __slots__ = ()

    def run(self, connection: sqlite3.Connection, rows: Sequence[Any]) -> None:
        """Write the events of a transaction, by number.

        Raises:
            sqlite3.Error: there is a pack that ends with the same number.
        """
        _INSERT.run(connection, list(packed(rows)))


class _Cut(Bulk):
    """Takes the events up to a number, its parameter, out of the pack that has more."""

    __slots__ = ()

    def run(self, connection: sqlite3.Connection, rows: Sequence[Any]) -> None:
        """Write the first pack that ends with a higher number anew, without them."""
        for (upto,) in rows:
            found = connection.execute(f"{SELECT_PACKS} LIMIT 1", (upto,)).fetchone()
            if found is None or found[0] > upto:
                continue
            left = [move for move in unpacked(found[1]) if move[0] > upto]
            connection.execute(self, (left[-1][0],))
            PACK.run(connection, left)


PACK = _Pack(_INSERT)
CUT = _Cut("DELETE FROM job_event_packs WHERE last = ?")
