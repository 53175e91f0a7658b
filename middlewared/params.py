"""Params of a method: the handler's annotations are the schema."""

import contextlib
import datetime as dt
import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType

from middlewared import ejson
from middlewared.errors import PluginError, ValidationError, ValidationErrors

__all__ = ["NO_PARAMS", "UNRESOLVED", "Params", "location"]

NO_PARAMS = (b"", b"[]", b"{}")
#: What an annotation raises that means nothing, or nothing that msgspec knows.
UNRESOLVED = (NameError, AttributeError, SyntaxError, TypeError)

_UNFIT = (ValueError, TypeError, RecursionError)

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def location(fn: Callable[..., Any]) -> str:
    """Say where a function is written, as ``file:line``."""
    code = inspect.unwrap(fn).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


class Params:
    """Decoder of one handler's params, by position or by name.

    The first parameter of the handler (its `Context` or `Job`) is not part of them.
    Keyword-only parameters come after the others and may be sent by position.

    Attributes:
        names: parameter names in order.
        types: their types.
        defaults: default values, `UNSET` where there is none.
        returns: the handler's return type.
    """

    __slots__ = (
        "_by_name",
        "_by_position",
        "_complete",
        "_least",
        "_positional",
        "defaults",
        "names",
        "returns",
        "types",
    )

    def __init__(self, handler: Callable[..., Any]) -> None:
        hints = _hints(handler)
        parameters = list(inspect.signature(handler).parameters.values())
        if not parameters:
            raise PluginError(
                f"{location(handler)}: {handler.__name__} takes no context or job"
            )
        fields: list[tuple[str, Any, Any]] = []
        for parameter in parameters[1:]:
            if parameter.kind not in (_POSITIONAL, _KEYWORD):
                raise PluginError(
                    f"{location(handler)}: parameter {parameter.name!r} of "
                    f"{handler.__name__} is {parameter.kind.description}, expected "
                    "one that can be sent by position and by name"
                )
            if parameter.name not in hints:
                raise PluginError(
                    f"{location(handler)}: parameter {parameter.name!r} of "
                    f"{handler.__name__} has no type"
                )
            default = (
                UNSET
                if parameter.default is inspect.Parameter.empty
                else parameter.default
            )
            fields.append((parameter.name, hints[parameter.name], default))
        self.names = tuple(name for name, _, _ in fields)
        self.types = tuple(kind for _, kind, _ in fields)
        self.defaults = tuple(default for _, _, default in fields)
        self.returns = hints.get("return", Any)
        required = [i for i, value in enumerate(self.defaults) if value is UNSET]
        #: How many values there are at least, those that are missing before included.
        self._least = required[-1] + 1 if required else 0
        #: None may be missing.
        self._complete = len(required) == len(self.names)
        self._positional = sum(1 for p in parameters[1:] if p.kind is _POSITIONAL)
        self._by_name = self._decoder(handler, array_like=False)
        self._by_position = self._decoder(handler, array_like=True)

    def _decoder(
        self, handler: Callable[..., Any], *, array_like: bool
    ) -> msgspec.json.Decoder[Any]:
        members: list[Any] = [
            (f"p{i}", kind | UnsetType if kind is not Any else Any, UNSET)
            for i, kind in enumerate(self.types)
        ]
        if self._complete:
            members = [(f"p{i}", kind) for i, kind in enumerate(self.types)]
        try:
            struct = msgspec.defstruct(
                "Params",
                members,
                rename={f"p{i}": name for i, name in enumerate(self.names)},
                array_like=array_like,
                forbid_unknown_fields=True,
            )
            return msgspec.json.Decoder(struct, dec_hook=ejson.dec_hook)
        except UNRESOLVED as exc:
            raise PluginError(
                f"{location(handler)}: {handler.__name__}: {exc}"
            ) from None

    def decode(self, raw: bytes) -> list[Any] | None:
        """Decode params straight from their text, without extended JSON.

        Args:
            raw: the JSON text of the member; empty when it is missing.

        Returns:
            Values in signature order, up to the last one given; parameters before it
            that were not given have their defaults. None when they do not fit: `bind`
            says why.
        """
        if raw in NO_PARAMS:
            return None if self._least else []
        decoder = self._by_name if raw[:1] == b"{" else self._by_position
        try:
            struct = decoder.decode(raw)
        except _UNFIT:
            return None
        values = list(msgspec.structs.astuple(struct))
        if self._complete or UNSET not in values:
            return values
        values = _given(values)
        return values if self._fill(values) else None

    def _fill(self, values: list[Any]) -> bool:
        """Put defaults in the gaps; False when a required value is missing."""
        for i, value in enumerate(values):
            if value is UNSET:
                if self.defaults[i] is UNSET:
                    return False
                values[i] = self.defaults[i]
        return len(values) >= self._least

    def bind(self, args: Sequence[Any], named: dict[str, Any]) -> list[Any]:
        """Bind plain values to the parameters, each checked on its own.

        Raises:
            ValidationErrors: every value that is wrong, missing or too many.
        """
        errors: list[ValidationError] = []
        values: list[Any] = [UNSET] * len(self.names)
        if len(args) > len(self.names):
            errors.append(
                ValidationError(
                    "",
                    f"Too many arguments (expected {len(self.names)}, "
                    f"found {len(args)})",
                )
            )
        given = dict(zip(self.names, args, strict=False)) | named
        for name, value in given.items():
            if name not in self.names:
                errors.append(ValidationError(name, "Unknown parameter"))
                continue
            place = self.names.index(name)
            try:
                values[place] = _checked(value, self.types[place], name)
            except ValidationErrors as exc:
                errors += exc.errors
        errors += [
            ValidationError(name, "Field required")
            for name, default in zip(self.names, self.defaults, strict=True)
            if default is UNSET and name not in given
        ]
        if errors:
            raise ValidationErrors(errors)
        values = _given(values)
        self._fill(values)
        return values

    def call(
        self, handler: Callable[..., Any], first: object, values: Sequence[Any]
    ) -> Any:
        """Call *handler* with decoded values, keyword-only ones by their name."""
        if len(values) <= self._positional:
            return handler(first, *values)
        named = zip(
            self.names[self._positional :], values[self._positional :], strict=False
        )
        return handler(first, *values[: self._positional], **dict(named))


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(handler, include_extras=True)
    except UNRESOLVED as exc:
        raise PluginError(f"{location(handler)}: {handler.__name__}: {exc}") from None


