"""Plain counters of what the server does."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared.errors import (
    CallError,
    InternalError,
    InvalidParams,
    NotAuthenticated,
    TooManyCalls,
    ValidationError,
)
from middlewared.figures import CallFigures, Histogram, Traffic, outcome_of

BOUNDS = (1.0, 2.0, 5.0)


def test_bounds_belong_to_their_bucket() -> None:
    """A value that is a bound counts below it; the last bucket has no end."""
    histogram = Histogram(BOUNDS)
    for value in (0, 1, 1.5, 2, 5, 5.1, 100):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1, 2]
    assert histogram.total == pytest.approx(114.6)


@given(st.lists(st.floats(0, 10)))
def test_every_value_is_counted(values: list[float]) -> None:
    """Below each bound there are as many as there should be."""
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    for place, bound in enumerate(BOUNDS):
        below = sum(histogram.counts[: place + 1])
        assert below == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)


@pytest.mark.parametrize(
    ("exc", "outcome"),
    [
        (InvalidParams("a", "no"), "invalid"),
        (ValidationError("a", "no", errno.ENOENT), "invalid"),
        (NotAuthenticated(), "denied"),
        (CallError("no", errno.EACCES), "denied"),
        (CallError("no", errno.EPERM), "denied"),
        (CallError("no", errno.EBUSY), "busy"),
        (TooManyCalls("no"), "busy"),
        (CallError("no"), "error"),
        (InternalError(), "error"),
        (ZeroDivisionError(), "error"),
    ],
)
def test_outcomes(exc: BaseException, outcome: str) -> None:
    """An error is one of four kinds, however many there are."""
    assert outcome_of(exc) == outcome
    figures = CallFigures()
    for _ in range(2):
        figures.fail(exc)
    assert figures.failed == {outcome: 2}
    assert figures.ok == 0


def test_traffic_begins_at_nothing() -> None:
    """Two servers do not share their figures."""
    one, other = Traffic(), Traffic()
    one.aborted["stalled"] = 1
    assert other == Traffic()
