"""Lines and bytes of a file, counted here or by the system's program."""

import os
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_jobs import linecount
from middlewared_jobs.linecount import LARGE, measure


def test_large_file_is_counted_apart(tmp_path: Path) -> None:
    """From some size on `wc` counts, to the last byte."""
    path = tmp_path / "log"
    path.write_bytes((b"x" * 63 + b"\n") * (LARGE // 64) + b"half a line")
    with mock.patch.object(linecount, "_count_here") as here:
        assert measure(path) == (LARGE // 64 + 1, LARGE + 11)
    here.assert_not_called()


@given(text=st.binary(max_size=200), piece=st.sampled_from([1, 7, 1 << 18]))
def test_both_ways_count_the_same(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, piece: int
) -> None:
    """What `wc` counts is what is counted here."""
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(text)
    wanted = (_lines(text), len(text))
    with mock.patch.object(linecount, "_PIECE", piece):
        assert measure(path) == wanted
    with mock.patch.object(linecount, "LARGE", 0):
        assert measure(path) == wanted


def _lines(text: bytes) -> int:
    return text.count(b"\n") + (text[-1:] not in (b"", b"\n"))


@pytest.mark.parametrize("program", ["exit 1", "cat >/dev/null; echo many", None])
def test_file_is_counted_without_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    """A program that fails, or says something else, or is not there, is not needed."""
    if program is not None:
        (tmp_path / "wc").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "wc").chmod(0o700)
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n" * 100)
    known = os.environ["PATH"] if program else ""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{known}")
    monkeypatch.setattr(linecount, "LARGE", 0)
    assert measure(path) == (200, 800)


def test_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    """Who asks is told so."""
    with pytest.raises(FileNotFoundError):
        measure(tmp_path / "log")
