"""What goes wrong has one name, whatever raised it."""

import errno

import pytest

from middlewared import CallError, ValidationError, ValidationErrors
from middlewared.errors import NotAuthenticated
from middlewared_dialects.problems import DialectError, Problem, problem_of
from middlewared_jobs import NotAccepted


@pytest.mark.parametrize(
    ("exc", "problem"),
    [
        (DialectError(Problem.TOO_MANY, "x"), Problem.TOO_MANY),
        (NotAuthenticated(), Problem.UNAUTHENTICATED),
        (CallError("x", errno.EACCES), Problem.FORBIDDEN),
        (CallError("x", errno.EPERM), Problem.FORBIDDEN),
        (CallError("x", errno.EBUSY), Problem.BUSY),
        (NotAccepted("x"), Problem.UNAVAILABLE),
        (CallError("x", errno.EOPNOTSUPP), Problem.NOT_RESTARTABLE),
        (CallError("x", errno.EALREADY), Problem.NO_RESTART),
        (CallError("x", errno.EIO), Problem.INTERNAL),
        (ValidationError("a", "x"), Problem.INVALID),
        (ValidationError(None, "x", errno.ENOENT), Problem.NOT_FOUND),
        (ValidationErrors([ValidationError("a", "x")]), Problem.INVALID),
        (KeyError("x"), Problem.INTERNAL),
    ],
)
def test_problems(exc: Exception, problem: Problem) -> None:
    """By the class, or by the error number."""
    assert problem_of(exc) is problem
