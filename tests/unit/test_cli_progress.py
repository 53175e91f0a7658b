"""How a job is shown while somebody waits for it."""

from typing import Any

import pytest

from middlewared.cli.progress import Bar, Lines, Silence, make_display


def item(state: str, percent: float | None, words: str) -> dict[str, Any]:
    """Make an item."""
    return {
        "id": 7,
        "method": "demo.sleep",
        "state": state,
        "description": None,
        "progress": {"percent": percent, "description": words, "extra": None},
        "error": "[EFAULT] boom" if state == "FAILED" else None,
        "time_started": None if state == "WAITING" else {"$date": 1_000},
        "time_finished": {"$date": 3_000} if state in {"SUCCESS", "FAILED"} else None,
    }


COURSE = [
    item("WAITING", 0, ""),
    item("RUNNING", 0, ""),
    item("RUNNING", 10, "one"),
    item("RUNNING", 20, "one"),
    item("RUNNING", None, "two"),
    item("SUCCESS", 100, "two"),
]


def test_states(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal there is a line for each state."""
    with Lines(descriptions=False) as display:
        for one in COURSE:
            display.show(one)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "job 7 demo.sleep WAITING",
        "job 7 demo.sleep RUNNING 0%",
        "job 7 demo.sleep SUCCESS after 2.0s two",
    ]


def test_descriptions(capsys: pytest.CaptureFixture[str]) -> None:
    """With descriptions there is a line whenever the words change, too."""
    with Lines(descriptions=True) as display:
        for one in COURSE:
            display.show(one)
    assert capsys.readouterr().err.splitlines() == [
        "job 7 demo.sleep WAITING",
        "job 7 demo.sleep RUNNING 0%",
        "job 7 demo.sleep RUNNING 10% one",
        "job 7 demo.sleep RUNNING two",
        "job 7 demo.sleep SUCCESS after 2.0s two",
    ]


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet is quiet."""
    with make_display("progressbar", quiet=True) as display:
        for one in COURSE:
            display.show(one)
    assert capsys.readouterr() == ("", "")


def test_choice() -> None:
    """Without a terminal a bar becomes lines."""
    assert type(make_display("progressbar", quiet=False)) is Lines
    assert type(make_display("description", quiet=False)) is Lines
    assert type(make_display("description", quiet=True)) is Silence


@pytest.mark.parametrize("state", ["SUCCESS", "FAILED", "ABORTED"])
def test_bar(capsys: pytest.CaptureFixture[str], state: str) -> None:
    """The bar shows every state, with and without percent, and its last line stays."""
    with Bar() as display:
        for one in [*COURSE[:-1], item(state, 40, "two")]:
            display.show(one)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "demo.sleep" in shown.err
    assert "[EFAULT] boom" in shown.err or state != "FAILED"
