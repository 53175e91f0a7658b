"""Patterns are bounded in size and time, and say what is wrong with them."""

import errno
import threading
from typing import Any

import pytest

from middlewared.errors import CallError, describe_error
from middlewared.filters import (
    Budget,
    QueryError,
    QueryOptions,
    matches,
    parse_filters,
    run_query,
)
from middlewared.filters.pattern import MAX_PATTERN_SIZE, pattern_size

# Backtracks for ages on a run of a's that ends otherwise.
SLOW = "(a|aa)+$"
TRAP = "a" * 200 + "b"


def test_runaway_pattern_times_out() -> None:
    """A pattern that backtracks without end is -32001 ETIMEDOUT."""
    filters = parse_filters([["x", "~", SLOW]])
    with pytest.raises(CallError) as caught:
        matches(filters, {"x": TRAP})
    data = describe_error(caught.value, with_trace=False)
    assert caught.value.code == -32001
    assert (data.error, data.errname) == (errno.ETIMEDOUT, "ETIMEDOUT")


def test_budget_is_for_the_whole_query() -> None:
    """What one item uses up is gone for the next ones."""
    budget = Budget(0.05)
    filters = parse_filters([["x", "~", SLOW]])
    with pytest.raises(CallError):
        matches(filters, {"x": TRAP}, budget)
    assert budget.seconds <= 0
    with pytest.raises(CallError) as caught:
        matches(filters, {"x": "a"}, budget)
    assert caught.value.errno == errno.ETIMEDOUT


def test_small_rest_of_a_budget() -> None:
    """What is left of a budget bounds a match, however little it is."""
    filters = parse_filters([["x", "~", SLOW]])
    with pytest.raises(CallError) as caught:
        matches(filters, {"x": TRAP}, Budget(0.0002))
    assert caught.value.errno == errno.ETIMEDOUT


def test_spent_budget_fails_a_query() -> None:
    """`run_query` takes the budget it is given."""
    filters = parse_filters([["x", "~", "a"]])
    assert run_query([{"x": "a"}], filters, QueryOptions(count=True), Budget()) == 1
    with pytest.raises(CallError):
        run_query([{"x": "a"}], filters, QueryOptions(count=True), Budget(0))


def test_quick_matches_are_free() -> None:
    """The number of items alone does not use the budget up."""
    budget = Budget(0.05)
    filters = parse_filters([["x", "~", "demo"]])
    for _ in range(20_000):
        assert matches(filters, {"x": "demo.noop"}, budget)
    assert budget.seconds > 0


def test_slow_match_can_still_succeed() -> None:
    """A match that outlives the interpreter lock's patience ends with its answer."""
    filters = parse_filters([["x", "~", "(?:a|aa)+c|a+b$"]])
    budget = Budget(30)
    assert matches(filters, {"x": "a" * 26 + "b"}, budget)
    assert 0 < budget.seconds < 29.998


def test_runaway_pattern_lets_other_threads_run() -> None:
    """While a pattern backtracks, other threads of the process go on."""
    turns = 0
    started, ended = threading.Event(), threading.Event()

    def count() -> None:
        nonlocal turns
        started.set()
        while not ended.is_set():
            turns += 1

    thread = threading.Thread(target=count)
    thread.start()
    started.wait()
    before = turns
    try:
        with pytest.raises(CallError):
            matches(parse_filters([["x", "~", SLOW]]), {"x": TRAP})
        assert turns - before > 1000
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("pattern", ["(", "*a", "a**", "(?P<n>", "\\", "[a"])
def test_malformed(pattern: str) -> None:
    """A malformed pattern is EINVAL with the words of the package, rows or not."""
    with pytest.raises(QueryError) as caught:
        parse_filters([["x", "~", pattern]])
    data = describe_error(caught.value, with_trace=False)
    assert data.errname == "EINVAL"
    assert "at position" in data.reason


@pytest.mark.parametrize("pattern", [5, None, ["a"]])
def test_no_string(pattern: Any) -> None:
    """A pattern that is no string is a TypeError, rows or not."""
    with pytest.raises(TypeError, match="must be string or compiled pattern"):
        parse_filters([["x", "~", pattern]])


@pytest.mark.parametrize(
    "pattern",
    [
        "(((((a{1000}){1000}){1000}){1000}){1000})",
        "((a{100}){100}){100}",
        "a{100000000}",
        "a{99999999999999999999999999}",
        "a{" + "9" * 5000 + "}",
        "(?:(?:a?){500}){500}x",
        "(?:ab){5000}",
        "(?:a{500}){1}{500}",
        "(?:a{500}){1}+{500}",
        "(?:a{500})(?#x){500}",
        "[a-z]{9999}",
        "a" * (MAX_PATTERN_SIZE + 1),
    ],
)
def test_too_large(pattern: str) -> None:
    """Repetitions that would fill the memory are refused before they are compiled."""
    with pytest.raises(QueryError, match="larger than 10000 characters"):
        parse_filters([["x", "~", pattern]])


def test_many_patterns_count_together() -> None:
    """The limit holds for all patterns of a query together."""
    parse_filters([["x", "~", "a{900}"]] * 10)
    with pytest.raises(QueryError, match="larger than 10000 characters"):
        parse_filters([["x", "~", "a{900}"]] * 12)


@pytest.mark.parametrize("pattern", ["(?x) a { 1 0 0 0 }", "(?ix:a)", "(?s-x)a"])
def test_verbose(pattern: str) -> None:
    """Verbose patterns would hide their repetitions, they are refused."""
    with pytest.raises(QueryError, match="verbose"):
        parse_filters([["x", "~", pattern]])


def test_nested_too_deeply() -> None:
    """A pattern as deep as the stack is refused, not fatal."""
    with pytest.raises(QueryError, match="nested too deeply"):
        parse_filters([["x", "~", "(" * 2000 + ")" * 2000]])


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        r"(\d{1,3}\.){3}\d{1,3}",
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}",
        r"(?i)pool\.(scrub|create|delete)",
        "|".join(f"method{number}" for number in range(500)),
        "(?P<extra>x)",
    ],
)
def test_ordinary_patterns(pattern: str) -> None:
    """Patterns that people write are far below the limits."""
    assert pattern_size(pattern) <= MAX_PATTERN_SIZE
    parse_filters([["x", "~", pattern]])
