"""Exceptions that cross a pipe look as they did on the other side."""

import errno
from typing import NoReturn

import msgspec
import pytest
from jobs_in_children import RAISED

from middlewared import CallError, ValidationError, ValidationErrors, ejson
from middlewared.errors import describe_error, traceback_text
from middlewared_jobs.remote import MAX_TEXT, Remote, describe, rebuild
from middlewared_jobs.texts import sendable, sendable_repr

LIMIT = 10_000


def raised(exc: BaseException) -> BaseException:
    """Give an exception the traceback of a raise."""
    try:
        _raise(exc)
    except BaseException as caught:  # noqa: BLE001 - whatever it is
        return caught
    raise AssertionError


def _raise(exc: BaseException) -> NoReturn:
    raise exc


def cross(exc: BaseException) -> Exception:
    """Send an exception through JSON and build it again."""
    encoded = msgspec.json.encode(describe(exc, LIMIT))
    return rebuild(msgspec.json.decode(encoded, type=Remote))


@pytest.mark.parametrize("kind", RAISED)
def test_what_is_shown_is_the_same(kind: str) -> None:
    """Class, text, repr and traceback are those of the original."""
    exc = raised(RAISED[kind])
    found = cross(exc)
    assert type(found).__name__ == type(exc).__name__
    assert str(found) == sendable(exc)
    assert repr(found) == sendable_repr(exc)
    assert sendable(traceback_text(exc)).endswith(traceback_text(found))


@pytest.mark.parametrize(
    "kind", ["call", "call_extra", "own", "validation", "validations", "os", "plain"]
)
def test_callers_see_the_same_error(kind: str) -> None:
    """What the answer to a call says of it is the same, number and details included."""
    exc = raised(RAISED[kind])
    one = describe_error(exc, with_trace=True)
    other = describe_error(cross(exc), with_trace=True)
    assert msgspec.json.encode(other.trace) == msgspec.json.encode(one.trace)
    assert (other.error, other.reason) == (one.error, one.reason)
    assert ejson.encode(other.extra) == ejson.encode(one.extra)


def test_classes_stay_what_handlers_catch() -> None:
    """Classes that are known everywhere are still instances of themselves."""
    assert isinstance(cross(RAISED["own"]), CallError)
    assert isinstance(cross(RAISED["validation"]), ValidationError)
    found = cross(RAISED["validations"])
    assert isinstance(found, ValidationErrors)
    assert [e.attribute for e in found.errors] == ["a", "b.c"]
    missing = cross(RAISED["os"])
    assert isinstance(missing, OSError)
    assert missing.errno == errno.ENOENT


def test_long_texts_are_cut() -> None:
    """However much an exception says, what crosses has a limit."""
    size = 3 * MAX_TEXT
    remote = describe(raised(CallError("x" * size, 5, ["y" * size])), LIMIT)
    assert len(msgspec.json.encode(remote)) < 4 * MAX_TEXT
    assert len(remote.trace) == LIMIT + 1
    assert "left out" in rebuild(remote).extra  # type: ignore[attr-defined]  # a CallError
