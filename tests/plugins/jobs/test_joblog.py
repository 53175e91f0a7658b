"""The log of a job: lines, bytes, masks, pieces and the excerpt."""

import errno
import re
import subprocess
import threading
from pathlib import Path
from unittest import mock
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_jobs import joblog
from middlewared_jobs.joblog import (
    SILENT,
    SMALL_LOG,
    JobLog,
    cut_log,
    excerpt,
    log_size,
    read_chunk,
)
from middlewared_jobs.linecount import measure

KIB = 1024


def written(path: Path, data: bytes | str) -> Path:
    """Write a file and give its path."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def numbered(count: int) -> list[str]:
    """Make some lines."""
    return [f"line {n}\n" for n in range(count)]


# The excerpt.


@pytest.mark.parametrize("count", [0, 1, 10, 11, 20])
def test_short_log_is_its_own_excerpt(tmp_path: Path, count: int) -> None:
    """Up to 20 lines are kept whole."""
    lines = numbered(count)
    assert excerpt(written(tmp_path / "log", "".join(lines))) == "".join(lines)


@pytest.mark.parametrize("count", [21, 22, 100, 5000])
def test_long_log_keeps_its_ends(tmp_path: Path, count: int) -> None:
    """Of more lines the first 10 and the last 10 stay, with the number of others."""
    lines = numbered(count)
    wanted = [*lines[:10], f"... {count - 20} more lines ...\n", *lines[-10:]]
    assert excerpt(written(tmp_path / "log", "".join(lines))) == "".join(wanted)


@pytest.mark.parametrize("count", [1, 20, 21, 40])
def test_last_line_may_lack_its_end(tmp_path: Path, count: int) -> None:
    """A last line without a newline is a line like the others."""
    text = "".join(numbered(count))[:-1]
    found = excerpt(written(tmp_path / "log", text))
    assert found.endswith(f"line {count - 1}")
    assert found.count("\n") == min(count, 21) - 1


def test_long_line_is_cut(tmp_path: Path) -> None:
    """A line keeps its first 1 KiB, and still counts as one."""
    text = f"first\n{'x' * 300_000}\nlast\n"
    first, long, last, rest = excerpt(written(tmp_path / "log", text)).split("\n")
    assert (first, last, rest) == ("first", "last", "")
    assert set(long) == {"x"}
    assert len(long) <= KIB
    assert len(long) >= KIB - 8


@pytest.mark.parametrize("length", [65535, 65536, 65537, 131072, 200_000])
def test_lines_around_a_block_count_once(tmp_path: Path, length: int) -> None:
    """The length of a line never changes how many there are."""
    text = f"{'x' * length}\n" + "".join(numbered(30))
    found = excerpt(written(tmp_path / "log", text))
    assert "... 11 more lines ...\n" in found
    assert found.endswith("line 29\n")


@given(st.lists(st.integers(0, 3000), max_size=60))
def test_excerpt_is_never_large(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    """At most 1 KiB a line, 16 KiB in all, whatever was written."""
    text = "".join("\u20ac" * (n // 3) + "\n" for n in lengths)
    path = written(tmp_path_factory.getbasetemp() / "log", text)
    found = excerpt(path)
    assert len(found.encode()) <= 16 * KIB
    assert all(len(line.encode()) <= KIB for line in found.split("\n"))
    count = len(lengths)
    assert found.count("\n") == (count if count <= 20 else 21)
    assert (f"... {count - 20} more lines ..." in found) is (count > 20)


@given(
    lengths=st.lists(st.sampled_from([0, 1, 5, 1023, 66_000]), max_size=15),
    ended=st.booleans(),
    piece=st.sampled_from([7, 1 << 10, 1 << 20]),
)
def test_excerpt_is_made_from_both_ends(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    ended: bool,
    piece: int,
) -> None:
    """Lines of any length, ended or not, searched in pieces of any size."""
    text = "".join(f"{'x' * length}\n" for length in lengths)
    text = text if ended else text[:-1]
    lines = [line[:KIB] for line in text.split("\n")]
    if text.endswith("\n") or not text:
        lines.pop()
    path = written(tmp_path_factory.mktemp("log") / "log", text)
    with mock.patch.object(joblog, "_PIECE", piece), path.open("rb") as file:
        count, size = measure(path)
        assert (count, size) == (len(lines), len(text))
        for wanted in range(min(count, 12) + 1):
            file.seek(joblog._start_of_last(file, size, wanted))
            found = list(joblog._lines(file))
            assert len(found) == wanted
            ends = [line.rstrip("\n") for line in found]
            assert ends == lines[count - wanted :]


def test_full_excerpt_keeps_both_ends(tmp_path: Path) -> None:
    """Where 16 KiB do not hold all, every line gets shorter, none goes."""
    lines = [f"{n:04} {'x' * 2000}\n" for n in range(100)]
    found = excerpt(written(tmp_path / "log", "".join(lines))).splitlines()
    assert [line[:4] for line in found] == [
        *(f"{n:04}" for n in range(10)),
        "... ",
        *(f"{n:04}" for n in range(90, 100)),
    ]


def test_only_long_lines_are_marked_as_cut(tmp_path: Path) -> None:
    """In a full excerpt a short last line stays as it was."""
    text = "".join(f"{'x' * 2000}\n" for _ in range(20)) + "the end"
    assert excerpt(written(tmp_path / "log", text)).endswith("the end")


def test_bytes_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    """The excerpt is text whatever a child process wrote."""
    found = excerpt(written(tmp_path / "log", b"a\xff\xfeb\n\xc3\n"))
    assert found == "ab\n\n"


def test_removed_log_is_named(tmp_path: Path) -> None:
    """An excerpt of nothing says so."""
    assert excerpt(tmp_path / "gone") == "Log file was removed"


# Lines and bytes.


def test_lines_have_time_and_level(tmp_path: Path) -> None:
    """A line begins with the time in UTC and the level."""
    log = JobLog(tmp_path / "logs" / "1.log")
    log.logger.info("block %d repaired", 3)
    log.logger.debug("all of it")
    log.close()
    lines = (tmp_path / "logs" / "1.log").read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(f"{stamp} INFO block 3 repaired", lines[0])
    assert re.fullmatch(f"{stamp} DEBUG all of it", lines[1])


def test_log_is_private(tmp_path: Path) -> None:
    """Nobody else on the machine reads the log."""
    log = JobLog(tmp_path / "logs" / "1.log")
    log.close()
    assert (tmp_path / "logs" / "1.log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


def test_bytes_are_stored_as_written(tmp_path: Path) -> None:
    """What goes to the file is not touched, and is there at once."""
    log = JobLog(tmp_path / "1.log")
    log.file.write(b"\x00\xff raw\r\n")
    assert (tmp_path / "1.log").read_bytes() == b"\x00\xff raw\r\n"
    log.close()


def test_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """A log that exists already is continued, never emptied."""
    for text in (b"one\n", b"two\n"):
        log = JobLog(tmp_path / "1.log")
        log.file.write(text)
        log.close()
    assert (tmp_path / "1.log").read_bytes() == b"one\ntwo\n"


def test_lines_of_threads_stay_whole(tmp_path: Path) -> None:
    """Many threads write lines; none is lost or mixed with another."""
    log = JobLog(tmp_path / "1.log")

    def work(number: int) -> None:
        for turn in range(200):
            log.logger.info("thread %d turn %d %s", number, turn, "x" * 50)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = (tmp_path / "1.log").read_text().splitlines()
    found = {line.partition(" INFO ")[2] for line in lines}
    wanted = {f"thread {n} turn {t} {'x' * 50}" for n in range(8) for t in range(200)}
    assert found == wanted
    assert len(lines) == 1600


def test_late_lines_are_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who writes after the end disturbs nobody."""
    log = JobLog(tmp_path / "1.log")
    log.logger.info("in time")
    log.close()
    log.logger.info("too late")
    assert (tmp_path / "1.log").read_text().endswith("in time\n")
    assert capsys.readouterr().err == ""


