"""An entry of the audit log, as a row and as clients see it."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from middlewared import Date
from middlewared.audit import Entry
from middlewared.database import Rows
from middlewared.filters import Column
from middlewared.inserts import Insert

__all__ = ["COLUMNS", "INSERT", "SELECT", "AuditItem", "item_of", "row_of", "rows_of"]

UNIX_SOCKET = "UNIX_SOCKET"


class AuditItem(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as ``audit.query`` shows it.

    Attributes:
        id: rises by one with each entry.
        time: when it happened, or ended.
        event: LOGIN; LOGOUT; CALL, of a method that changes something; JOB, one was
            accepted; LOST, entries that could not be kept.
        outcome: OK, the name of the error, or why a login was refused.
        username: who it was; null when nobody had logged in, or nobody has the name.
        account_id: of the account; null for none.
        credentials: how the login proved itself.
        api_key: id of the API key that it came with.
        login_id: names the login.
        origin: IP address, or UNIX_SOCKET; null inside the server.
        method: full name of the method.
        params: of the call; secrets are redacted, and of long values and those of any
            type only the size is kept. Null when there is nothing to show.
        job_id: the job that was started or is shared.
        detail: more, in a word or two.
    """

    id: int
    time: Date
    event: str
    outcome: str
    username: str | None
    account_id: int | None
    credentials: str | None
    api_key: int | None
    login_id: str | None
    origin: str | None
    method: str | None
    params: msgspec.Raw | None
    job_id: int | None
    detail: str | None


_NAMES = AuditItem.__struct_fields__
#: What few entries have.
_SELDOM = ("api_key", "detail")
_USUAL = tuple(name for name in _NAMES[1:] if name not in _SELDOM)
INSERT, INSERT_USUAL = Insert("audit", (*_USUAL, *_SELDOM)), Insert("audit", _USUAL)
_NO_SELDOM = (None,) * len(_SELDOM)
SELECT = f"SELECT {', '.join(_NAMES)} FROM audit"  # noqa: S608 - our own names

#: Where the filter language finds what.
COLUMNS = {
    "id": Column("id", "int"),
    "time": Column("time", "time_ms"),
    "event": Column("event", "text"),
    "outcome": Column("outcome", "text"),
    "username": Column("username", "text", nullable=True),
    "account_id": Column("account_id", "int", nullable=True),
    "credentials": Column("credentials", "text", nullable=True),
    "api_key": Column("api_key", "int", nullable=True),
    "login_id": Column("login_id", "text", nullable=True),
    "origin": Column("origin", "text", nullable=True),
    "method": Column("method", "text", nullable=True),
    "job_id": Column("job_id", "int", nullable=True),
    "detail": Column("detail", "text", nullable=True),
}


def row_of(entry: Entry) -> tuple[Any, ...]:
    """Give the values of `INSERT`."""
    who, origin = entry.who, entry.origin
    return (
        entry.time,
        entry.event,
        entry.outcome,
        entry.username if who is None else who.username,
        None if who is None else who.account_id,
        None if who is None else who.type,
        None if who is None else who.login_id,
        None if origin is None else origin.address or UNIX_SOCKET,
        entry.method,
        None if entry.params is None else entry.params.decode(),
        entry.job_id,
        None if who is None else who.api_key,
        entry.detail,
    )


def rows_of(entries: Iterable[Entry]) -> Rows:
    """Give what writes entries, in their order.

    What is not written is NULL, too, and need not be bound: sqlite3 takes longer for
    None than for a number.
    """
    rows = list(map(row_of, entries))
    if {row[-len(_SELDOM) :] for row in rows} == {_NO_SELDOM}:
        return INSERT_USUAL, [row[: -len(_SELDOM)] for row in rows]
    return INSERT, rows


def item_of(row: Sequence[Any]) -> dict[str, Any]:
    """Give a row of `SELECT` as plain values."""
    item = dict(zip(_NAMES, row, strict=True))
    item["time"] = {"$date": item["time"]}
    if item["params"] is not None:
        item["params"] = msgspec.json.decode(item["params"])
    return item
