"""The error tree and how an error looks on the wire (protocol page, 1.5)."""

import errno
import inspect

import pytest

from middlewared import errors
from middlewared.errors import (
    CUSTOM_ERRNOS,
    CallError,
    InternalError,
    InvalidParams,
    MiddlewareError,
    NotAuthenticated,
    RpcError,
    TooManyCalls,
    ValidationError,
    ValidationErrors,
    describe_error,
    errname,
    validation_extra,
)

CODES = {
    "ParseError": -32700,
    "InvalidRequest": -32600,
    "MethodNotFound": -32601,
    "InvalidParams": -32602,
    "ValidationError": -32602,
    "ValidationErrors": -32602,
    "InternalError": -32603,
    "TooManyCalls": -32000,
    "CallError": -32001,
    "NotAuthenticated": -32001,
}


def classes() -> dict[str, type[BaseException]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException)
    }


def test_everything_has_one_root() -> None:
    """Whatever is raised on purpose can be caught as one."""
    assert all(issubclass(found, MiddlewareError) for found in classes().values())


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_codes(name: str, code: int) -> None:
    """Each class has its number of the protocol."""
    found = getattr(errors, name)
    assert issubclass(found, RpcError)
    assert found.code == code


def test_no_other_codes() -> None:
    """Official clients swallow codes that they do not know: there are none."""
    found = {c.code for c in classes().values() if issubclass(c, RpcError)}
    assert found == set(CODES.values())


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.ENOENT, "ENOENT"),
        (errno.EFAULT, "EFAULT"),
        (201, "ENOMETHOD"),
        (207, "ENOTAUTHENTICATED"),
        (210, "EHAUNAVAILABLE"),
        (9999, "EUNKNOWN"),
        (0, "EUNKNOWN"),
    ],
)
def test_errname(number: int, name: str) -> None:
    """Numbers have the system's names, or ours from 201 on."""
    assert errname(number) == name


def test_custom_numbers_are_no_system_numbers() -> None:
    """Ours never hide one of the system."""
    assert not CUSTOM_ERRNOS.keys() & errno.errorcode.keys()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CallError("Pool is away"), "[EFAULT] Pool is away"),
        (CallError("No pool", errno.ENOENT), "[ENOENT] No pool"),
        (NotAuthenticated(), "[ENOTAUTHENTICATED] Not authenticated"),
        (ValidationError("a.b", "is 5"), "[EINVAL] a.b: is 5"),
        (ValidationError(None, "gone", errno.ENOENT), "[ENOENT] gone"),
        (ValidationError("", "Too many arguments"), "[EINVAL] : Too many arguments"),
        (InvalidParams("a", "is 5"), "[EINVAL] a: is 5\n"),
        (
            ValidationErrors([ValidationError("a", "x"), ValidationError("b", "y")]),
            "[EINVAL] a: x\n[EINVAL] b: y\n",
        ),
        (TooManyCalls("full"), "full"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_texts(error: RpcError, text: str) -> None:
    """The reason names number and attribute; several errors have a line each."""
    assert str(error) == text
    assert describe_error(error, with_trace=False).reason == text


def test_details_of_a_call_error() -> None:
    """Number and details cross as they are."""
    data = describe_error(CallError("x", errno.EBUSY, {"a": 1}), with_trace=False)
    assert (data.error, data.errname, data.extra) == (errno.EBUSY, "EBUSY", {"a": 1})


def test_validation_errors_list_their_attributes() -> None:
    """The number is always EINVAL, the real ones are in the list."""
    error = ValidationErrors(
        [ValidationError("a", "x", errno.ENOENT), ValidationError(None, "y")]
    )
    data = describe_error(error, with_trace=False)
    assert (data.error, data.errname) == (errno.EINVAL, "EINVAL")
    assert data.extra == [("a", "x", errno.ENOENT), (None, "y", errno.EINVAL)]


def test_single_validation_error_is_a_list_of_one() -> None:
    """Clients read one form only."""
    error = ValidationError("a", "x", errno.ENOENT)
    assert validation_extra(error) == [("a", "x", errno.ENOENT)]
    assert describe_error(error, with_trace=False).error == errno.EINVAL


def test_other_errors_have_no_list() -> None:
    """What is no validation error says so."""
    assert validation_extra(CallError("x")) is None


@pytest.mark.parametrize(
    ("error", "number", "reason"),
    [
        (ValueError("bad"), errno.EINVAL, "bad"),
        (ValueError(), errno.EINVAL, "ValueError()"),
        (
            FileNotFoundError(errno.ENOENT, "no", "/x"),
            errno.ENOENT,
            "[Errno 2] no: '/x'",
        ),
        (TimeoutError("late"), errno.EINVAL, "late"),
        (InternalError(), errno.EFAULT, "InternalError()"),
    ],
    ids=repr,
)
def test_exceptions_of_others(error: Exception, number: int, reason: str) -> None:
    """They are EINVAL with their text, those of the system keep their number."""
    data = describe_error(error, with_trace=False)
    assert (data.error, data.reason) == (number, reason)


def raised() -> ValueError:
    def fail() -> None:
        raise ValueError("bad") from KeyError("first")

    with pytest.raises(ValueError, match="bad") as caught:
        fail()
    return caught.value


def test_full_admins_get_the_traceback() -> None:
    """It names file and line, also of what caused it."""
    trace = describe_error(raised(), with_trace=True).trace
    assert trace is not None
    assert (trace.class_, trace.repr) == ("ValueError", "ValueError('bad')")
    assert "test_errors.py" in trace.formatted
    assert "KeyError: 'first'" in trace.formatted


def test_other_callers_get_the_last_line() -> None:
    """Paths and lines of the server are not theirs to see."""
    trace = describe_error(raised(), with_trace=False).trace
    assert trace is not None
    assert (trace.class_, trace.formatted) == ("ValueError", "ValueError: bad")
    assert trace.repr == "ValueError"
