"""What exit codes mean."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_commands.exits import Exits, Verdict, compile_exits, in_words
from middlewared_commands.table import ExitTable

CODES = st.integers(0, 255)


@given(st.sets(CODES), st.sets(CODES), st.integers(-64, 255))
def test_judged(success: set[int], warnings: set[int], status: int) -> None:
    """Each code has the meaning of the settings; others, and signals, are failures."""
    warnings -= success
    exits = compile_exits(
        ExitTable(success=tuple(success), warnings=tuple(warnings), messages={})
    )
    found = exits.judge(status)
    assert (found is Verdict.SUCCESS) == (status in success)
    assert (found is Verdict.WARNING) == (status in warnings)
    assert (found is Verdict.FAILURE) == (status not in success | warnings)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "x ended with exit code 0"),
        (3, "x ended with exit code 3: some files were not read"),
        (-signal.SIGKILL, "x was killed by SIGKILL"),
        (-64, "x was killed by SIGRTMAX"),
        (-99, "x was killed by signal 99"),
    ],
)
def test_in_words(status: int, text: str) -> None:
    """A code is told with its message, a signal by its name."""
    exits = compile_exits(ExitTable(messages={"3": "some files were not read"}))
    assert exits.text("x", status) == text


def test_default() -> None:
    """Without settings 0 is success and everything else is not."""
    assert compile_exits(ExitTable()) == Exits(frozenset({0}), frozenset(), {})
    assert in_words(255) == "ended with exit code 255"
