"""Types of params, from what the settings declare; pure."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from middlewared import Secret
from middlewared_commands.params import (
    BoolParam,
    FloatParam,
    IntParam,
    ListParam,
    Param,
    PathParam,
    SecretParam,
    StrParam,
)

__all__ = ["ParamError", "annotation", "default_of"]

_NO_DASH = "(?!-)"
_ABSOLUTE = "(?=/)"


class ParamError(ValueError):
    """A declaration that cannot be used.

    Attributes:
        key: the setting that is wrong.
    """

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def _pattern(pattern: str | None, *, leading: bool, path: bool) -> str | None:
    """Make the expression of a word; good for Python and for JSON Schema.

    In Python ``$`` matches before a newline at the end, too, hence what follows it.
    """
    if pattern is None:
        return "^/" if path else f"^{_NO_DASH}" if leading else None
    begin = _ABSOLUTE if path else _NO_DASH if leading else ""
    whole = f"^{begin}(?:{pattern})$(?!\\n)"
    try:
        re.compile(whole)
    except re.error as exc:
        raise ParamError("pattern", f"no regular expression: {exc}") from None
    return whole


def _word(kind: Any, choices: tuple[Any, ...], meta: Meta, pattern: str | None) -> Any:
    """Annotate one word: the choices, or what limits it."""
    if not choices:
        return Annotated[kind, meta]
    if pattern is not None:
        raise ParamError("pattern", "choices leave nothing for a pattern")
    if len(set(choices)) < len(choices):
        raise ParamError("choices", "one occurs twice")
    return Literal[choices]


def _number(param: IntParam | FloatParam, kind: type, *, leading: bool) -> Any:
    least = param.min
    if leading and not param.dash and not getattr(param, "choices", ()):
        if least is not None and least < 0:
            raise ParamError(
                "min",
                "a value that begins with - could be taken for an option; put -- before"
                " it, or allow it with dash = true",
            )
        least = least or 0
    if least is not None and param.max is not None and least > param.max:
        raise ParamError("max", f"is below the least value, {least}")
    return Annotated[kind, Meta(ge=least, le=param.max)]


def _list(param: ListParam, *, leading: bool) -> Any:
    if param.under and param.items != "path":
        raise ParamError("under", "items are str, only a path can be in a folder")
    item: Any = _word(
        str,
        param.choices,
        Meta(
            pattern=_pattern(
                param.pattern,
                leading=leading and not param.dash,
                path=param.items == "path",
            )
        ),
        param.pattern,
    )
    if param.max_items is not None and param.max_items < param.min_items:
        raise ParamError("max_items", f"is below min_items, {param.min_items}")
    least = max(param.min_items, int(param.required is True))
    limits = Meta(min_length=least or None, max_length=param.max_items)
    return Annotated[list.__class_getitem__(item), limits]


def _text(param: StrParam, *, leading: bool) -> Any:
    if param.max_length is not None and param.max_length < param.min_length:
        raise ParamError("max_length", f"is below min_length, {param.min_length}")
    pattern = _pattern(param.pattern, leading=leading and not param.dash, path=False)
    limits = Meta(
        pattern=pattern,
        min_length=param.min_length or None,
        max_length=param.max_length,
    )
    return _word(str, param.choices, limits, param.pattern)


def _path(param: PathParam) -> Any:
    pattern = _pattern(param.pattern, leading=False, path=True)
    return Annotated[str, Meta(pattern=pattern)]


def _kind(param: Param, *, leading: bool) -> Any:
    kind: Any = bool
    match param:
        case StrParam():
            kind = _text(param, leading=leading)
        case IntParam(choices=()):
            kind = _number(param, int, leading=leading)
        case IntParam():
            kind = _word(int, param.choices, Meta(), None)
        case FloatParam():
            kind = _number(param, float, leading=leading)
        case PathParam():
            kind = _path(param)
        case ListParam():
            kind = _list(param, leading=leading)
        case SecretParam():
            kind = Secret[str]
    return kind


def annotation(param: Param, *, leading: bool) -> Any:
    """Give the type that the method's signature has for a param.

    Args:
        param: the declaration.
        leading: a program could take the value for an option, so it may not begin
            with a dash unless that is allowed.

    Raises:
        ParamError: the declaration contradicts itself.
    """
    kind = _kind(param, leading=leading)
    default = default_of(param)
    if default is None:
        kind = kind | None
    elif default is not UNSET:
        try:
            msgspec.convert(default, kind)
        except msgspec.ValidationError as exc:
            raise ParamError("default", str(exc)) from None
    return Annotated[kind, Meta(description=param.doc)] if param.doc else kind


def default_of(param: Param) -> Any:
    """Give the value of a param that is not given; `UNSET` when it has to be.

    None means that there is no value, and that nothing of it appears.

    Raises:
        ParamError: it has a default and has to be given.
    """
    default = UNSET if isinstance(param, SecretParam) else param.default
    if isinstance(param, BoolParam):
        return UNSET if param.required else default
    if default is not UNSET:
        if param.required:
            raise ParamError("required", "with a default it need not be given")
        return list(default) if isinstance(default, tuple) else default
    if param.required is not False:
        return UNSET
    return [] if isinstance(param, ListParam) else None
