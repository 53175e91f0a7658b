"""Extended JSON: how dates, times, sets and secrets look on the wire.

Follows protocol page, section 2. Structs of our own use wire types (`Date`), so that
they need no pass; everything else that may hold a Python date goes through `to_wire`.
"""

import dataclasses
import datetime as dt
import ipaddress
import math
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

__all__ = [
    "REDACTED",
    "Date",
    "EncodingError",
    "Secret",
    "dec_hook",
    "decode",
    "encode",
    "from_wire",
    "has_extended",
    "reveal",
    "to_wire",
]

T = TypeVar("T")
REDACTED = "********"
UTC = dt.UTC


class Date(msgspec.Struct, frozen=True, rename={"ms": "$date"}):
    """A point in time as the wire has it: milliseconds since 1970-01-01 UTC."""

    ms: int


class EncodingError(ValueError):
    """A value has no form on the wire: NaN, infinity, or an unknown class."""


class Secret(Generic[T]):
    """A param or result field that no listing, event or log shows.

    ``Secret[str]`` decodes from a plain string; `get` gives it back. Its text forms
    never show the value. Equality compares values; the hash does not depend on it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def get(self) -> T:
        """Return the value in clear."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({REDACTED!r})"

    def __str__(self) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(Secret)


def dec_hook(kind: Any, value: Any) -> Any:
    """Decode the types that msgspec does not know; for its ``dec_hook`` argument."""
    origin = getattr(kind, "__origin__", kind)
    if origin is Secret:
        inner = getattr(kind, "__args__", (Any,))[0]
        try:
            return Secret(
                msgspec.convert(value, inner, str_keys=True, dec_hook=dec_hook)
            )
        except msgspec.ValidationError as exc:
            # Only to what is none yet does msgspec add where the secret is.
            raise ValueError(str(exc)) from None
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise ValueError(
        f"Expected `{getattr(kind, '__name__', kind)}`, got `{type(value).__name__}`"
    )


def _date(value: Any) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, UTC) + dt.timedelta(milliseconds=value)


def _set(value: Any) -> set[Any]:
    if not isinstance(value, list):
        raise TypeError("expected an array")
    return set(value)


_ONE_KEY: dict[str, Callable[[Any], Any]] = {
    "$date": _date,
    "$time": dt.time.fromisoformat,
    "$set": _set,
    "$ipv4_interface": ipaddress.IPv4Interface,
    "$ipv6_interface": ipaddress.IPv6Interface,
}


def from_wire(value: Any) -> Any:
    """Replace the extended objects inside plain JSON values.

    Raises:
        ValueError: an extended object holds something it cannot.
    """
    if isinstance(value, list):
        return [from_wire(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key in _ONE_KEY:
            return _extended(key, _ONE_KEY[key], from_wire(inner))
    elif value.keys() == {"$type", "$value"} and value["$type"] == "date":
        return _extended("date", dt.date.fromisoformat, value["$value"])
    return {key: from_wire(inner) for key, inner in value.items()}


def _extended(name: str, build: Callable[[Any], Any], value: Any) -> Any:
    try:
        return build(value)
    except (TypeError, OverflowError) as exc:
        raise ValueError(f"{name} cannot be {value!r}: {exc}") from None


def decode(raw: bytes | bytearray | memoryview | str) -> Any:
    """Decode JSON text; the slow way is taken only when the text contains ``"$``.

    Raises:
        ValueError: no JSON (`msgspec.DecodeError`), too deep, or a bad extended object.
    """
    try:
        value = msgspec.json.decode(raw)
        return from_wire(value) if has_extended(raw) else value
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def has_extended(raw: bytes | bytearray | memoryview | str) -> bool:
    """Tell whether JSON text may hold an extended object."""
    return '"$' in raw if isinstance(raw, str) else b'"$' in bytes(raw)


def _float(value: float) -> float:
    if not math.isfinite(value):
        raise EncodingError(f"{value!r} has no form in JSON")
    return value


def _datetime(value: dt.datetime) -> dict[str, int]:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return {"$date": (aware - _date(0)) // dt.timedelta(milliseconds=1)}


def _struct(value: msgspec.Struct, *, clear: bool) -> dict[str, Any]:
    fields = zip(
        value.__struct_fields__, type(value).__struct_encode_fields__, strict=True
    )
    config = value.__struct_config__
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    return tag | {
        wire: to_wire(inner, clear=clear)
        for name, wire in fields
        if (inner := getattr(value, name)) is not msgspec.UNSET
    }


_LEAVES: dict[type, Callable[[Any], Any]] = {
    float: _float,
    dt.datetime: _datetime,
    dt.date: lambda v: {"$type": "date", "$value": v.isoformat()},
    dt.time: lambda v: {"$time": v.isoformat()},
    ipaddress.IPv4Interface: lambda v: {"$ipv4_interface": str(v)},
    ipaddress.IPv6Interface: lambda v: {"$ipv6_interface": str(v)},
}
#: What a class of an author's may derive from: msgspec refuses it, we take the base.
_BASES: tuple[type, ...] = (str, int, float)
_PLAIN = frozenset({str, int, bool, type(None), msgspec.Raw})


def to_wire(value: Any, *, clear: bool = False) -> Any:  # noqa: PLR0911 - a table of kinds
    """Turn a Python value into what the encoder may write, in one recursive pass.

    Args:
        value: anything a method returns.
        clear: show the values of secrets instead of eight asterisks.

    Raises:
        EncodingError: NaN, infinity, or an object that has no form on the wire.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in _LEAVES:
        return _LEAVES[kind](value)
    if isinstance(value, Secret):
        return to_wire(value.get(), clear=clear) if clear else REDACTED
    if isinstance(value, dict):
        return {_key(k): to_wire(v, clear=clear) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(item, clear=clear) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"$set": [to_wire(item, clear=clear) for item in value]}
    if isinstance(value, msgspec.Struct):
        return _struct(value, clear=clear)
    return _convert(value, clear=clear)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int):
        return str(key)
    raise EncodingError(f"{key!r} cannot be a key of a JSON object")


def _convert(value: Any, *, clear: bool) -> Any:
    """Handle enums, dataclasses, uuids: what msgspec turns into builtins, and more."""
    if not isinstance(value, Enum):
        for base in _BASES:
            if isinstance(value, base):
                return to_wire(base(value))
    for kind, convert in _LEAVES.items():
        if isinstance(value, kind):
            return convert(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: to_wire(getattr(value, name), clear=clear) for name in names}
    try:
        plain = msgspec.to_builtins(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise EncodingError(str(exc)) from None
    if type(plain) is type(value):
        raise EncodingError(f"{type(value).__name__} has no form in JSON")
    return to_wire(plain, clear=clear)


def reveal(value: Any) -> Any:
    """Give the clear form of a value for whoever may see its secrets."""
    return to_wire(value, clear=True)


_encoder = msgspec.json.Encoder()


def encode(value: Any, *, clear: bool = False) -> bytes:
    """Encode any value as extended JSON.

    Raises:
        EncodingError: the value has no form on the wire.
    """
    try:
        if type(value) is list and _PLAIN.issuperset(map(type, value)):
            return _encoder.encode(value)
        return _encoder.encode(to_wire(value, clear=clear))
    except RecursionError:
        raise EncodingError("value is nested too deeply") from None
    except (TypeError, ValueError, OverflowError) as exc:
        if isinstance(exc, EncodingError):
            raise
        raise EncodingError(str(exc)) from None