def test_job_without_a_log_may_log(capsys: pytest.CaptureFixture[str]) -> None:
    """A job that declared no log drops its lines, loudly nowhere."""
    SILENT.error("into the dark")
    assert capsys.readouterr().err == ""


# Masks.


def test_secrets_are_masked(tmp_path: Path) -> None:
    """Values of secrets become asterisks, the longest first, in tracebacks, too."""
    log = JobLog(tmp_path / "1.log", ["hunter", "hunter2", ""])
    log.logger.info("password is hunter2, not %s", "hunter")
    try:
        int("hunter2")
    except ValueError:
        log.logger.exception("it failed")
    log.close()
    text = (tmp_path / "1.log").read_text()
    assert "hunter" not in text
    assert "password is ********, not ********\n" in text
    assert "ValueError: invalid literal for int() with base 10: '********'" in text


# Reading in pieces.

logs = st.text(
    st.characters(codec="utf-8") | st.sampled_from("\u00e9\u20ac\U0001f600\n"),
    max_size=60,
).map(str.encode)


@given(logs, st.integers(4, 12))
def test_pieces_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, limit: int
) -> None:
    """Reading on from each end gives every byte once, and never half a character."""
    path = written(tmp_path_factory.getbasetemp() / "log", data)
    offset, text = 0, ""
    while offset < log_size(path):
        piece = read_chunk(path, offset, limit)
        assert 0 < len(piece) <= limit
        text += piece.decode()
        offset += len(piece)
    assert text.encode() == data


