"""Text frames to messages and back; dates of the wire to dates of Python.

Values stay what they are on the wire: a date is ``{"$date": milliseconds}``, a set is
``{"$set": [...]}`` (protocol page, section 2). `to_datetime` and `from_datetime`
convert where a program wants it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from middlewared.client.errors import ErrorObject, NotText

__all__ = [
    "Message",
    "decode_message",
    "encode_request",
    "from_datetime",
    "to_datetime",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Message(msgspec.Struct):
    """A response or a notification of the server; absent members are UNSET."""

    id: str | int | msgspec.UnsetType | None = msgspec.UNSET
    result: Any = msgspec.UNSET
    error: ErrorObject | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: Any = None


_decoder = msgspec.json.Decoder(Message)
_encoder = msgspec.json.Encoder()


def decode_message(text: bytes) -> Message:
    """Decode one text frame.

    Raises:
        msgspec.DecodeError: it is no message of a JSON-RPC server.
    """
    try:
        return _decoder.decode(text)
    except RecursionError:
        # msgspec lets it through for text that is nested too deeply.
        raise msgspec.DecodeError("nested too deeply") from None


def encode_request(
    message_id: str, method: str, params: Sequence[Any] | Mapping[str, Any]
) -> bytes:
    """Encode one request (JSON-RPC 2.0, section 4).

    Raises:
        TypeError: a param is nothing that JSON can say.
        NotText: the method or a text in the params is no UTF-8.
    """
    try:
        return _encoder.encode(
            {"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}
        )
    except UnicodeEncodeError as error:
        # Not the whole text: it may be a password.
        what = "the method" if error.object == method else f"a param of {method}"
        broken = _name(error.object[error.start])
        raise NotText(f"{what} is no UTF-8 text: it holds {broken}") from None


def _name(character: str) -> str:
    try:
        # How Python keeps a byte of an argument that is no text (PEP 383).
        return f"the byte {character.encode(errors='surrogateescape')[0]:#x}"
    except UnicodeEncodeError:
        return f"U+{ord(character):X}"


def to_datetime(value: Mapping[str, Any]) -> datetime:
    """Convert ``{"$date": milliseconds}`` to an aware datetime in UTC.

    Raises:
        ValueError: it is something else.
    """
    match value:
        case {"$date": int() | float() as milliseconds}:
            return _EPOCH + timedelta(milliseconds=milliseconds)
    raise ValueError(f'expected {{"$date": milliseconds}}, got {value!r}')


def from_datetime(moment: datetime) -> dict[str, int]:
    """Convert a datetime to ``{"$date": milliseconds}``; a naive one counts as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return {"$date": (moment - _EPOCH) // timedelta(milliseconds=1)}
