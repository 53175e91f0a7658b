"""The error tree, its JSON-RPC codes, and what an error looks like on the wire."""

import errno as _errno
import traceback
from collections.abc import Iterable
from typing import Any

import msgspec

__all__ = [
    "CUSTOM_ERRNOS",
    "ENOTAUTHENTICATED",
    "CallError",
    "ErrorData",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "MethodNotFound",
    "MiddlewareError",
    "NotAuthenticated",
    "ParseError",
    "PluginError",
    "PortInUse",
    "RpcError",
    "SettingsError",
    "StartError",
    "StoreError",
    "TooManyCalls",
    "Trace",
    "ValidationError",
    "ValidationErrors",
    "describe_error",
    "errname",
    "error_number",
    "traceback_text",
    "validation_extra",
]

#: Error numbers above those of the operating system (protocol page, 1.5).
CUSTOM_ERRNOS = {
    201: "ENOMETHOD",
    202: "ESERVICESTARTFAILURE",
    203: "EALERTCHECKERUNAVAILABLE",
    204: "EREMOTENODEERROR",
    205: "EDATASETISLOCKED",
    206: "EINVALIDRRDTIMESTAMP",
    207: "ENOTAUTHENTICATED",
    208: "ESSLCERTVERIFICATIONERROR",
    209: "EREBOOTREQUIRED",
    210: "EHAUNAVAILABLE",
}

ENOTAUTHENTICATED = 207


def errname(number: int) -> str:
    """Name an error number, ``EUNKNOWN`` for one that has no name."""
    return _errno.errorcode.get(number) or CUSTOM_ERRNOS.get(number, "EUNKNOWN")


class MiddlewareError(Exception):
    """Root of everything this project raises on purpose."""


class SettingsError(MiddlewareError):
    """A setting has a value that cannot be used; the message names both."""


class PluginError(MiddlewareError):
    """A plugin is declared wrongly, missing, or failed to start."""


class StoreError(MiddlewareError):
    """The database cannot be used: too new, locked, read-only, full or corrupt."""


class StartError(MiddlewareError):
    """The server cannot start here: port taken, directory in use."""


class PortInUse(StartError):
    """Another program listens on the port."""


class RpcError(MiddlewareError):
    """An error that crosses the wire with a JSON-RPC code (JSON-RPC 2.0, section 5.1).

    Attributes:
        code: the JSON-RPC error code.
        message: the fixed text that belongs to the code.
    """

    code = -32603
    message = "Internal error"


class ParseError(RpcError):
    """The text is no JSON."""

    code = -32700
    message = "Parse error"


class InvalidRequest(RpcError):
    """The JSON is no request object."""

    code = -32600
    message = "Invalid Request"


class MethodNotFound(RpcError):
    """No plugin serves this method; official clients compare the message literally."""

    code = -32601
    message = "Method does not exist"


class InternalError(RpcError):
    """An answer that cannot be encoded."""

    code = -32603
    message = "Failed to JSON serialize server message"


class TooManyCalls(RpcError):
    """A limit of the connection is reached; the message names it."""

    code = -32000

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CallError(RpcError):
    """What a method raises: a text, an error number and optional details.

    Args:
        text: what happened, with the value; one sentence.
        number: error number of the operating system or of `CUSTOM_ERRNOS`.
        extra: details for programs; must be encodable.
    """

    code = -32001
    message = "Method call error"

    def __init__(
        self, text: str, number: int = _errno.EFAULT, extra: Any = None
    ) -> None:
        super().__init__(text, number, extra)
        self.text = text
        self.errno = number
        self.extra = extra

    def __str__(self) -> str:
        return f"[{errname(self.errno)}] {self.text}"


class NotAuthenticated(CallError):
    """The method needs a login; clients rely on its number, 207."""

    def __init__(self) -> None:
        super().__init__("Not authenticated", ENOTAUTHENTICATED)


class ValidationError(CallError):
    """One value is wrong.

    Args:
        attribute: dotted path from the parameter name, None when no parameter is meant.
        text: what was expected, with the value.
        number: error number.
    """

    code = -32602
    message = "Invalid params"

    def __init__(
        self, attribute: str | None, text: str, number: int = _errno.EINVAL
    ) -> None:
        super().__init__(text, number)
        self.attribute = attribute

    def __str__(self) -> str:
        where = "" if self.attribute is None else f"{self.attribute}: "
        return f"[{errname(self.errno)}] {where}{self.text}"


class ValidationErrors(CallError):
    """Several values are wrong; `errors` lists them in order."""

    code = -32602
    message = "Invalid params"

    def __init__(self, errors: Iterable[ValidationError]) -> None:
        self.errors = list(errors)
        super().__init__("Invalid params", _errno.EINVAL)

    def __str__(self) -> str:
        return "".join(f"{error}\n" for error in self.errors)


class InvalidParams(ValidationErrors):
    """The params do not fit the method: one error, or several."""

    def __init__(self, attribute: str | None, text: str) -> None:
        super().__init__([ValidationError(attribute, text)])


class Trace(msgspec.Struct, rename={"class_": "class"}):
    """Where an error came from; for full admins only, the last line aside."""

    class_: str
    formatted: str
    repr: str


class ErrorData(msgspec.Struct):
    """The five keys of ``error.data`` (protocol page, 1.5)."""

    error: int
    errname: str
    reason: str
    trace: Trace | None
    extra: Any


def validation_extra(exc: BaseException) -> list[tuple[str | None, str, int]] | None:
    """List the ``[attribute, message, errno]`` of a validation error, else None."""
    match exc:
        case ValidationErrors():
            return [(e.attribute, e.text, e.errno) for e in exc.errors]
        case ValidationError():
            return [(exc.attribute, exc.text, exc.errno)]
        case _:
            return None


def traceback_text(exc: BaseException) -> str:
    """Format an exception; one that crossed from another process brings its text."""
    text = getattr(exc, "foreign_traceback", None)
    return text if isinstance(text, str) else "".join(traceback.format_exception(exc))


def error_number(exc: BaseException) -> int:
    """Give the error number that ``error.data`` has for an exception."""
    match exc:
        case ValidationErrors() | ValidationError():
            return _errno.EINVAL
        case CallError():
            return exc.errno
        case InternalError():
            return _errno.EFAULT
        case OSError() if exc.errno:
            return exc.errno
        case _:
            return _errno.EINVAL


def describe_error(exc: BaseException, *, with_trace: bool) -> ErrorData:
    """Describe what a method raised the way ``error.data`` shows it.

    Args:
        exc: the exception.
        with_trace: full admins see the traceback, other callers its last line: clients
            print it whatever it is.
    """
    name, reason = type(exc).__name__, str(exc) or repr(exc)
    number, extra = error_number(exc), validation_extra(exc)
    if isinstance(exc, CallError) and extra is None:
        extra = exc.extra
    return ErrorData(
        error=number,
        errname=errname(number),
        reason=reason,
        trace=Trace(
            class_=name,
            formatted=traceback_text(exc) if with_trace else f"{name}: {reason}",
            repr=repr(exc) if with_trace else name,
        ),
        extra=extra,
    )
