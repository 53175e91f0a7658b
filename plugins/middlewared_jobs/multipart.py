"""Cuts a multipart body into parts while it comes (RFC 7578), in constant memory."""

from collections.abc import Callable

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

__all__ = [
    "Multipart",
    "MultipartError",
    "PartBegan",
    "PartData",
    "PartEnded",
    "Piece",
]


class MultipartError(Exception):
    """The body is not multipart, or breaks its rules."""


class PartBegan(msgspec.Struct, frozen=True):
    """A part begins.

    Attributes:
        name: of the field.
        filename: what the client calls the file; empty when it says nothing.
    """

    name: str
    filename: str


class PartData(msgspec.Struct, frozen=True):
    """The next bytes of the part."""

    data: bytes


class PartEnded(msgspec.Struct, frozen=True):
    """The part is complete."""


Piece = PartBegan | PartData | PartEnded


class Multipart:
    """Takes a body chunk by chunk.

    Args:
        content_type: header of the request.

    Raises:
        MultipartError: it names no boundary.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise MultipartError(
                f"Content-Type is {content_type!r}, expected multipart/form-data with "
                "a boundary"
            )
        self._pieces: list[Piece] = []
        self._name = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._ended = False
        try:
            self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]  # a dict of its keys
        except FormParserError as exc:
            raise MultipartError(str(exc)) from None

    def _callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def feed(self, chunk: bytes) -> list[Piece]:
        """Give what a chunk holds.

        Raises:
            MultipartError: it breaks the rules.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise MultipartError(f"The body is not multipart: {exc}") from None
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """Let a body pass that has its last boundary.

        Raises:
            MultipartError: it ends before.
        """
        if not self._ended:
            raise MultipartError("The body ends before its last boundary")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        name, filename = options.get(b"name", b""), options.get(b"filename", b"")
        self._pieces.append(
            PartBegan(name.decode(errors="replace"), filename.decode(errors="replace"))
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(PartData(data[start:end]))

    def _on_part_end(self) -> None:
        self._pieces.append(PartEnded())

    def _on_end(self) -> None:
        self._ended = True
