"""What can go wrong for a client, one class per thing a caller may want to handle.

* `ClientError`
    * `InvalidAddress`, `CannotConnect`, `ConnectionLost`, `LoginFailed`
    * `NotText`, `NotAJob`, `JobNotFound`, `ResultUnavailable`, `Lagged`
* `RemoteError`, also a `middlewared.errors.CallError`: an error that the server sent
    * `RemoteValidationErrors`, also a `middlewared.errors.ValidationErrors`
    * `JobFailed`, and `JobValidationErrors` when its params were refused by the body
    * `JobAborted`
"""

import errno as _errno
from collections.abc import Mapping
from typing import Any

import msgspec

from middlewared.errors import (
    CallError,
    MiddlewareError,
    ValidationError,
    ValidationErrors,
    errname,
)

__all__ = [
    "CannotConnect",
    "ClientError",
    "ConnectionLost",
    "ErrorObject",
    "InvalidAddress",
    "JobAborted",
    "JobFailed",
    "JobNotFound",
    "JobValidationErrors",
    "Lagged",
    "LoginFailed",
    "NotAJob",
    "NotText",
    "RemoteError",
    "RemoteValidationErrors",
    "ResultUnavailable",
    "job_error",
    "remote_error",
]

INVALID_PARAMS = -32602

#: Error numbers for the codes whose answers carry none (protocol page, 1.5).
_NUMBERS = {
    -32700: _errno.EINVAL,
    -32600: _errno.EINVAL,
    -32601: 201,
    -32000: _errno.EBUSY,
    INVALID_PARAMS: _errno.EINVAL,
}


class ClientError(MiddlewareError):
    """Root of what goes wrong on this side of the wire."""


class InvalidAddress(ClientError, ValueError):
    """The address of the server cannot be read."""


class NotText(ClientError, ValueError):
    """A text cannot be sent, since UTF-8 cannot say it: bytes of a file's name, say."""


class CannotConnect(ClientError):
    """There is no server at the address, or it refused the connection."""


