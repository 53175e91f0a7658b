"""Texts and times that administrators type, checked."""

import datetime as dt

from middlewared import Date, ValidationError, ValidationErrors

__all__ = ["as_date", "check_line", "milliseconds"]

MAX_TEXT = 255


def check_line(attribute: str, text: str, *, least: int = 0) -> None:
    """Check a text for people: its length, and that it stays on its line.

    Raises:
        ValidationErrors: names the attribute and the text.
    """
    if not least <= len(text) <= MAX_TEXT or not text.isprintable():
        why = f"{text[:80]!r}: expected {least} to {MAX_TEXT} printable characters"
        raise ValidationErrors([ValidationError(attribute, why)])


def milliseconds(moment: dt.datetime | None) -> int | None:
    """Give a moment as milliseconds since 1970-01-01 UTC; None stays None.

    One that does not say its zone is UTC, as on the wire.
    """
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return int(aware.timestamp() * 1000)


def as_date(ms: int | None) -> Date | None:
    """Give milliseconds as the wire's date; None stays None."""
    return None if ms is None else Date(ms)
