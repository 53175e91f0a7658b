"""Results of a method: encoded straight, or through one recursive pass."""

import dataclasses
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from itertools import chain
from math import isfinite
from operator import attrgetter
from types import UnionType
from typing import (
    Annotated,
    Any,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from middlewared import ejson
from middlewared.pieces import pieces

__all__ = ["Results", "holds_anything", "holds_secret", "later"]

T = TypeVar("T")

#: Tells something of values that have one type.
Check = Callable[[Iterable[Any]], bool]

_encode = msgspec.json.Encoder().encode
_PLAIN = (str, int, bool, type(None), msgspec.Raw)


def later(work: Coroutine[Any, Any, T]) -> T:
    """Let an immediate handler return what takes time: the answer follows its end.

    Until then the call holds no slot of its connection.
    """
    return cast(T, work)


def holds_secret(kind: Any) -> bool:
    """Tell whether a value of this type may hold a `Secret`."""
    return _search(kind, set(), _is_secret)


def holds_anything(kind: Any) -> bool:
    """Tell whether a value of this type may hold what no type describes."""
    return _search(kind, set(), _is_anything)


def _is_anything(kind: Any) -> bool:
    return kind in (Any, object, msgspec.Raw, list, dict, tuple, set, frozenset)


def _is_secret(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return kind is ejson.Secret or origin is ejson.Secret


def _needs_pass(kind: Any, seen: set[Any]) -> bool:
    """Tell whether a value of this type may need a form that msgspec does not give."""
    return _search(kind, seen, _is_special)


def _is_special(kind: Any) -> bool:
    if kind is None or kind in _PLAIN:
        return False
    origin = get_origin(kind)
    if origin in (list, dict, tuple) or (origin is not None and get_args(kind)):
        return origin is ejson.Secret or _may_be_set(origin)
    if isinstance(kind, type):
        if issubclass(kind, (msgspec.Struct, Enum)) or kind in (list, dict, tuple):
            return kind in (list, dict, tuple)
        return not dataclasses.is_dataclass(kind) and not hasattr(
            kind, "__required_keys__"
        )
    return not isinstance(kind, str)


def _may_be_set(origin: Any) -> bool:
    """Tell whether sets are instances: set itself, Collection, Iterable..."""
    return isinstance(origin, type) and (
        issubclass(set, origin) or issubclass(frozenset, origin)
    )


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        issubclass(kind, msgspec.Struct)
        or dataclasses.is_dataclass(kind)
        or hasattr(kind, "__required_keys__")
    )


def _search(kind: Any, seen: set[Any], test: Callable[[Any], bool]) -> bool:
    if isinstance(kind, (str, int, bytes)) or kind is Ellipsis:
        return False  # the values of a Literal
    if get_origin(kind) is Annotated:
        return _search(get_args(kind)[0], seen, test)
    if test(kind):
        return True
    children = list(get_args(kind))
    fields = get_origin(kind) or kind
    if _has_fields(fields) and fields not in seen:
        seen.add(fields)
        children += get_type_hints(fields).values()
    return any(_search(child, seen, test) for child in children)


def _is_special_but_float(kind: Any) -> bool:
    return kind is not float and _is_special(kind)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or isfinite(value)


def _finite_check(  # noqa: PLR0911 - a table of kinds
    kind: Any, within: tuple[Any, ...]
) -> Check | None:
    """Make what tells whether all floats of some values have a form in JSON.

    msgspec writes null for the others. The recursive pass refuses them, too, but takes
    twenty times as long as the encoder. A check goes through a field of all items
    before it takes the next field, so that all loops are in C. It raises TypeError when
    there is something else than the type says.

    Returns:
        None when the type is not made of structs, lists and dicts alone.
    """
    if get_origin(kind) is Annotated:
        return _finite_check(get_args(kind)[0], within)
    if kind in within:
        return None
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list or (origin is dict and arguments[0] is str):
        inner = _finite_check(arguments[-1], within)
        if inner is None:
            return None
        if origin is list:
            return lambda values: inner(chain.from_iterable(values))
        return lambda values: inner(chain.from_iterable(map(dict.values, values)))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _finite_fields(kind, within)
    if origin in (Union, UnionType):
        plain = all(one in (float, *_PLAIN, None) for one in arguments)
        return (lambda values: all(map(_is_finite, values))) if plain else None
    # NaN and infinity stay what they are in a sum; one that overflows costs the pass.
    return (lambda values: isfinite(sum(values))) if kind is float else None


def _finite_fields(kind: type[msgspec.Struct], within: tuple[Any, ...]) -> Check | None:
    checks: list[tuple[Callable[[Any], Any], Check]] = []
    for name, inner in get_type_hints(kind, include_extras=True).items():
        if not _search(inner, set(), lambda one: one is float):
            continue
        check = _finite_check(inner, (*within, kind))
        if check is None:
            return None
        checks.append((attrgetter(name), check))
    if len(checks) == 1:
        ((get, check),) = checks
        return lambda values: check(map(get, values))

    def check_fields(values: Iterable[Any]) -> bool:
        items = list(values)
        return all(check(map(get, items)) for get, check in checks)

    return check_fields


class Results:
    """Encoder of one method's results.

    Attributes:
        kind: the declared return type.
        secret: whether a result may hold a `Secret`.
        opaque: whether it may hold text that the handler made itself.
    """

    __slots__ = ("_finite", "_pass", "kind", "opaque", "secret")

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.secret = holds_secret(kind)
        self.opaque = holds_anything(kind)
        self._pass = _needs_pass(kind, set())
        self._finite: Check | None = None
        if self._pass and not _search(kind, set(), _is_special_but_float):
            self._finite = _finite_check(kind, ())

    @property
    def direct(self) -> Callable[[Any], bytes]:
        """What encodes results that keep their annotation as `encode` does.

        For those that do not, it may raise anything; then `encode` has the last word.
        """
        return self.encode if self._pass else _encode

    def encode(self, value: Any, *, clear: bool = True) -> bytes:
        """Encode a result.

        Args:
            value: what the handler returned.
            clear: show secrets; True only for whoever made the call.

        Raises:
            EncodingError: it has no form in JSON.
        """
        try:
            if self._pass and (self._finite is None or not self._finite((value,))):
                return ejson.encode(value, clear=clear)
            return _encode(value)
        except (AttributeError, TypeError, ValueError, OverflowError, RecursionError):
            # A handler that does not keep its annotation: the pass says what is wrong.
            return ejson.encode(value, clear=clear)

    def encode_in_pieces(self, value: Any, *, clear: bool = True) -> list[bytes]:
        """Encode a large result in a thread, and let others have their turn meanwhile.

        Args:
            value: what the handler returned; nothing may change it meanwhile.
            clear: show secrets; True only for whoever made the call.

        Returns:
            Pieces that are together what `encode` gives.

        Raises:
            EncodingError: it has no form in JSON.
        """
        if not self._pass:
            try:
                return list(pieces(value, _encode))
            except (TypeError, ValueError, OverflowError, RecursionError):
                pass  # as in `encode`
        try:
            return list(pieces(ejson.to_wire(value, clear=clear), _encode))
        except RecursionError:
            raise ejson.EncodingError("value is nested too deeply") from None
        except (TypeError, ValueError, OverflowError) as exc:
            if isinstance(exc, ejson.EncodingError):
                raise
            raise ejson.EncodingError(str(exc)) from None
