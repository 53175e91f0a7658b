"""What a client sends, cut into whole text messages and everything else.

Nearly all that comes is text messages in one masked frame. websockets' parser takes
1.9 us for such a frame; cutting it out here takes 0.3 us (docs/design/speed.md).
Whatever is not plainly one goes to that parser unseen, byte for byte: handshakes,
control frames, fragments, frames that have not come whole, and all that is wrong.
"""

from collections.abc import Callable
from typing import TypeAlias

from websockets.frames import Frame
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, State

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - where its wheel has no compiled part
    from websockets.utils import apply_mask

__all__ = ["Received", "Scanner"]

#: A text message, or what websockets made of anything else.
Received: TypeAlias = bytes | Frame | Request | Response

OPEN = State.OPEN
#: First byte of a text frame that is final and has no reserved bit (RFC 6455, 5.2).
TEXT = 0x81
#: Second byte: masked, and the length, or that it stands in the next 2 bytes or in 8.
MASKED, IN_TWO, IN_EIGHT = 0x80, 126, 127
#: Bytes of a header with each form of the length.
SHORT_HEAD, MEDIUM_HEAD, LONG_HEAD = 6, 8, 14


class Scanner:
    """Reads the stream of one client, beside websockets' own parser.

    That parser gets whole frames, or their beginning and later their rest, so that
    both always agree where the next frame begins.

    Args:
        ws: the sans-I/O layer.
        take: called with each message and event, in order.
    """

    __slots__ = ("_due", "_head", "_take", "_ws")

    def __init__(self, ws: Protocol, take: Callable[[Received], object]) -> None:
        self._ws = ws
        self._take = take
        #: Bytes of the frame that the parser is amid.
        self._due = 0
        #: A header of which a part has come.
        self._head = b""

    def feed(self, data: bytes) -> None:
        """Read what came; never waits."""
        if self._head:
            data, self._head = self._head + data, b""
        pos, end, ws = 0, len(data), self._ws
        if self._due:
            pos = min(self._due, end)
            self._due -= pos
            self._parse(data[:pos])
        while pos < end and ws.state is OPEN:
            if data[pos] == TEXT and ws.current_size is None:
                pos = self._cut(data, pos, end)
            if pos < end:
                pos = self._pass_on(data, pos, end)
        if pos < end:
            self._parse(data[pos:])

    def _cut(self, data: bytes, pos: int, end: int) -> int:
        """Take the text messages that follow each other here; say where they end."""
        take, limit = self._take, self._ws.max_message_size
        if limit is None:
            limit = end
        while end - pos >= SHORT_HEAD and data[pos] == TEXT:
            size = data[pos + 1] - MASKED
            if size < IN_TWO:
                start = pos + SHORT_HEAD
            elif size == IN_TWO:
                start, size = pos + MEDIUM_HEAD, data[pos + 2] << 8 | data[pos + 3]
            else:
                start = pos + LONG_HEAD
                size = int.from_bytes(data[pos + 2 : start - 4], "big")
            stop = start + size
            if size < 0 or stop > end or size > limit:
                break
            take(apply_mask(data[start:stop], data[start - 4 : start]))
            pos = stop
        return pos

    def _pass_on(self, data: bytes, pos: int, end: int) -> int:
        """Give the parser a frame, as much as there is of it; say where it ends."""
        size = _frame_size(data, pos, end)
        if size is None:
            self._head = data[pos:]
            return end
        stop = min(pos + size, end)
        self._due = pos + size - stop
        self._parse(data[pos:stop])
        return stop

    def feed_eof(self) -> None:
        """Read the end of the stream."""
        self._parse(self._head)
        self._head = b""
        self._ws.receive_eof()
        self._collect()

    def _parse(self, data: bytes) -> None:
        if data:
            self._ws.receive_data(data)
            self._collect()

    def _collect(self) -> None:
        for event in self._ws.events_received():
            self._take(event)


def _frame_size(data: bytes, pos: int, end: int) -> int | None:
    """Read how long a frame is with its header, None when that has not come yet."""
    if end - pos < 2:  # noqa: PLR2004 - the bytes that every frame has
        return None
    length = data[pos + 1] & 0x7F
    mask = 4 if data[pos + 1] & MASKED else 0
    wide = {IN_TWO: 2, IN_EIGHT: 8}.get(length, 0)
    if end - pos < 2 + wide:
        return None
    if wide:
        length = int.from_bytes(data[pos + 2 : pos + 2 + wide], "big")
    return 2 + wide + mask + length
