"""The one list of what can go wrong with a request; each dialect has words for it."""

import errno
import logging
from collections.abc import Mapping
from enum import Enum

from starlette.requests import ClientDisconnect

from middlewared import CallError, ValidationError, ValidationErrors
from middlewared.errors import RpcError
from middlewared_jobs import NotAccepted

__all__ = [
    "STATUS",
    "DialectError",
    "MethodNotAllowed",
    "Problem",
    "problem_of",
    "sentence_of",
    "to_be_told",
]

logger = logging.getLogger(__name__)


class Problem(Enum):
    """Why a request was refused."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    #: Something that runs or waits is in the way.
    BUSY = "busy"
    #: The request itself is wrong: its body, its params, its query.
    INVALID = "invalid"
    NOT_RESTARTABLE = "not_restartable"
    #: The last execution succeeded, or another one went on with it.
    NO_RESTART = "no_restart"
    #: What was asked for needs a job that has ended.
    NOT_FINISHED = "not_finished"
    #: The job is not in a state in which that can be done, or its method cannot.
    CONFLICT = "conflict"
    TOO_MANY = "too_many"
    #: Nothing is accepted now: the server stops, is drained, or too much waits.
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


#: The one table of statuses; what a dialect says otherwise stands in its own module.
STATUS: Mapping[Problem, int] = {
    Problem.UNAUTHENTICATED: 401,
    Problem.FORBIDDEN: 403,
    Problem.NOT_FOUND: 404,
    Problem.BUSY: 409,
    Problem.CONFLICT: 409,
    Problem.NOT_FINISHED: 409,
    Problem.NO_RESTART: 409,
    Problem.NOT_RESTARTABLE: 409,
    Problem.INVALID: 400,
    Problem.TOO_MANY: 429,
    Problem.UNAVAILABLE: 503,
    Problem.INTERNAL: 500,
}


class DialectError(Exception):
    """A request that is refused.

    Attributes:
        problem: why.
        text: one sentence.
        retry_after: seconds after which it may be tried again, None when unknown.
    """

    def __init__(
        self, problem: Problem, text: str, *, retry_after: int | None = None
    ) -> None:
        super().__init__(text)
        self.problem = problem
        self.text = text
        self.retry_after = retry_after


class MethodNotAllowed(DialectError):
    """The resource is there, but not for this HTTP method."""

    def __init__(self, method: str) -> None:
        super().__init__(Problem.INVALID, f"{method} is not allowed here")


_BY_ERRNO = {
    207: Problem.UNAUTHENTICATED,
    errno.EACCES: Problem.FORBIDDEN,
    errno.EPERM: Problem.FORBIDDEN,
    errno.ENOENT: Problem.NOT_FOUND,
    errno.EBUSY: Problem.BUSY,
    errno.EEXIST: Problem.BUSY,
    errno.EINVAL: Problem.INVALID,
    errno.ENOKEY: Problem.INVALID,
    errno.EOPNOTSUPP: Problem.NOT_RESTARTABLE,
    errno.EALREADY: Problem.NO_RESTART,
    errno.ESTALE: Problem.NO_RESTART,
    errno.EDQUOT: Problem.NO_RESTART,
}


def problem_of(exc: Exception) -> Problem:
    """Say what kind of problem a refusal of the job manager is."""
    match exc:
        case DialectError():
            return exc.problem
        case NotAccepted():
            return Problem.UNAVAILABLE
        case ValidationErrors():
            return _of_numbers({error.errno for error in exc.errors})
        case ValidationError():
            return _of_numbers({exc.errno})
        case CallError():
            return _BY_ERRNO.get(exc.errno, Problem.INTERNAL)
        case _:
            return Problem.INTERNAL


def to_be_told(exc: Exception) -> Exception:
    """Give why a request was refused; a fault of ours goes into the log besides.

    Raises:
        ClientDisconnect: nobody is there to be told.
    """
    match exc:
        case ClientDisconnect():
            raise exc
        case DialectError() | RpcError():
            return exc
        case _:
            logger.error("a request of a dialect failed", exc_info=exc)
            return exc


def sentence_of(exc: Exception) -> str:
    """Say in a sentence what went wrong; without the number of the error."""
    match exc:
        case DialectError():
            return exc.text
        case ValidationErrors():
            return "; ".join(_one(error) for error in exc.errors)
        case ValidationError():
            return _one(exc)
        case CallError():
            return exc.text
        case _:
            return "The server could not do it"


def _one(error: ValidationError) -> str:
    return f"{error.attribute}: {error.text}" if error.attribute else error.text


def _of_numbers(numbers: set[int]) -> Problem:
    return Problem.NOT_FOUND if numbers == {errno.ENOENT} else Problem.INVALID
