"""Texts that can be stored and sent, whatever an author's object says of itself."""

from typing import Any

__all__ = ["sendable", "sendable_repr"]


def sendable(value: object) -> str:
    """Give the text of a value; never fails.

    Characters that have no form on the wire, as in names of files that are no UTF-8,
    become escapes.
    """
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - the author's own code
        text = f"<{type(value).__name__} that has no text>"
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def sendable_repr(value: object) -> str:
    """Give the text that Python shows of a value; never fails."""
    return sendable(_Shown(value))


class _Shown:
    """Turns a repr into a text, so that one place knows how both may fail."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return repr(self._value)
