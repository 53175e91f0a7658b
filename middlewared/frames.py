"""WebSocket text frames as the server sends them (RFC 6455, section 5.2)."""

import struct

__all__ = ["text_frame"]

_TEXT = 0x81  # final fragment, opcode 1
_SHORT, _MEDIUM = 126, 1 << 16
_medium_head = struct.Struct("!BBH").pack
_SHORT_HEADS = tuple(bytes((_TEXT, length)) for length in range(_SHORT))


def text_frame(payload: bytes) -> bytes:
    """Frame one message, unmasked and in one piece, ready for any number of sockets."""
    length = len(payload)
    if length < _SHORT:
        return _SHORT_HEADS[length] + payload
    if length < _MEDIUM:
        return _medium_head(_TEXT, 126, length) + payload
    return struct.pack("!BBQ", _TEXT, 127, length) + payload
