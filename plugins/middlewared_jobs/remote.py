"""Exceptions that cross from a child: described there, built again here."""

import traceback
from typing import Any, Literal

import msgspec

from middlewared import CallError, ValidationError, ValidationErrors, ejson
from middlewared.errors import validation_extra
from middlewared_jobs.texts import sendable, sendable_repr

__all__ = ["Remote", "describe", "plain", "rebuild"]

#: Characters of the text of an exception; of its traceback the setting says it.
MAX_TEXT = 2**20

Base = Literal["validations", "validation", "call", "os", "other"]


class Remote(msgspec.Struct, frozen=True):
    """An exception of another process.

    Attributes:
        base: which of the classes that are known everywhere it belongs to.
        name: its class.
        text: what ``str`` says.
        shown: what ``repr`` says.
        trace: the formatted traceback, the last of it when it is long.
        reason: the text without the number, of a `CallError`.
        number: its error number, if it has one.
        extra: what a `CallError` carries; of validation errors the triples.
    """

    base: Base
    name: str
    text: str
    shown: str
    trace: str
    reason: str = ""
    number: int | None = None
    extra: Any = None


def plain(value: Any) -> Any:
    """Give the plain form of what an exception carries, its text if it has none."""
    try:
        return msgspec.json.decode(ejson.encode(value))
    except ValueError:
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return sendable_repr(value)


def describe(exc: BaseException, limit: int) -> Remote:
    """Describe an exception, so that all that is shown of it can be built again.

    Args:
        exc: the exception.
        limit: characters of the traceback that are of use; one more may be given.
    """
    base, reason, extra = _base(exc), "", None
    number = getattr(exc, "errno", None) if base != "other" else None
    if isinstance(exc, CallError):
        reason = sendable(exc.text)
        extra = plain(validation_extra(exc) or exc.extra)
        size = len(msgspec.json.encode(extra))
        if size > MAX_TEXT:
            base, extra = "call", f"{size} bytes of details are left out"
    return Remote(
        base=base,
        name=type(exc).__name__,
        text=sendable(exc)[:MAX_TEXT],
        shown=sendable_repr(exc)[:MAX_TEXT],
        trace=sendable("".join(traceback.format_exception(exc)))[-limit - 1 :],
        reason=reason[:MAX_TEXT],
        number=number if isinstance(number, int) else None,
        extra=extra,
    )


def _base(exc: BaseException) -> Base:
    match exc:
        case ValidationErrors():
            return "validations"
        case ValidationError():
            return "validation"
        case CallError():
            return "call"
        case OSError():
            return "os"
        case _:
            return "other"


class _Rebuilt:
    """What makes an exception look as it did in the process that raised it."""

    remote: Remote

    @property
    def foreign_traceback(self) -> str:
        """The traceback of that process; `middlewared.errors` looks for it."""
        return self.remote.trace

    def __str__(self) -> str:
        return self.remote.text

    def __repr__(self) -> str:
        return self.remote.shown


def rebuild(remote: Remote) -> Exception:
    """Build an exception of a class with the same name, text, number and details.

    It is an instance of the base that `describe` found; the class itself may be known
    in the child only.
    """
    match remote.base:
        case "validations":
            errors = [ValidationError(*triple) for triple in remote.extra]
            exc: Exception = _class(ValidationErrors, remote)(errors)
        case "validation":
            exc = _class(ValidationError, remote)(*remote.extra[0])
        case "call":
            exc = _class(CallError, remote)(remote.reason, remote.number, remote.extra)
        case "os":
            exc = _class(OSError, remote)()
            exc.errno = remote.number  # type: ignore[attr-defined]  # of OSError
        case _:
            exc = _class(Exception, remote)()
    exc.remote = remote  # type: ignore[attr-defined]  # of _Rebuilt
    return exc


def _class(base: type[Exception], remote: Remote) -> type[Exception]:
    return type(remote.name, (_Rebuilt, base), {})
