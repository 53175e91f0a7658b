"""The output of a command: masked, logged up to a limit, looked at line by line."""

import re
from collections.abc import Callable, Iterable
from urllib.parse import quote

import msgspec

from middlewared_commands.progress import Progress, printable
from middlewared_jobs import Masker

__all__ = ["CappedLog", "Capture", "LineCutter", "Output", "Stream", "spellings"]

#: Bytes of output beyond the limit of the log that are kept: the last ones.
TAIL = 64 * 1024
#: Bytes of a line; a longer one counts as several.
MAX_LINE = 64 * 1024
#: Bytes and characters of the last line, for the error.
LAST = 4096
MAX_LAST_LINE = 200
#: Characters that a line of a secret needs to be masked alone.
LINE_OF_SECRET = 8

_ENDS = re.compile(rb"[\r\n]+")


def spellings(secret: str) -> set[str]:
    """Give the forms in which programs print a secret: whole, by lines, quoted."""
    found = {secret, secret.strip()}
    found |= {line for line in secret.splitlines() if len(line) >= LINE_OF_SECRET}
    for text in tuple(found):
        found.add(msgspec.json.encode(text).decode()[1:-1])
        found.add(quote(text))
        found.add(quote(text, safe=""))
        found.add(text.replace("'", "'\\''"))
    return {text for text in found if text}


class CappedLog:
    """Hands output to a log up to a limit, and at the end its last bytes.

    A log that cannot be written does not end the command.

    Args:
        write: stores bytes and says how many; the log.
        limit: bytes.

    Attributes:
        failure: why the log could not be written, None while it can.
    """

    def __init__(self, write: Callable[[bytes], int | None], limit: int) -> None:
        self.failure: OSError | None = None
        self._write = write
        self._left = limit
        self._tail = b""
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Take output."""
        stored, beyond = data[: self._left], data[self._left :]
        self._left -= len(stored)
        self._store(stored)
        if beyond:
            self._dropped += len(beyond)
            self._tail = (self._tail + beyond[-TAIL:])[-TAIL:]

    def close(self) -> None:
        """Write what is kept of the end."""
        if self._dropped:
            hidden = self._dropped - len(self._tail)
            note = b"\n... %d more bytes, over max_log ...\n" % hidden
            self._store((note if hidden else b"") + self._tail)

    def _store(self, data: bytes) -> None:
        try:
            while data and self.failure is None:
                data = data[self._write(data) or 0 :]
        except OSError as exc:
            self.failure = exc


class Capture:
    """Keeps output up to a limit.

    Attributes:
        data: what was kept.
        size: bytes that there were.
    """

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.size = 0
        self._limit = limit

    def add(self, data: bytes) -> None:
        """Take output."""
        self.size += len(data)
        self.data += data[: self._limit - len(self.data)]

    @property
    def whole(self) -> bool:
        """Whether nothing had to be left out."""
        return self.size == len(self.data)


class LineCutter:
    """Cuts bytes that come in pieces into lines; carriage returns end lines, too."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece; give the lines that it completes, with what ends them."""
        found = self._rest + data
        lines, place = [], 0
        for end in _ENDS.finditer(found):
            lines.append(found[place : end.end()])
            place = end.end()
        self._rest = found[place:]
        if len(self._rest) > MAX_LINE:
            lines.append(self.end())
        return lines

    def end(self) -> bytes:
        """Give what is left: a line without an end."""
        rest, self._rest = self._rest, b""
        return rest


class Stream:
    """One stream of output; both may be one.

    Args:
        output: what it is a part of.
        secrets: texts that are masked.
        capture: keeps it for the result.
    """

    def __init__(
        self, output: "Output", secrets: Iterable[str], capture: Capture | None = None
    ) -> None:
        self._output = output
        self._masker = Masker(secrets)
        self._capture = capture
        self._lines = LineCutter()

    def feed(self, data: bytes) -> None:
        """Take a piece."""
        self._take(self._masker.feed(data) if self._masker else data)

    def end(self) -> None:
        """Take what was kept back; the stream has ended."""
        self._take(self._masker.end())
        if self._output.progress is not None:
            self._output.store(self._kept([self._lines.end()]))

    def _take(self, data: bytes) -> None:
        if self._capture is not None:
            self._capture.add(data)
        if self._output.progress is not None:
            data = self._kept(self._lines.feed(data))
        self._output.store(data)

    def _kept(self, lines: Iterable[bytes]) -> bytes:
        progress = self._output.progress
        if progress is None:
            return b"".join(lines)
        return b"".join(line for line in lines if progress.look(line))


class Output:
    """All output of a command.

    Args:
        log: takes it.
        progress: looks at its lines; None when nobody does.
    """

    def __init__(self, log: CappedLog, progress: Progress | None) -> None:
        self.progress = progress
        self._log = log
        self._last = b""

    def store(self, data: bytes) -> None:
        """Put masked output into the log."""
        if data:
            self._log.add(data)
            self._last = (self._last + data[-LAST:])[-LAST:]

    @property
    def last_line(self) -> str:
        """The last line that is not empty, cut."""
        lines = _ENDS.split(self._last)
        texts = (printable(line.decode(errors="replace")) for line in reversed(lines))
        found = next(filter(None, texts), "")
        return found if len(found) <= MAX_LAST_LINE else f"{found[:MAX_LAST_LINE]}…"