class ConnectionLost(ClientError):
    """The connection ended; whether calls in flight took effect is not known.

    Attributes:
        code: WebSocket close code (RFC 6455, 7.4), None without a closing handshake.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class LoginFailed(ClientError):
    """The server did not accept the credentials.

    Attributes:
        response_type: AUTH_ERR, EXPIRED, DENIED or another answer of ``auth.login_ex``.
    """

    def __init__(self, response_type: str) -> None:
        texts = {
            "AUTH_ERR": "the server does not accept these credentials",
            "EXPIRED": "the credentials have expired",
            "DENIED": "the account may not use this server",
        }
        text = texts.get(response_type, f"the server asks for {response_type}")
        super().__init__(f"login failed: {text}")
        self.response_type = response_type


class NotAJob(ClientError):
    """A method was called as a job and answered like a plain method.

    Attributes:
        result: what it answered.
    """

    def __init__(self, method: str, result: Any) -> None:
        super().__init__(f"{method} is not a job method")
        self.method = method
        self.result = result


class JobNotFound(ClientError):
    """The server knows no such job, or does not show it to this account."""


class ResultUnavailable(ClientError):
    """A job succeeded, but what it returned does not fit through the wire.

    Attributes:
        item: the final item of the job; ``result_encoding_error`` says why.
    """

    def __init__(self, item: Mapping[str, Any]) -> None:
        why = item["result_encoding_error"]
        detail = f": {why['type']}" if isinstance(why, dict) and "type" in why else ""
        super().__init__(
            f"job {item['id']} succeeded, but its result cannot be sent{detail}"
        )
        self.item = item


class Lagged(ClientError):
    """A subscription was read so slowly that its notifications no longer fit."""


class ErrorObject(msgspec.Struct):
    """The ``error`` member of a response (JSON-RPC 2.0, section 5.1)."""

    code: int
    message: str
    data: Any = None


class RemoteError(CallError):
    """The server answered a request with an error.

    Attributes:
        code: JSON-RPC error code.
        errno: error number; from the code where the answer carries none.
        errname: its name.
        reason: one sentence for people, as the server wrote it.
        extra: details for programs; ``[attribute, text, errno]`` rows when params
            were refused.
        trace: class, text and, for full admins, traceback of the exception.
    """

    def __init__(  # the error object of the wire has these members
        self,
        reason: str,
        *,
        code: int = -32001,
        number: int = _errno.EFAULT,
        name: str | None = None,
        extra: Any = None,
        trace: Any = None,
    ) -> None:
        self.errname = name or errname(number)
        self.reason = reason.rstrip("\n")
        text = self.reason.removeprefix(f"[{self.errname}] ")
        CallError.__init__(self, text, number, extra)
        self.code = code
        self.trace = trace

    def __str__(self) -> str:
        return self.reason


class RemoteValidationErrors(RemoteError, ValidationErrors):
    """The server refused the params; `errors` lists what is wrong with them."""

    def __init__(self, reason: str, **members: Any) -> None:
        super().__init__(reason, **members)
        self.errors = _validation_rows(self.extra)


class JobFailed(RemoteError):
    """A job ended FAILED.

    Attributes:
        job_id: id of the job.
        item: its final item.
        exception: formatted traceback, None when the server does not show it.
        exc_info: ``{type, errno, extra, repr}`` of the exception, or None.
    """

    def __init__(self, item: Mapping[str, Any]) -> None:
        info = item.get("exc_info") or {}
        kind = info.get("type") or "unknown error"
        super().__init__(
            item.get("error") or f"job {item['id']} failed: {kind}",
            number=info.get("errno") or _errno.EINVAL,
            extra=info.get("extra"),
        )
        self.job_id: int = item["id"]
        self.item = item
        self.exception: str | None = item.get("exception")
        self.exc_info: Any = item.get("exc_info")


class JobValidationErrors(JobFailed, RemoteValidationErrors):
    """A job ended FAILED because its body refused the params."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        super().__init__(item)
        self.code = INVALID_PARAMS
        self.errors = _validation_rows(self.extra)


class JobAborted(RemoteError):
    """A job ended ABORTED: somebody stopped it.

    Attributes:
        job_id: id of the job.
        item: its final item.
    """

    def __init__(self, item: Mapping[str, Any]) -> None:
        super().__init__(f"job {item['id']} was aborted", number=_errno.ECANCELED)
        self.job_id: int = item["id"]
        self.item = item


def _validation_rows(extra: Any) -> list[ValidationError]:
    """Read ``[attribute, text, errno]`` rows; rows of another shape are left out."""
    try:
        rows = msgspec.convert(extra, list[tuple[str | None, str, int]])
    except msgspec.ValidationError:
        return []
    return [ValidationError(*row) for row in rows]


def remote_error(error: ErrorObject) -> RemoteError:
    """Turn the error of a response into the exception that a caller sees."""
    data = error.data if isinstance(error.data, dict) else {}
    reason = data.get("reason") or error.message
    number = data.get("error")
    if not isinstance(number, int):
        number = _NUMBERS.get(error.code, _errno.EFAULT)
    kind = RemoteValidationErrors if error.code == INVALID_PARAMS else RemoteError
    return kind(
        str(reason),
        code=error.code,
        number=number,
        name=data.get("errname"),
        extra=data.get("extra"),
        trace=data.get("trace"),
    )


def job_error(item: Mapping[str, Any]) -> Exception | None:
    """Say as what the end of a job is raised; None for a success with a result."""
    match item["state"]:
        case "SUCCESS":
            lost = item.get("result_encoding_error")
            return ResultUnavailable(item) if lost else None
        case "ABORTED":
            return JobAborted(item)
        case _:
            info = item.get("exc_info") or {}
            kind = info.get("type")
            return (JobValidationErrors if kind == "VALIDATION" else JobFailed)(item)
