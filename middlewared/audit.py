"""What is written down of logins, and of calls that change something."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_origin

import msgspec

from middlewared import ejson
from middlewared.access import Credentials, Origin
from middlewared.clock import Clock
from middlewared.errors import errname, error_number
from middlewared.results import holds_anything

__all__ = ["OK", "Entry", "Happening", "Trail", "show_params"]

#: The outcome of what worked; others are names of errors or of refusals.
OK = "OK"
#: Bytes of one value in an entry; of a longer one only the size is kept.
MAX_VALUE = 1024

#: LOGIN and LOGOUT; CALL, a method that changes something; JOB, a job was accepted;
#: LOST, entries that could not be kept.
Happening: TypeAlias = Literal["LOGIN", "LOGOUT", "CALL", "JOB", "LOST"]
#: Requests of one login from one address are written down once in so many seconds.
ARRIVAL_SECONDS = 3600.0
#: Logins that are remembered for that; the ones that came longest ago give way.
MAX_ARRIVALS = 10_000

Show: TypeAlias = Callable[[Any], bytes]


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened.

    Attributes:
        time: milliseconds since 1970-01-01 UTC.
        event: what happened.
        outcome: `OK`, or the name of the error.
        who: whose login it was; None when nobody had logged in.
        username: of the account a failed login was for, if there is such an account.
        origin: where it came from; None inside the server.
        method: full name of the method.
        params: of the call, as JSON, secrets redacted; None when there is nothing.
        job_id: the job that a call made or shares.
        detail: more, in a word or two.
    """

    time: int
    event: Happening
    outcome: str
    who: Credentials | None = None
    username: str | None = None
    origin: Origin | None = None
    method: str | None = None
    params: bytes | None = None
    job_id: int | None = None
    detail: str | None = None


class Trail:
    """Takes entries to whoever keeps them; without a keeper they are dropped.

    Noting never waits and never fails.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keep: Callable[[Entry], None] | None = None
        self._arrivals: OrderedDict[Hashable, float] = OrderedDict()

    def attach(self, keep: Callable[[Entry], None] | None) -> None:
        """Give all entries to *keep* from now on; to nobody with None."""
        self._keep = keep

    def note(
        self,
        event: Happening,
        outcome: str,
        who: Credentials | None = None,
        username: str | None = None,
        origin: Origin | None = None,
        method: str | None = None,
        params: bytes | None = None,
        job_id: int | None = None,
        detail: str | None = None,
    ) -> None:
        """Write something down, now; the arguments are the attributes of `Entry`."""
        if self._keep is not None:
            now = self._clock.time_ms()
            self._keep(
                Entry(
                    now,
                    event,
                    outcome,
                    who,
                    username,
                    origin,
                    method,
                    params,
                    job_id,
                    detail,
                )
            )

    def note_request(self, who: Credentials, origin: Origin) -> None:
        """Write down a login that was good for one request, unless that was just done.

        Each request over HTTP logs in anew, and programs send one every second.
        """
        key = (who.type, who.account_id, who.api_key, origin.address)
        now, last = self._clock.monotonic(), self._arrivals.get(key)
        if last is not None and now - last < ARRIVAL_SECONDS:
            return
        self._arrivals[key] = now
        self._arrivals.move_to_end(key)
        if len(self._arrivals) > MAX_ARRIVALS:
            self._arrivals.popitem(last=False)
        self.note("LOGIN", OK, who=who, origin=origin, detail="HTTP")

    def note_call(
        self,
        method: str,
        who: Credentials | None,
        origin: Origin | None,
        params: bytes | None,
        exc: BaseException | None,
    ) -> None:
        """Write down a call that has ended, with what the caller is told.

        Args:
            method: full name of the method.
            who: who called.
            origin: from where; None inside the server.
            params: what `show_params` made of them.
            exc: what it raised.
        """
        self.note(
            "CALL",
            OK if exc is None else errname(error_number(exc)),
            who=who,
            origin=origin,
            method=method,
            params=params,
        )


# Params as entries show them.


def show_params(kinds: Sequence[Any], values: Sequence[Any]) -> bytes:
    """Write bound params the way entries have them.

    Secrets are redacted. What a type does not describe may hold secrets that nobody
    declared, so of values of any type only the size is kept.

    Args:
        kinds: types of the parameters.
        values: of the first of them.
    """
    pairs = zip(kinds, values, strict=False)
    return b"[" + b",".join(_show(kind)(value) for kind, value in pairs) + b"]"


_SHOWS: dict[Any, Show] = {}


def _show(kind: Any) -> Show:
    """Find how values of a type are shown, decided once for each type."""
    try:
        found = _SHOWS.get(kind)
    except TypeError:  # the type has no hash
        return _choose(kind)
    if found is None:
        found = _SHOWS[kind] = _choose(kind)
    return found


def _choose(kind: Any) -> Show:
    if not holds_anything(kind):
        return _plainly
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _by_field(kind)
    if get_origin(kind) in (Union, UnionType):
        return _by_class
    return _by_size


def _by_class(value: Any) -> bytes:
    """Show one of several types; only structs say what is in them."""
    known = value is None or isinstance(value, msgspec.Struct)
    return _show(type(value))(value) if known else _by_size(value)


def _plainly(value: Any) -> bytes:
    try:
        encoded = ejson.encode(value)
    except ejson.EncodingError:
        return b'"(not shown)"'
    return encoded if len(encoded) <= MAX_VALUE else _size_of(encoded)


def _by_size(value: Any) -> bytes:
    try:
        return _size_of(ejson.encode(value))
    except ejson.EncodingError:
        return b'"(not shown)"'


def _size_of(encoded: bytes) -> bytes:
    return b'"(%d bytes)"' % len(encoded)


def _by_field(kind: type[msgspec.Struct]) -> Show:
    fields = [
        (field.name, msgspec.json.encode(field.encode_name), _show(field.type))
        for field in msgspec.structs.fields(kind)
    ]

    def show(value: Any) -> bytes:
        parts = [
            name + b":" + shown(inner)
            for attribute, name, shown in fields
            if (inner := getattr(value, attribute)) is not msgspec.UNSET
        ]
        whole = b"{" + b",".join(parts) + b"}"
        return whole if len(whole) <= MAX_VALUE else _size_of(whole)

    return show
