"""The log of one job: lines with time and level, raw bytes, an excerpt, reading."""

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from middlewared_jobs.linecount import measure
from middlewared_jobs.masking import Masker, MaskingPipe

__all__ = [
    "SILENT",
    "SMALL_LOG",
    "JobLog",
    "LogFile",
    "cut_log",
    "excerpt",
    "log_size",
    "make_silent",
    "read_chunk",
]

logger = logging.getLogger(__name__)

EDGE_LINES = 10
MAX_LINE = 1024
MAX_EXCERPT = 16 * 1024
_BLOCK = 1 << 16
#: What is searched for line ends at a time.
_PIECE = 1 << 20
#: Bytes of a log that is still in memory and looked at in the loop.
SMALL_LOG = 16 * 1024


class _Formatter(logging.Formatter):
    """``2026-11-22T01:02:03.456Z INFO text``; values of secrets become asterisks."""

    def __init__(self, masker: Masker) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        self.converter = time.gmtime
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        return self._masker.mask(super().format(record))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines to a log; when that fails, the server's log says so, once."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(stream)
        self._name = name
        self._told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of logging
        """Say that lines are lost; what the body does then is its own affair."""
        exc = sys.exception()
        if not isinstance(exc, OSError):
            super().handleError(record)  # the author's arguments do not fit the text
        elif not self._told:
            self._told = True
            logger.warning("the log of job %s cannot be written: %s", self._name, exc)


def _end_of(limit: int) -> bytes:
    """Give the line that a log ends with that has reached its limit."""
    text = f"... the log has reached max_log, {limit} bytes: the rest is dropped ..."
    return f"\n{text}\n".encode()


def cut_log(path: Path, limit: int) -> bool:
    """Cut a log back to its limit, and tell so in a last line.

    Whoever has it open goes on behind that line, and is cut again.

    Args:
        path: the log; none is fine.
        limit: bytes that it may have, before the line.

    Returns:
        Whether it was too long.

    Raises:
        OSError: it cannot be cut.
    """
    end = _end_of(limit)
    if log_size(path) <= limit + len(end):
        return False
    with contextlib.suppress(FileNotFoundError), path.open("r+b", 0) as file:
        file.truncate(limit)
        file.seek(limit)
        file.write(end)
    return True


class LogFile(io.FileIO):
    """A log that takes what is written to it, and keeps the first bytes of it.

    The limit is for what comes through `write`; what is written to the descriptor is
    kept, until `cut_log`.

    Args:
        descriptor: owned from now on; opened to append.
        limit: bytes that the file may have, and one line more that says so.
    """

    def __init__(self, descriptor: int, limit: int) -> None:
        super().__init__(descriptor, "w")
        self._limit = limit
        self._full = False

    def write(self, data: Any, /) -> int:
        """Write, or drop it when the log is full."""
        size = memoryview(data).nbytes
        if self._full:
            return size
        if os.fstat(self.fileno()).st_size + size <= self._limit:
            return super().write(data)
        self._full = True
        # Another writer, in the server or in the child, may have said so already.
        if os.fstat(self.fileno()).st_size <= self._limit:
            super().write(_end_of(self._limit))
        return size


class JobLog:
    """The log file of a running job.

    Args:
        path: the file; its folder is made if need be.
        secrets: texts that the log does not show.
        limit: bytes that it may have.

    Attributes:
        logger: for lines; safe from any thread.
        file: for raw bytes, stored as written; unbuffered. With secrets it is a pipe
            that masks them.
    """

    def __init__(
        self, path: Path, secrets: Sequence[str] = (), limit: int = sys.maxsize
    ) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        masker = Masker(secrets)
        self._stored = LogFile(descriptor, limit)
        self._pipe = None
        if masker:
            masked = LogFile(os.dup(descriptor), limit)
            self._pipe = MaskingPipe(masked, Masker(secrets))
        self.file: BinaryIO = self._pipe.file if self._pipe else self._stored
        self.logger = logging.Logger(f"job {path.stem}", logging.DEBUG)  # noqa: LOG001 - it ends with the job
        text = io.TextIOWrapper(
            self._stored, encoding="utf-8", errors="replace", write_through=True
        )
        self._handler = _Handler(text, path.stem)
        self._handler.setFormatter(_Formatter(masker))
        self.logger.addHandler(self._handler)
        self._text = text

    @property
    def is_small(self) -> bool:
        """Whether it is closed and read again in less time than a thread costs."""
        return (
            self._pipe is None and os.fstat(self._stored.fileno()).st_size <= SMALL_LOG
        )

    def close(self) -> None:
        """Close the file; later lines are dropped.

        With secrets it may wait, see `MaskingPipe.close`.
        """
        if self._pipe is not None:
            self._pipe.close()
        self.logger.removeHandler(self._handler)
        self.logger.addHandler(logging.NullHandler())
        self._handler.close()
        self._text.close()


