"""One WebSocket connection, on websockets' sans-I/O layer (design, section 4).

The layer is ours because a client that stops reading defeats keepalive, close and
shutdown of both ready-made ones. The reader never awaits work; everything for the
client goes through one bounded queue; the transport is fed only while its own buffer
is small, with one write per tick of the loop.
"""

import asyncio
import contextlib
import fcntl
import logging
import struct
import termios
import time
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any, Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from middlewared.access import Origin
from middlewared.broadcast import Parcel
from middlewared.events import Event, EventBus, Subscriber
from middlewared.figures import Traffic
from middlewared.hosts import NOT_ALLOWED, client_allowed
from middlewared.scanner import Received, Scanner
from middlewared.sendqueue import Importance, SendQueue
from middlewared.session import MAX_ENTRUSTED, ClientSession
from middlewared.settings import Settings

__all__ = ["Connection", "Gate", "Handler"]

logger = logging.getLogger(__name__)

#: Bytes in the transport beyond which frames wait in our queue.
TRANSPORT_HIGH = 64 * 1024
TRANSPORT_LOW = 16 * 1024
#: Seconds that one connection may handle requests before others have their turn.
SLICE_SECONDS = 0.002
#: Bytes handed to the transport in one write.
WRITE_SIZE = 256 * 1024
#: Fragments of one message (as websockets limits them).
MAX_FRAGMENTS = 4096
# Looking a member up in its enum takes 0.1 us.
KEEP, NEWEST, OPEN = Importance.KEEP, Importance.NEWEST, State.OPEN
#: How the frame of a pong begins; also the key of pongs in the queue.
PONG = b"\x8a"


class Handler(Protocol):
    """What a connection hands its messages to."""

    def receive(self, session: ClientSession, raw: bytes) -> None:
        """Handle one message; never waits."""
        ...


class Gate(Protocol):
    """Lets connections in and knows them; the server implements it."""

    settings: Settings
    events: EventBus
    handler: Handler
    loop: asyncio.AbstractEventLoop
    traffic: Traffic

    def admit(self, request: Request, origin: Origin) -> tuple[int, str] | None:
        """Say with which status and text an upgrade is refused, None to let it in."""
        ...

    def open_session(self, connection: "Connection", origin: Origin) -> ClientSession:
        """Make the session of a new connection."""
        ...

    def origin_of(self, transport: asyncio.BaseTransport) -> Origin:
        """Say where a transport comes from."""
        ...

    def origin_behind(self, peer: Origin, request: Request) -> Origin:
        """Say where an upgrade comes from, through a trusted proxy or not."""
        ...

    def forget(self, connection: "Connection") -> None:
        """Drop a connection that is gone."""
        ...


class _Protocol(ServerProtocol):
    """The sans-I/O layer, with the limit and the text of clients before login."""

    anonymous = True
    text = ""

    def fail(self, code: int, reason: str = "") -> None:
        """Fail the connection (RFC 6455, section 7.1.7)."""
        if code == CloseCode.MESSAGE_TOO_BIG and self.text:
            code = CloseCode.INVALID_DATA if self.anonymous else code
            reason = self.text
        super().fail(code, reason)

    def refuse(self, code: int, reason: str) -> None:
        """Fail the connection for a reason of our own."""
        super().fail(code, reason)


def _size_text(limit: int) -> str:
    return f"{limit // 1024} kB" if limit >= 1024 else f"{limit} bytes"  # noqa: PLR2004