def _given(values: Sequence[Any]) -> list[Any]:
    """Cut the values after the last one given."""
    count = len(values)
    while count and values[count - 1] is UNSET:
        count -= 1
    return list(values[:count])


def _checked(value: Any, kind: Any, name: str) -> Any:
    """Convert one plain value to its type.

    Raises:
        ValidationErrors: with the dotted path from *name* to what does not fit.
    """
    try:
        return _convert(value, kind)
    except _UNFIT as exc:
        if "got `datetime`" in str(exc):
            with contextlib.suppress(*_UNFIT):
                return _convert(_with_dates(value), kind)
        raise ValidationErrors([_mistake(exc, name)]) from None


def _convert(value: Any, kind: Any) -> Any:
    return msgspec.convert(value, kind, str_keys=True, dec_hook=ejson.dec_hook)


def _with_dates(value: Any) -> Any:
    """Make the dates `Date` again, which is what a struct of ours may ask for."""
    if isinstance(value, dt.datetime):
        return ejson.Date(ejson.to_wire(value)["$date"])
    if isinstance(value, list):
        return [_with_dates(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_dates(inner) for key, inner in value.items()}
    return value


def _mistake(exc: Exception, name: str) -> ValidationError:
    """Take msgspec's "text - at `$.path[0]`" apart; a secret adds a path of its own."""
    text, *places = str(exc).split(" - at `")
    path = "".join(
        place.removeprefix("key` in `").rstrip("`").removeprefix("$")
        for place in reversed(places)
    )
    path = path.replace("[...]", ".*").replace("[", ".").replace("]", "")
    return ValidationError(name + path, text)
