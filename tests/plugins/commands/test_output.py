"""Output: masked, limited, cut into lines, in constant memory."""

import errno
import itertools
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_commands.output import (
    TAIL,
    CappedLog,
    Capture,
    LineCutter,
    Output,
    Stream,
    spellings,
)
from middlewared_commands.progress import Progress, compile_pattern
from middlewared_commands.table import Pattern


class File:
    """A log in memory, which takes a few bytes at a time."""

    def __init__(self, at_a_time: int = 1 << 30) -> None:
        self.data = b""
        self._most = at_a_time

    def write(self, data: bytes) -> int:
        self.data += data[: self._most]
        return min(len(data), self._most)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes at some places."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


cuts = st.lists(st.integers(0, 60), max_size=8)


@given(st.binary(max_size=200), cuts, st.integers(1, 300), st.integers(1, 9))
def test_a_log_has_a_limit(
    data: bytes, places: list[int], limit: int, at_a_time: int
) -> None:
    """The first bytes are there, and of what is beyond, the last."""
    file = File(at_a_time)
    log = CappedLog(file.write, limit)
    for piece in pieces(data, places):
        log.add(piece)
    assert file.data == data[:limit]
    log.close()
    assert file.data == data  # the end is shorter than what is kept of it


def test_what_is_dropped_is_counted() -> None:
    """Between the beginning and the end stands how much is missing."""
    file = File()
    log = CappedLog(file.write, 10)
    for _ in range(100):
        log.add(b"x" * 5000)
    log.add(b"the end\n")
    log.close()
    hidden = 500_000 + 8 - 10 - TAIL
    head, note, tail = file.data.partition(
        b"\n... %d more bytes, over max_log ...\n" % hidden
    )
    assert head == b"x" * 10
    assert note
    assert len(tail) == TAIL
    assert tail.endswith(b"xthe end\n")


def test_a_log_that_cannot_be_written() -> None:
    """It does not end the command, and what failed is known."""

    def full(data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    log = CappedLog(full, 100)
    log.add(b"x")
    log.add(b"y" * 1000)
    log.close()
    assert log.failure is not None
    assert log.failure.errno == errno.ENOSPC


@given(st.binary(max_size=60), cuts, st.integers(0, 70))
def test_capture(data: bytes, places: list[int], limit: int) -> None:
    """What is kept is all, or the first bytes, and how many there were."""
    capture = Capture(limit)
    for piece in pieces(data, places):
        capture.add(piece)
    assert bytes(capture.data) == data[:limit]
    assert capture.size == len(data)
    assert capture.whole == (len(data) <= limit)


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n"])), cuts)
def test_lines(parts: list[bytes], places: list[int]) -> None:
    """No byte is lost, and a line is whole however the stream was cut."""
    data, cutter = b"".join(parts), LineCutter()
    lines = [line for piece in pieces(data, places) for line in cutter.feed(piece)]
    rest = cutter.end()
    assert b"".join([*lines, rest]) == data
    assert not any(line.rstrip(b"\r\n").count(b"\n") for line in lines)
    assert all(line.endswith((b"\r", b"\n")) for line in lines)
    texts = [text for text in data.replace(b"\r", b"\n").split(b"\n") if text]
    assert [t for line in [*lines, rest] if (t := line.strip(b"\r\n"))] == texts


def test_a_line_without_an_end() -> None:
    """It is cut, so that it needs no memory."""
    cutter, count = LineCutter(), 0
    for _ in range(100):
        count += sum(len(line) for line in cutter.feed(b"x" * 10_000))
    assert count > 900_000


def flow(
    data: bytes, places: list[int], *secrets: str, pattern: str | None = None
) -> tuple[bytes, bytes, list[object]]:
    """Send bytes through; give the log, the capture, and the progress."""
    file, capture, found = File(), Capture(10_000), list[object]()
    log = CappedLog(file.write, 10_000)
    progress = None
    if pattern is not None:
        compiled = compile_pattern(Pattern(pattern=pattern, log=False))
        progress = Progress([compiled], lambda *what: found.append(what), found.append)
    output = Output(log, progress)
    stream = Stream(output, {f for s in secrets for f in spellings(s)}, capture)
    for piece in pieces(data, places):
        stream.feed(piece)
    stream.end()
    log.close()
    return file.data, bytes(capture.data), found


@given(st.lists(st.sampled_from(["hunter2", "hun", "ter2", "x", "\n"])), cuts)
def test_secrets_are_masked_everywhere(parts: list[str], places: list[int]) -> None:
    """However the output is cut, log, result, progress and last line show none."""
    data = "".join(parts)
    masked = data.replace("hunter2", "*" * 8).encode()
    assert flow(data.encode(), places, "hunter2")[:2] == (masked, masked)
    log, result, found = flow(
        data.encode(), places, "hunter2", pattern="(?P<description>.+)"
    )
    assert result == masked
    assert log.strip(b"\n") == b""
    assert "hunter2" not in repr(found)


@given(st.lists(st.sampled_from([b"5%", b"x", b"\n", b"\r"])), cuts)
def test_lines_of_progress_are_left_out(parts: list[bytes], places: list[int]) -> None:
    """What is no progress stays in the log, byte for byte."""
    data = b"".join(parts)
    log, result, _ = flow(data, places, pattern="(?P<percent>5)%")
    assert result == data
    assert b"5%" not in log
    assert log.count(b"x") <= data.count(b"x")


SECRETS = [
    'a"b\\c d',
    "it's/secret?",
    "p\u00e4ss w\u00f6rd",
    "line one\nline two\n",
    "-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_spellings(secret: str) -> None:
    """A secret is masked also as programs quote it, and line by line."""
    shown = [
        secret.strip(),
        json.dumps(secret.strip(), ensure_ascii=False),
        quote(secret.strip()),
        quote(secret.strip(), safe=""),
        *[line for line in secret.splitlines() if len(line) >= 8],
    ]
    data = "\n".join(shown).encode()
    masked, _, _ = flow(data, [], secret)
    rest = masked.replace(b"*" * 8, b"")
    for text in shown[:1] + shown[2:]:
        assert text.encode() not in rest
    assert len(rest) < len(data) / 2


def test_the_last_line() -> None:
    """The last line that says something, for people and without control characters."""
    output = Output(CappedLog(File().write, 10), None)
    assert output.last_line == ""
    stream = Stream(output, {"hunter2"})
    stream.feed(b"first\nsecond \x1b[0m hunter2\r\n\n  \r")
    stream.end()
    assert output.last_line == "second \ufffd[0m ********"
    stream.feed(b"\xff" + b"x" * 9000)
    assert len(output.last_line) == 201
