"""Errors of the wire and ends of jobs as exceptions."""

from typing import Any

import pytest

from middlewared.client.errors import (
    ErrorObject,
    JobAborted,
    JobFailed,
    JobValidationErrors,
    RemoteError,
    RemoteValidationErrors,
    ResultUnavailable,
    job_error,
    remote_error,
)
from middlewared.errors import CallError, MiddlewareError, ValidationErrors

ROWS: list[list[Any]] = [
    ["options.limit", "Expected `int`", 22],
    [None, "Not found", 2],
]


def final(**changes: Any) -> dict[str, Any]:
    """Make a final item."""
    item: dict[str, Any] = {
        "id": 7,
        "method": "demo.fail",
        "state": "FAILED",
        "result": None,
        "result_encoding_error": None,
        "error": "[EACCES] boom",
        "exception": "Traceback ...",
        "exc_info": {"type": "CallError", "errno": 13, "extra": {"a": 1}, "repr": "x"},
    }
    return item | changes


def test_call_error() -> None:
    """The five keys of the data become attributes."""
    error = remote_error(
        ErrorObject(
            -32001,
            "Method call error",
            {
                "error": 207,
                "errname": "ENOTAUTHENTICATED",
                "reason": "[ENOTAUTHENTICATED] Not authenticated",
                "trace": {"class": "NotAuthenticated"},
                "extra": None,
            },
        )
    )
    assert type(error) is RemoteError
    assert isinstance(error, CallError)
    assert (error.code, error.errno, error.errname) == (
        -32001,
        207,
        "ENOTAUTHENTICATED",
    )
    assert str(error) == "[ENOTAUTHENTICATED] Not authenticated"
    assert error.text == "Not authenticated"
    assert error.trace == {"class": "NotAuthenticated"}


def test_validation_errors() -> None:
    """Refused params are also ValidationErrors, with a row for each."""
    data = {"error": 22, "errname": "EINVAL", "reason": "[EINVAL] x\n", "extra": ROWS}
    error = remote_error(ErrorObject(-32602, "Invalid params", data))
    assert isinstance(error, RemoteValidationErrors)
    assert isinstance(error, ValidationErrors)
    assert [(e.attribute, e.text, e.errno) for e in error.errors] == [
        tuple(row) for row in ROWS
    ]
    assert str(error) == "[EINVAL] x"


@pytest.mark.parametrize(
    ("code", "number"), [(-32601, 201), (-32600, 22), (-32000, 16), (-32603, 14)]
)
def test_without_data(code: int, number: int) -> None:
    """Answers without data get their number from the code and their text from it."""
    error = remote_error(ErrorObject(code, "Method does not exist"))
    assert (error.code, error.errno) == (code, number)
    assert str(error) == "Method does not exist"


@pytest.mark.parametrize("data", [None, [], "x", {"error": "x"}, {"extra": 5}])
def test_strange_data(data: object) -> None:
    """Data of an unknown shape never hides the error."""
    assert str(remote_error(ErrorObject(-32602, "Invalid params", data)))


def test_job_failed() -> None:
    """A failed job shows its error, number, traceback and details."""
    error = job_error(final())
    assert type(error) is JobFailed
    assert (error.job_id, error.errno, error.errname) == (7, 13, "EACCES")
    assert (str(error), error.text) == ("[EACCES] boom", "boom")
    assert error.exception == "Traceback ..."
    assert error.extra == {"a": 1}


def test_job_failed_without_words() -> None:
    """A failure with an empty text is a failure all the same."""
    error = job_error(final(error="", exc_info={"type": "KeyError", "errno": None}))
    assert str(error) == "job 7 failed: KeyError"


def test_job_validation() -> None:
    """A body that refuses its params raises both JobFailed and ValidationErrors."""
    info = {"type": "VALIDATION", "errno": None, "extra": ROWS}
    error = job_error(final(exc_info=info))
    assert isinstance(error, JobValidationErrors)
    assert isinstance(error, JobFailed)
    assert isinstance(error, ValidationErrors)
    assert error.code == -32602
    assert len(error.errors) == 2


def test_job_aborted() -> None:
    """An aborted job is an error, ECANCELED."""
    error = job_error(final(state="ABORTED", error=None, exc_info=None))
    assert isinstance(error, JobAborted)
    assert (error.job_id, error.errname) == (7, "ECANCELED")


def test_job_success() -> None:
    """A success is no error."""
    assert job_error(final(state="SUCCESS", error=None)) is None


def test_result_unavailable() -> None:
    """A result that was not encoded is not mistaken for null."""
    why = {"type": "object", "repr": "<object>"}
    error = job_error(final(state="SUCCESS", result_encoding_error=why))
    assert isinstance(error, ResultUnavailable)
    assert "job 7 succeeded" in str(error)
    assert "object" in str(error)


def test_one_root() -> None:
    """Everything a client raises is a MiddlewareError."""
    assert issubclass(ResultUnavailable, MiddlewareError)
    assert issubclass(JobAborted, MiddlewareError)