def make_silent() -> logging.Logger:
    """Make a logger that drops everything."""
    logger = logging.Logger("job without a log")  # noqa: LOG001 - known to nobody else
    logger.addHandler(logging.NullHandler())
    return logger


#: The logger of jobs without a log: it drops everything.
SILENT = make_silent()


def log_size(path: Path) -> int:
    """Count the bytes of a log; 0 when it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read_chunk(path: Path, offset: int, limit: int, *, growing: bool = False) -> bytes:
    """Read at most *limit* bytes from *offset*, never half a character at the end.

    Args:
        path: the log.
        offset: first byte.
        limit: bytes; at least 4 for characters to fit.
        growing: more may come, so half a character alone is left for later, too.

    Raises:
        FileNotFoundError: the log was removed.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(limit)
    whole = data[: len(data) - _half_character(data)]
    if whole or (growing and len(data) < limit):
        return whole
    return data


def _half_character(data: bytes) -> int:
    """Count the bytes at the end that begin a character without ending it (UTF-8)."""
    for cut in range(1, min(3, len(data)) + 1):
        byte = data[-cut]
        if byte < 0x80:  # noqa: PLR2004 - ASCII: a whole character
            return 0
        if byte >= 0xC0:  # noqa: PLR2004 - first byte of a longer character
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4  # noqa: PLR2004
            return cut if cut < length else 0
    return 0


def excerpt(path: Path) -> str:
    """Give the first and last lines of a log, for the record.

    At most 10 and 10 lines with ``... N more lines ...`` between, each line at most
    1 KiB, 16 KiB in all.
    """
    try:
        count, size = measure(path)
        with path.open("rb") as file:
            first = list(islice(_lines(file), EDGE_LINES))
            wanted = min(EDGE_LINES, count - len(first))
            file.seek(_start_of_last(file, size, wanted))
            last = list(islice(_lines(file), wanted))
    except FileNotFoundError:
        return "Log file was removed"
    except OSError as exc:
        return f"Log file cannot be read: {exc.strerror or exc}"
    hidden = count - len(first) - len(last)
    middle = [f"... {hidden} more lines ...\n"] if hidden else []
    return _fit([*first, *middle, *last])


def _start_of_last(file: BinaryIO, size: int, lines: int) -> int:
    """Find where the last lines of a file begin, from its end; its end for none."""
    if not lines:
        return size
    # The last byte belongs to the last line, whether it ends it or not.
    upto = size - 1
    while upto > 0:
        start = max(0, upto - _PIECE)
        file.seek(start)
        piece = file.read(upto - start)
        place = len(piece)
        while (place := piece.rfind(b"\n", 0, place)) >= 0:
            lines -= 1
            if not lines:
                return start + place + 1
        upto = start
    return 0


def _lines(file: BinaryIO) -> Iterable[str]:
    """Cut a file into lines of at most 1 KiB, in constant memory."""
    rest = False
    while raw := file.readline(_BLOCK):
        whole = raw.endswith(b"\n")
        if not rest:
            text = raw[:MAX_LINE].decode(errors="ignore").rstrip("\n")
            yield f"{text}\n" if whole or len(raw) == _BLOCK else text
        rest = not whole and len(raw) == _BLOCK


def _fit(lines: list[str]) -> str:
    text = "".join(lines)
    if len(text.encode()) <= MAX_EXCERPT:
        return text
    share = MAX_EXCERPT // len(lines) - len("…\n".encode())
    return "".join(_cut(line, share) for line in lines)


def _cut(line: str, size: int) -> str:
    encoded = line.encode()
    if len(encoded) <= size:
        return line
    return f"{encoded[:size].decode(errors='ignore')}…\n"
