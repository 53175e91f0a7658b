"""Exceptions without the secrets that they quote."""

from middlewared import CallError, ValidationError
from middlewared_jobs.remote import describe, rebuild
from middlewared_jobs.scrubbing import scrub


def test_exception_without_a_secret_stays_itself() -> None:
    """Nothing is rebuilt that shows nothing."""
    error = CallError("no", 5, {"a": ["b"]})
    assert scrub(error, ["hush"]) is error
    assert scrub(error, []) is error


def test_class_number_and_details_stay() -> None:
    """Clients see the same kind of error, with asterisks."""
    error = scrub(CallError("hush is wrong", 5, {"a": ["hush", 1]}), ["hush"])
    assert isinstance(error, CallError)
    assert type(error).__name__ == "CallError"
    assert str(error) == "[EIO] ******** is wrong"
    assert error.extra == {"a": ["********", 1]}
    wrong = scrub(ValidationError("a.b", "hush"), ["hush"])
    assert isinstance(wrong, ValidationError)
    assert (wrong.attribute, wrong.text) == ("a.b", "********")


def test_every_spelling_is_masked() -> None:
    """As the text is, as ``repr`` writes it, and as JSON does."""
    secret = 'qu"ote\n'
    spellings = (secret, repr(secret), '{"password":"qu\\"ote\\n"}')
    for spelling in spellings:
        error = scrub(RuntimeError(spelling), [secret])
        assert "ote" not in str(error)
    error = scrub(RuntimeError(secret), [secret])
    assert "ote" not in repr(error)


def test_exceptions_of_children_are_masked() -> None:
    """What crossed from another process is masked with its traceback from there."""
    error = rebuild(describe(RuntimeError("hush"), 1000))
    scrubbed = scrub(error, ["hush"])
    assert str(scrubbed) == "********"
    assert "hush" not in scrubbed.foreign_traceback  # type: ignore[attr-defined]  # of a rebuilt one