@given(st.binary(max_size=60), st.integers(1, 9))
def test_bytes_that_are_no_text_are_read_too(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, limit: int
) -> None:
    """Whatever the bytes are, reading comes to the end and skips none."""
    path = written(tmp_path_factory.getbasetemp() / "log", data)
    found = b""
    while len(found) < len(data):
        piece = read_chunk(path, len(found), limit)
        assert piece
        found += piece
    assert found == data


def test_missing_log_has_no_size(tmp_path: Path) -> None:
    """The size of a log that is not there yet is 0; reading it says what is wrong."""
    assert log_size(tmp_path / "none") == 0
    with pytest.raises(FileNotFoundError):
        read_chunk(tmp_path / "none", 0, 10)


# The limit.


def test_full_log_says_so_once(tmp_path: Path) -> None:
    """What comes up to the limit stays, then one line, and the rest is dropped."""
    log = JobLog(tmp_path / "1.log", limit=200)
    log.file.write(b"x" * 150 + b"\n")
    log.logger.info("fits")
    log.logger.info("does not fit any more")
    log.logger.info("x")
    assert log.file.write(b"y") == 1
    log.close()
    first, second, third, end = (tmp_path / "1.log").read_text().splitlines()
    assert (first, second[-9:], third) == ("x" * 150, "INFO fits", "")
    assert end == "... the log has reached max_log, 200 bytes: the rest is dropped ..."


def test_masked_bytes_keep_the_limit(tmp_path: Path) -> None:
    """What comes through the pipe of a job with secrets does not pass it either."""
    log = JobLog(tmp_path / "1.log", ["hunter2"], limit=100)
    for _ in range(50):
        log.file.write(b"hunter2 is secret\n")
    log.close()
    text = (tmp_path / "1.log").read_text()
    assert "hunter2" not in text
    assert text.endswith("the rest is dropped ...\n")
    assert len(text) < 200


def test_what_others_wrote_is_cut(tmp_path: Path) -> None:
    """A program that has the descriptor writes on, and is cut again."""
    path = tmp_path / "1.log"
    log = JobLog(path, limit=1000)
    for _ in range(3):
        subprocess.run(["head", "-c", "5000", "/dev/zero"], stdout=log.file, check=True)
        assert cut_log(path, 1000)
        assert not cut_log(path, 1000)
    log.logger.info("late")
    log.close()
    data = path.read_bytes()
    assert data.startswith(b"\0" * 1000 + b"\n... the log has reached max_log")
    assert data.count(b"dropped") == 1
    assert not cut_log(tmp_path / "none.log", 1000)


def test_lines_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk ends no body; the server's log says it once."""
    log = JobLog(tmp_path / "7.log")
    log.logger.info("before")
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(log._stored, "write", Mock(side_effect=full))
        log.logger.info("lost")
        log.logger.info("lost, too")
    log.close()
    assert (tmp_path / "7.log").read_text().endswith("INFO before\n")
    (line,) = caplog.messages
    assert line.startswith("the log of job 7 cannot be written: ")


def test_small_logs_are_told_apart(tmp_path: Path) -> None:
    """One that is large, or has a pipe that may hold it up, is not small."""
    small, masked = JobLog(tmp_path / "1.log"), JobLog(tmp_path / "2.log", ["secret"])
    assert small.is_small
    assert not masked.is_small
    small.file.write(b"x" * (SMALL_LOG + 1))
    assert not small.is_small
    small.close()
    masked.close()
