"""How the record of a job is printed."""

from typing import Any

import click

from middlewared.cli.show import record_lines

RECORD: dict[str, Any] = {
    "id": 7,
    "uid": "0c7f",
    "method": "demo.fail",
    "arguments": ["boom", None],
    "state": "FAILED",
    "description": None,
    "progress": {"percent": 40, "description": "half", "extra": {"a": 1}},
    "result": None,
    "result_encoding_error": None,
    "error": "[EINVAL] a\n[EINVAL] b\n",
    "exception": "Traceback\n  boom\n",
    "logs_excerpt": "one\ntwo\n",
    "time_created": {"$date": 0},
    "time_started": {"$date": 1_000},
    "time_finished": {"$date": 3_000},
    "abortable": True,
    "attempt": 2,
    "owner": "admin",
    "schedule": 3,
}


def show(**changes: Any) -> list[str]:
    """Print a record without colours."""
    return [click.unstyle(line) for line in record_lines(RECORD | changes)]


def test_failed() -> None:
    """A failed job shows params, progress, times, error, log and traceback."""
    lines = show()
    assert lines[0] == "job 7  demo.fail  FAILED"
    facts = dict(line.split(maxsplit=1) for line in lines[1:13])
    assert facts["params"] == '["boom",null]'
    assert facts["progress"] == "40%  half"
    assert facts["extra"] == '{"a":1}'
    assert facts["owner"] == "admin"
    assert facts["schedule"] == "3"
    assert facts["ended"].endswith("(took 2.0s)")
    assert facts["attempt"] == "2"
    assert facts["error"] == "[EINVAL] a; [EINVAL] b"
    assert lines[-6:] == [
        "  log",
        "    one",
        "    two",
        "  exception",
        "    Traceback",
        "      boom",
    ]


def test_exit_and_messages() -> None:
    """What a job says besides its state is shown, of many messages the newest."""
    messages: list[dict[str, Any]] = [
        {"severity": "info", "code": None, "text": f"step {n}"} for n in range(30)
    ]
    messages.append({"severity": "warning", "code": 3, "text": "part\x1b"})
    found = {"kind": "COMPLETED_WITH_ERRORS", "code": "WITH_ERRORS", "message": "part"}
    lines = show(state="SUCCESS", error=None, exit=found, messages=messages)
    facts = dict(line.split(maxsplit=1) for line in lines[1:13])
    assert facts["exit"] == "WITH_ERRORS: part"
    place = lines.index("  messages")
    assert lines[place + 1] == "    info  step 11"
    assert lines[place + 20].startswith("    warning  3  part")
    assert "\x1b" not in lines[place + 20]
    plain = show(exit={"kind": "FAILED", "code": "ERROR", "message": "boom"})
    assert not any(line.startswith("  exit") for line in plain)


def test_what_became_of_it() -> None:
    """Who aborted it and why, its parent, its steps, counts and attempts."""
    step = {
        "name": "scan",
        "scope": "tank",
        "state": "SUCCESS",
        "percent": 100,
        "done": 3,
        "total": 4,
        "doing": "block 3",
        "ran_in": 6,
    }
    bare = dict.fromkeys(step) | {"name": "repair", "state": "WAITING", "done": 0}
    when = {"$date": 0}
    lines = show(
        parent=5,
        restart_of=6,
        lock="pool:tank",
        phase="retrying",
        run_at=when,
        abort={"by": "ann", "at": when, "overdue": True, "reason": "job 5 failed"},
        counts={"moved": 2},
        item_errors=1,
        steps=[step, bare],
        attempts=[{"number": 1, "time_finished": when, "error": "a\nb\n"}],
    )
    facts = dict(line.split(maxsplit=1) for line in lines[1:18])
    assert facts["parent"] == "5"
    assert facts["restarts"] == "job 6, where it ended"
    assert facts["lock"] == "pool:tank"
    assert facts["phase"].startswith("retrying, not before 19")
    assert facts["aborted"].startswith("asked by ann at 19")
    assert facts["aborted"].endswith(", overdue: job 5 failed")
    assert facts["counts"] == "moved 2, item errors 1"
    place = lines.index("  steps")
    assert lines[place + 1] == "    SUCCESS  scan (tank)  100%  3/4  block 3  in job 6"
    assert lines[place + 2] == "    WAITING  repair"
    assert lines[place + 4].startswith("    1  19")
    assert lines[place + 4].endswith("  a; b")


def test_success() -> None:
    """A success shows its result, also when it is null."""
    success = {"state": "SUCCESS", "error": None, "exception": None}
    lines = show(**success, logs_excerpt=None, result={"files": 2})
    assert lines[-4:] == ["  result", "    {", '      "files": 2', "    }"]
    assert show(**success, logs_excerpt=None)[-2:] == ["  result", "    null"]


def test_result_that_cannot_be_sent() -> None:
    """A result that was not encoded is not shown as null."""
    lines = show(state="SUCCESS", result_encoding_error={"type": "object"})
    assert any("cannot be sent" in line for line in lines)


def test_waiting() -> None:
    """What is not known yet is not shown."""
    lines = show(
        state="WAITING",
        error=None,
        exception=None,
        logs_excerpt=None,
        arguments=[],
        time_started=None,
        time_finished=None,
        attempt=1,
        owner=None,
        schedule=None,
        credentials=None,
        progress={"percent": 0, "description": "", "extra": None},
    )
    labels = [line.split()[0] for line in lines[1:]]
    assert labels == ["progress", "created", "abortable", "uid"]