class Connection(asyncio.Protocol):
    """The asyncio protocol of an upgraded connection; uvicorn makes it.

    Its `SendQueue` is bounded: a client is disconnected when more than
    ``send_queue_limit`` bytes wait for it, or when it took no byte for ``send_stall``
    seconds. A client that takes some is never disconnected for being slow.
    """

    def __init__(
        self, config: Any, server_state: Any, app_state: dict[str, Any]
    ) -> None:
        self.gate: Gate = app_state["gate"]
        settings = self.gate.settings
        self._loop = self.gate.loop
        self._traffic = self.gate.traffic
        self._ws = _Protocol()
        self._queue = SendQueue(settings.send_queue_limit)
        self._received: deque[Received] = deque()
        self._scanner = Scanner(self._ws, self._received.append)
        self._handling = self._reading_paused = False
        self._fragments: list[bytes] = []
        #: Events of this tick, which leave at its end or before anything else.
        self._news: Sequence[object] = ()
        self._paused = False
        self._flushing = False
        self._deaf = self._mute = False
        self._written = self._taken = self._ping_end = 0
        self._taken_at = self._waiting_since = self._loop.time()
        self._heard_at = self._pinged_at = self._loop.time()
        self._closing_at: float | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self.peer = self.origin = Origin()
        self.session: ClientSession | None = None
        self.identify(anonymous=True)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport of an HTTP connection that asked for the upgrade."""
        # Cast: uvloop's transports are no asyncio.Transport, only alike.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(TRANSPORT_HIGH, TRANSPORT_LOW)
        self.peer = self.origin = self.gate.origin_of(transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came and start what it asks for; never waits."""
        self._heard_at = self._loop.time()
        self._traffic.received += len(data)
        self._scanner.feed(data)
        if not self._handling:
            self._handle_events()

    def eof_received(self) -> None:
        """Close a connection whose client stopped sending."""
        self._scanner.feed_eof()
        self._send_protocol_data()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything about the client; its jobs go on."""
        self._received.clear()
        self._queue.clear()
        self._traffic.conflated += self._queue.conflated
        self._writable.set()
        if self.session is not None:
            self.session.close()
        self.gate.forget(self)

    def pause_writing(self) -> None:
        """Keep frames in our own queue: the client does not keep up."""
        self._paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Feed the transport again, soon.

        From here asyncio's own transports cannot be closed: they are amid a write, and
        would say twice that the connection is lost.
        """
        self._paused = False
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    # What the session and the server call.

    def send(self, frame: bytes) -> None:
        """Queue a frame; it leaves with all that is due in this tick of the loop."""
        if self._news:
            self._put(frame, None, KEEP)
        elif self._flushing and self._queue.size and not self._mute:
            # Behind what leaves in this tick anyway.
            self._queue.add(frame)
            if self._queue.overflown:
                self._overflow()
        else:
            self._enqueue(frame, None, KEEP)

    def send_event(self, event: Event, subscriber: Subscriber) -> None:
        """Queue an event; the first progress gives way when the client is behind."""
        self._traffic.events += 1
        self._put(event.frame_for(subscriber), event.key, event.importance)

    def send_as(self, event: Event, subscriber: Subscriber, key: Hashable) -> None:
        """Queue an event with a key of its own, for it to give way by."""
        self._traffic.events += 1
        self._put(event.frame_for(subscriber), key, event.importance)

    def send_parcel(self, parcel: Parcel) -> None:
        """Write the events of a tick; one by one when the client is behind."""
        self._traffic.events += parcel.events
        transport, size = self._transport, parcel.size
        # Mute is whoever has no transport or ends.
        if self._mute or self._paused or size > WRITE_SIZE:
            for event, frame in parcel.items:
                self._enqueue(frame, event.key, event.importance)
            return
        if self._queue.size:
            # It leaves in this tick, with what stands before it.
            self._enqueue(parcel.joined, None, KEEP)
            return
        assert transport is not None  # noqa: S101 - see above
        if not transport.get_write_buffer_size():
            self._waiting_since = parcel.made_at
        self._written += size
        self._traffic.sent += size
        transport.write(parcel.joined)

    async def wait_writable(self) -> None:
        """Wait until the client has taken most of what it was sent."""
        await self._writable.wait()

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client, ours and the transport's."""
        buffered = self._transport.get_write_buffer_size() if self._transport else 0
        return self._queue.size + buffered

    @property
    def conflated(self) -> int:
        """Frames that gave way to newer ones so far."""
        return self._queue.conflated

    def identify(self, *, anonymous: bool) -> None:
        """Set the message size for a client that is known, or not."""
        settings = self.gate.settings
        self._ws.anonymous = anonymous
        if anonymous:
            limit = settings.max_anonymous_message
            what = "Anonymous connection max message length is"
        else:
            limit = settings.max_message
            what = "Max message length is"
        self._ws.max_message_size = limit
        self._ws.text = f"{what} {_size_text(limit)}"

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake; `watch` ends what does not answer."""
        self._deaf = True
        if self._ws.state is OPEN:
            self._ws.send_close(code, reason)
            self._send_protocol_data()
        elif self._ws.state is State.CONNECTING and self._transport is not None:
            self._transport.close()
        self._begin_closing()

    def abort(self, why: str, reason: str) -> None:
        """Disconnect at once, without a handshake.

        Args:
            why: for the log.
            reason: one of few words, for the figures.
        """
        if self._transport is not None and not self._transport.is_closing():
            aborted = self._traffic.aborted
            aborted[reason] = aborted.get(reason, 0) + 1
            logger.warning(
                "disconnected %s: %s", self.origin.address or "unix socket", why
            )
        self._deaf = self._mute = True
        self._queue.clear()
        if self._transport is not None:
            self._transport.abort()

    def watch(self, now: float) -> None:
        """Look after this connection; the server calls it about once a second.

        Args:
            now: the loop's time, seconds.
        """
        settings = self.gate.settings
        self._note_progress(now)
        moved_at = max(self._taken_at, self._waiting_since)
        if self.backlog and now - moved_at > settings.send_stall:
            self.abort(f"it took no byte for {settings.send_stall:g} s", "stalled")
        elif self._closing_at is not None:
            if now - max(self._closing_at, self._taken_at) > settings.close_timeout:
                self.abort("it did not answer the closing handshake", "closing")
        elif self._ws.state is OPEN:
            self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        settings = self.gate.settings
        if self._reading_paused:
            self._heard_at = now  # whom we do not read cannot be heard
        if self._heard_at >= self._pinged_at:
            if now - self._heard_at > settings.ping_interval:
                self._pinged_at = now
                self._ws.send_ping(b"")
                self._send_protocol_data()
                self._ping_end = self._written + self._queue.size
            return
        if self._taken < self._ping_end:
            # The ping stands behind what a slow client still takes.
            self._pinged_at = max(self._pinged_at, self._taken_at)
        if now - self._pinged_at > settings.ping_timeout:
            self.abort("no sign of life", "silent")

    def _note_progress(self, now: float) -> None:
        """Note whether the client took bytes since the last look.

        Counted down to the acknowledgement of its kernel, since a large socket
        buffer would hide a slow reader for many seconds.
        """
        if self._transport is None or self._taken == self._written:
            return  # nothing is on its way: an idle client costs no system call
        waiting = self._transport.get_write_buffer_size() + _unsent(self._transport)
        taken = self._written - waiting
        if taken != self._taken:
            self._taken = taken
            self._taken_at = now

    # Receiving.

    def _handle_events(self) -> None:
        """Handle what was received, for a moment; the rest in the next tick.

        A client that sends thousands of requests at once does not keep the loop from
        others; nothing more is read from it meanwhile, nor while its session is full.
        """
        self._handling, received = False, self._received
        until = time.perf_counter() + SLICE_SECONDS
        while received:
            session = self.session
            if session is not None and session.entrusted >= MAX_ENTRUSTED:
                self._handling = True
                session.on_room(self._handle_soon)
                break
            event = received.popleft()
            if isinstance(event, bytes):
                self._receive_message(event)
            elif isinstance(event, Frame):
                self._receive_frame(event)
            elif isinstance(event, Request):
                self._handshake(event)
            if received and time.perf_counter() > until:
                self._handling = True
                self._handle_soon()
                break
        if self._handling != self._reading_paused:
            self._pause_reading(pause=self._handling)
        if self._ws.writes and not self._handling:
            # After the answers to what came before a close or a broken frame.
            self._send_protocol_data()

    def _handle_soon(self) -> None:
        self._loop.call_soon(self._handle_events)

    def _pause_reading(self, *, pause: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._reading_paused = pause
        if pause:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _handshake(self, request: Request) -> None:
        self.origin = self.gate.origin_behind(self.origin, request)
        refusal = self.gate.admit(request, self.origin)
        if refusal is None:
            response = self._ws.accept(request)
        else:
            response = self._ws.reject(*refusal)
        self._ws.send_response(response)
        if self._ws.state is OPEN:
            self.session = self.gate.open_session(self, self.origin)
            self._news = self.gate.events.broadcast.pending
            if not client_allowed(self.origin, self.gate.settings):
                # As a close, not as a refusal: only so clients know not to come back.
                self._fail(CloseCode.POLICY_VIOLATION, NOT_ALLOWED)

    def _receive_frame(self, frame: Frame) -> None:
        if self._deaf:
            return
        match frame.opcode:
            case Opcode.TEXT | Opcode.CONT:
                self._receive_text(frame)
            case Opcode.BINARY:
                self._fail(CloseCode.UNSUPPORTED_DATA, "Text frames only")

    def _receive_text(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if not frame.fin or self._fragments:
            self._fragments.append(data)
            if len(self._fragments) > MAX_FRAGMENTS:
                self._fail(CloseCode.MESSAGE_TOO_BIG, "Too many fragments")
                return
            if not frame.fin:
                return
            data = b"".join(self._fragments)
            self._fragments.clear()
        self._receive_message(data)

    def _receive_message(self, data: bytes) -> None:
        # Not by the state: what came before the client's close frame counts, though
        # both were in one piece.
        if self._deaf or self.session is None:
            return
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError as exc:
                self._fail(
                    CloseCode.INVALID_DATA, f"{exc.reason} at position {exc.start}"
                )
                return
        try:
            self.gate.handler.receive(self.session, data)
        except Exception:
            logger.exception("a message could not be handled")
            self._fail(CloseCode.INTERNAL_ERROR, "The message could not be handled")

    def _fail(self, code: int, reason: str) -> None:
        self._deaf = True
        self._ws.refuse(code, reason)
        self._send_protocol_data()

    # Sending.

    def _send_protocol_data(self) -> None:
        """Queue what the sans-I/O layer wants sent: handshake, pong, close."""
        for data in self._ws.data_to_send():
            if not data:
                self._begin_closing()
            elif data.startswith(PONG):
                self._put(data, PONG, NEWEST, control=True)
            else:
                self._put(data, None, KEEP, control=True)
        # Our close frame, if there is one, is queued: nothing may follow it.
        self._mute = self._ws.state is not OPEN

    def _put(
        self,
        frame: bytes,
        key: Hashable | None,
        importance: Importance,
        *,
        control: bool = False,
    ) -> None:
        """Queue a frame after the events of this tick."""
        session = self.session
        if self._news and session is not None:
            if key is None and not control and session.insert(frame):
                return
            session.catch_up()
        self._enqueue(frame, key, importance, control=control)

    def _enqueue(
        self,
        frame: bytes,
        key: Hashable | None,
        importance: Importance,
        *,
        control: bool = False,
    ) -> None:
        transport, queue = self._transport, self._queue
        if transport is None or transport.is_closing():
            return
        if self._mute and not control:
            return
        if not queue.size and not transport.get_write_buffer_size():
            self._waiting_since = self._loop.time()
        if key is None:
            queue.add(frame)
        else:
            # Of pongs that have not left, the newest is enough (RFC 6455, 5.5.3). One
            # tick of the loop may bring megabytes of pings.
            behind = self._paused or key is PONG
            queue.put(frame, key=key, importance=importance, behind=behind)
        if queue.overflown:
            self._overflow()
        elif not self._flushing and not self._paused:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _overflow(self) -> None:
        limit = self.gate.settings.send_queue_limit
        self.abort(f"more than {limit} bytes wait", "queue_full")

    def _flush(self) -> None:
        self._flushing = False
        transport, queue = self._transport, self._queue
        if transport is None or transport.is_closing():
            return
        while queue.size and not self._paused:
            data = queue.take(WRITE_SIZE)
            size = len(data)
            self._written += size
            self._traffic.sent += size
            transport.write(data)
        if not self._paused:
            self._writable.set()
            if self._closing_at is not None and self._ws.eof_sent:
                self._end(transport)

    def _end(self, transport: asyncio.Transport) -> None:
        """Close the transport, or our half of it when the client may still send.

        Closing with unread data resets the connection, and the reset would overtake
        the close frame that says why. `watch` ends what does not close its half.
        """
        peer_sends = self.session is not None and self._ws.close_rcvd is None
        if peer_sends and transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def _begin_closing(self) -> None:
        if self._closing_at is None:
            self._closing_at = self._loop.time()
        if self._ws.eof_sent and not self._flushing and not self._paused:
            self._flush()


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes that the peer's kernel has not acknowledged (ioctl TIOCOUTQ)."""
    socket = transport.get_extra_info("socket")
    if socket is None:
        return 0  # uvloop's TLS: gone, and `connection_lost` comes in the next tick
    with contextlib.suppress(OSError, ValueError):
        answer = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", answer)[0])
    return 0
