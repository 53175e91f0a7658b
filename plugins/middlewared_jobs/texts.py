"""Texts that can be stored and sent, whatever an author's object says of itself."""

from typing import Any

import msgspec

from middlewared import ejson

__all__ = ["check_opaque", "sendable", "sendable_repr"]

_skim = msgspec.json.Decoder(msgspec.Raw).decode


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


def check_opaque(encoded: bytes) -> None:
    """Look at JSON that an author may have written: it goes on as it is, to everybody.

    Raises:
        EncodingError: it is no JSON, or no text.
    """
    try:
        _skim(encoded)
        encoded.decode()
    except ValueError as exc:
        raise ejson.EncodingError(str(exc)) from None


class _Shown:
    """Turns a repr into a text, so that one place knows how both may fail."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return repr(self._value)
