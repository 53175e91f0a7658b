"""Large values encoded piece by piece, so that other threads have their turn.

msgspec holds the interpreter for as long as it encodes one value: some 100 ms for a
hundred megabytes, in which nobody else is served, whatever thread it is done in.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

__all__ = ["PIECE", "is_large", "pieces"]

#: About as many bytes are encoded at one go.
PIECE = 1 << 16
#: What a value counts besides its texts.
_NODE = 32
_TINY = frozenset({type(None), bool, int, float})
_TEXTS = (str, bytes, bytearray)
_CONTAINERS = (dict, list, tuple, set, frozenset)

Encode = Callable[[Any], bytes]


def is_large(value: Any) -> bool:
    """Tell whether a value may have more than a piece when it is encoded.

    Looks at some 2,000 parts of it at most.
    """
    return type(value) not in _TINY and _weigh(value) > PIECE


def _weigh(value: Any) -> int:
    """Estimate the size of a value; what is over `PIECE` is not looked at further."""
    weight, left = 0, [value]
    while left and weight <= PIECE:
        part = left.pop()
        weight += _NODE
        if type(part) in _TINY:
            continue
        if isinstance(part, _TEXTS):
            weight += len(part)
            continue
        if isinstance(part, msgspec.Raw):
            weight += memoryview(part).nbytes
            continue
        if isinstance(part, _CONTAINERS) and len(part) * _NODE > PIECE:
            return PIECE + 1
        left += _members(part)
    return weight


def _members(value: Any) -> list[Any]:
    """Give what a value is made of, as far as it can be taken apart."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, _CONTAINERS):
        return list(value)
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(value):
        return list(getattr(value, "__dict__", {}).values())
    return []


def pieces(value: Any, encode: Encode) -> Iterator[bytes]:
    """Encode a value; the pieces together are what *encode* would give.

    For a thread: between two pieces other threads have their turn. Nothing may change
    the value meanwhile.

    Args:
        value: lists, dicts, structs and texts are taken apart when they are large.
        encode: encodes what is small, or cannot be taken apart.

    Raises:
        Exception: what *encode* raises.
    """
    for piece in _pieces(value, encode):
        yield piece
        time.sleep(0)  # the others' turn, also when they have waited for a moment only


def _pieces(value: Any, encode: Encode) -> Iterator[bytes]:
    kind = type(value)
    if not is_large(value):
        yield encode(value)
    elif kind is str:
        yield from _text(value, encode)
    elif kind is msgspec.Raw:
        yield from _raw(memoryview(value))
    elif kind in (list, tuple):
        yield from _wrapped(b"[]", _batches(value, list, encode))
    elif kind is dict:
        yield from _wrapped(b"{}", _batches(value.items(), dict, encode))
    elif isinstance(value, msgspec.Struct) and _is_plain(value):
        yield from _wrapped(b"{}", _batches(_fields(value), dict, encode))
    else:
        yield encode(value)


def _text(value: str, encode: Encode) -> Iterator[bytes]:
    yield b'"'
    for start in range(0, len(value), PIECE):
        yield encode(value[start : start + PIECE])[1:-1]
    yield b'"'


def _raw(value: memoryview) -> Iterator[bytes]:
    for start in range(0, value.nbytes, PIECE):
        yield bytes(value[start : start + PIECE])


def _wrapped(brackets: bytes, parts: Iterator[Iterator[bytes]]) -> Iterator[bytes]:
    yield brackets[:1]
    comma = b""
    for part in parts:
        yield comma
        yield from part
        comma = b","
    yield brackets[1:]


def _batches(
    parts: Iterable[Any], kind: Callable[[list[Any]], Any], encode: Encode
) -> Iterator[Iterator[bytes]]:
    """Encode the parts of a container: many small ones at one go, large ones apart."""
    batch: list[Any] = []
    weight = 0
    for part in parts:
        own = _weigh(part)
        if own > PIECE:
            if batch:
                yield iter([encode(kind(batch))[1:-1]])
                batch, weight = [], 0
            yield _part(part, kind, encode)
            continue
        batch.append(part)
        weight += own
        if weight > PIECE:
            yield iter([encode(kind(batch))[1:-1]])
            batch, weight = [], 0
    if batch:
        yield iter([encode(kind(batch))[1:-1]])


def _part(
    part: Any, kind: Callable[[list[Any]], Any], encode: Encode
) -> Iterator[bytes]:
    if kind is list:
        yield from _pieces(part, encode)
        return
    key, value = part
    yield encode({key: None})[1:-5]  # "key": without its null}
    yield from _pieces(value, encode)


def _is_plain(value: msgspec.Struct) -> bool:
    """Tell whether a struct is encoded as all of its fields, in their order."""
    config = value.__struct_config__
    return not (config.array_like or config.omit_defaults)


def _fields(value: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    config = value.__struct_config__
    if config.tag is not None and config.tag_field is not None:
        yield config.tag_field, config.tag
    names = zip(
        value.__struct_fields__, type(value).__struct_encode_fields__, strict=True
    )
    for name, wire in names:
        inner = getattr(value, name)
        if inner is not msgspec.UNSET:
            yield wire, inner
