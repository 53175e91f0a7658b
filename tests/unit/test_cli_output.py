"""What commands print."""

import time
from typing import Any

import pytest

from middlewared.cli import output
from middlewared.client import CannotConnect, RemoteError
from middlewared.client.errors import job_error
from middlewared.errors import CallError, NotAuthenticated, ValidationErrors
from middlewared.errors import ValidationError as Invalid


def item(**changes: Any) -> dict[str, Any]:
    """Make an item of a job."""
    made: dict[str, Any] = {
        "id": 7,
        "method": "demo.sleep",
        "state": "RUNNING",
        "description": None,
        "progress": {"percent": 40, "description": "2 of 5", "extra": None},
        "error": None,
        "exc_info": None,
        "time_started": {"$date": 1_000},
        "time_finished": None,
    }
    return made | changes


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (None, ""),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (12.9, "12s"),
        (125, "2m05s"),
        (7_620, "2h07m"),
        (360_000, "100h00m"),
    ],
)
def test_seconds(span: float | None, text: str) -> None:
    """Spans are short and of the right unit."""
    assert output.seconds(span) == text


def test_elapsed() -> None:
    """A job that ended ran from start to end; one that runs, until now."""
    assert output.elapsed(item(time_started=None)) is None
    assert output.elapsed(item(time_finished={"$date": 3_500})) == 2.5
    now = {"$date": time.time() * 1000 - 5_000}
    assert 5 <= (output.elapsed(item(time_started=now)) or 0) < 50


def test_elapsed_with_another_clock() -> None:
    """A server whose clock is ahead makes no negative times."""
    ahead = {"$date": time.time() * 1000 + 60_000}
    assert output.elapsed(item(time_started=ahead)) == 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "job 7 demo.sleep RUNNING 40% 2 of 5"),
        (
            {"progress": {"percent": None, "description": None, "extra": None}},
            "job 7 demo.sleep RUNNING",
        ),
        (
            {"state": "SUCCESS", "time_finished": {"$date": 3_500}},
            "job 7 demo.sleep SUCCESS after 2.5s 2 of 5",
        ),
        (
            {
                "state": "FAILED",
                "time_finished": {"$date": 1_000},
                "error": "[EINVAL] a\n[EINVAL] b\n",
            },
            "job 7 demo.sleep FAILED after 0.0s [EINVAL] a",
        ),
        (
            {
                "state": "ABORTED",
                "time_started": None,
                "time_finished": {"$date": 1_000},
            },
            "job 7 demo.sleep ABORTED 2 of 5",
        ),
    ],
)
def test_describe(changes: dict[str, Any], text: str) -> None:
    """A line names the job, its state, and what there is to say in it."""
    assert output.describe(item(**changes)) == text


def test_words_stay_on_one_line() -> None:
    """Whatever a job says fits a line."""
    progress = {"percent": 1, "description": "one\n  two", "extra": None}
    assert output.what(item(progress=progress)) == "one two"
    description = item(progress=progress | {"description": ""}, description="Sleep")
    assert output.what(description) == "Sleep"


@pytest.mark.parametrize(
    ("value", "as_json", "text"),
    [
        ("text", False, "text\n"),
        ("text", True, '"text"\n'),
        (None, False, "null\n"),
        ({"a": 1}, False, '{\n  "a": 1\n}\n'),
        ({"a": "ü"}, True, '{"a":"ü"}\n'),
    ],
)
def test_value(
    capsys: pytest.CaptureFixture[str], value: Any, as_json: bool, text: str
) -> None:
    """Strings are printed bare for people and as JSON for programs."""
    output.print_value(value, as_json=as_json)
    assert capsys.readouterr().out == text


def test_table_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal columns are aligned, uncut, uncoloured and without header."""
    long = "x" * 300
    output.print_table(
        ["ID", "STATE", ""], [["7", "FAILED", long], ["10", "RUNNING", ""]]
    )
    assert capsys.readouterr().out == f" 7  FAILED   {long}\n10  RUNNING\n"


def test_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to list prints nothing."""
    output.print_table(["ID"], [])
    assert capsys.readouterr().out == ""


def test_error_of_the_connection() -> None:
    """An error is one sentence."""
    error = CannotConnect("cannot connect to /x: nobody")
    assert output.error_lines(error) == ["middlewared: cannot connect to /x: nobody"]


def test_error_of_params() -> None:
    """Refused params are listed, one to a line, local or from the server."""
    errors = ValidationErrors(
        [Invalid("path", "Expected `str`"), Invalid(None, "No such job", 2)]
    )
    assert output.error_lines(errors) == [
        "middlewared: the server does not accept these params",
        "  path: Expected `str`",
        "  params: No such job",
    ]


def test_error_with_details() -> None:
    """Details are shown, indented."""
    error = CallError("boom", 13, {"pool": "tank"})
    assert output.error_lines(error) == [
        "middlewared: [EACCES] boom",
        "  {",
        '    "pool": "tank"',
        "  }",
    ]


def test_error_without_login() -> None:
    """Who is not logged in is told how to."""
    assert "--api-key" in output.error_lines(NotAuthenticated())[-1]


def test_error_of_a_job() -> None:
    """A failed job says where to read more; its number is in the object."""
    failed = item(
        state="FAILED", error="[EFAULT] boom", exc_info=None, exception="Traceback"
    )
    error = job_error(failed)
    assert error is not None
    assert output.error_lines(error) == [
        "middlewared: job 7 failed: [EFAULT] boom",
        "  middlewared job show 7  shows its traceback and log",
    ]
    described = output.error_object(error)
    assert described["job"] == 7
    assert described["state"] == "FAILED"
    assert described["exception"] == "Traceback"


def test_error_object() -> None:
    """For programs an error has kind, message, code, number, name and details."""
    error = RemoteError(
        "[ENOENT] gone", code=-32001, number=2, name="ENOENT", extra={"a": 1}
    )
    assert output.error_object(error) == {
        "kind": "RemoteError",
        "message": "[ENOENT] gone",
        "code": -32001,
        "errno": 2,
        "errname": "ENOENT",
        "extra": {"a": 1},
    }
