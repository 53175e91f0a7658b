"""What the server and a child say to each other: messages, and their frames."""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from middlewared import Credentials
from middlewared.settings import Settings
from middlewared_jobs.notebook import Latest
from middlewared_jobs.notes import StepRecord, TextMessage
from middlewared_jobs.record import (
    CoreGetJobsItemCredentials,
    CoreGetJobsItemProgress,
    EncodingFailure,
)
from middlewared_jobs.remote import Remote
from middlewared_jobs.settings import JobSettings

__all__ = [
    "Begun",
    "FrameError",
    "Frames",
    "FromChild",
    "Order",
    "Pause",
    "Quit",
    "Raised",
    "Returned",
    "Setup",
    "ToChild",
    "Update",
    "encode",
]

_HEAD = struct.Struct(">I")
NULL = msgspec.Raw(b"null")
#: Bytes of a frame besides the result in it, which has a limit of its own.
ROOM = 8 * 2**20


class FrameError(Exception):
    """The other end does not keep to the frames."""


class Setup(msgspec.Struct, tag="setup"):
    """First message to a child: what is the same for all its jobs.

    Attributes:
        settings: of the kernel, with the tables of all plugins.
        limits: of jobs.
        tables: plugin of each settings struct, by the struct's full name.
        modules: those that earlier jobs needed.
    """

    settings: Settings
    limits: JobSettings
    tables: dict[str, str]
    modules: tuple[str, ...] = ()


class Order(msgspec.Struct, tag="order", kw_only=True):
    """Run the body of a job.

    Attributes:
        method: full name of the method.
        module: import path of the module that has the plugin.
        attribute: name of the plugin in it.
        values: params in clear, in signature order.
        shown: who started the job, as history shows it.
        credentials: the rights that it runs with.
        logs_path: its log, None when it has none.
        messages: the last one that it has.
        item_errors: how many items failed already.
        paused: it is asked to pause before its first step.
        pipes: its pipes, whose descriptors come through the passage, in this order.
    """

    id: int
    attempt: int
    method: str
    module: str
    attribute: str
    values: msgspec.Raw
    progress: CoreGetJobsItemProgress
    description: str | None
    shown: CoreGetJobsItemCredentials | None
    credentials: Credentials | None
    logs_path: str | None
    is_restart: bool = False
    steps: list[StepRecord] = []
    counts: dict[str, int] = {}
    attributes: dict[str, Any] = {}
    messages: list[TextMessage] = []
    item_errors: int = 0
    checkpoint: msgspec.Raw = NULL
    paused: bool = False
    pipes: tuple[str, ...] = ()


class Pause(msgspec.Struct, tag="pause"):
    """Let the body wait before its next step, or go on."""

    id: int
    paused: bool


class Quit(msgspec.Struct, tag="abort"):
    """End the body of the job that runs: a reminder beside SIGTERM, which comes too."""

    id: int


class Begun(msgspec.Struct, tag="begun"):
    """The body is about to be called."""

    id: int


class Update(msgspec.Struct, tag="update"):
    """What the body set last.

    Attributes:
        latest: with an extra that can be sent.
    """

    id: int
    latest: Latest


class Returned(msgspec.Struct, tag="returned"):
    """The body returned.

    Attributes:
        shown: the encoded result, secrets redacted.
        clear: the encoded result with its secrets, if it may have some.
        secret: it may have some.
        failure: why there is no result.
        fit: the child may run another job.
    """

    id: int
    shown: msgspec.Raw = NULL
    clear: msgspec.Raw = NULL
    secret: bool = False
    failure: EncodingFailure | None = None
    fit: bool = False


class Raised(msgspec.Struct, tag="raised"):
    """The body raised, or could not be called.

    Attributes:
        error: the exception.
        aborted: it is what an abort raises.
        fit: the child may run another job.
    """

    id: int
    error: Remote
    aborted: bool
    fit: bool = False


ToChild = Setup | Order | Pause | Quit
FromChild = Begun | Update | Returned | Raised

_encode = msgspec.json.Encoder().encode


def encode(message: msgspec.Struct) -> bytes:
    """Write a message as a frame: its length in four bytes, and JSON."""
    text = _encode(message)
    return _HEAD.pack(len(text)) + text


class Frames:
    """Cuts what comes through a pipe into messages.

    Args:
        kinds: the union of messages that may come.
        limit: bytes that a result may have.
    """

    def __init__(self, kinds: Any, limit: int) -> None:
        self._decoder = msgspec.json.Decoder(kinds)
        self._limit = 2 * limit + ROOM
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take bytes and give the messages that they complete.

        Raises:
            FrameError: the bytes are no frame, or it is too large.
        """
        self._buffer += data
        start, end = 0, len(self._buffer)
        try:
            while end - start >= _HEAD.size:
                (length,) = _HEAD.unpack_from(self._buffer, start)
                if length > self._limit:
                    raise FrameError(f"a frame of {length} bytes")
                after = start + _HEAD.size + length
                if after > end:
                    return
                text = bytes(memoryview(self._buffer)[start + _HEAD.size : after])
                start = after
                try:
                    message = self._decoder.decode(text)
                except (msgspec.DecodeError, RecursionError) as exc:
                    raise FrameError(f"a frame that cannot be read: {exc}") from None
                yield message
        finally:
            del self._buffer[:start]
