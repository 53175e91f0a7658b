"""Masks: no secret passes, whole or in pieces, and nothing else is touched."""

import io
import itertools
import os
import subprocess
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_jobs.masking import MASK, Masker, MaskingPipe

secrets = st.lists(st.text("ab", max_size=5), max_size=4)
texts = st.text("ab ", max_size=30)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes at some places."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def piped(masker: Masker, parts: list[bytes]) -> bytes:
    """Feed pieces and give what came out, to the end."""
    return b"".join([*(masker.feed(part) for part in parts), masker.end()])


@given(secrets, texts)
def test_no_secret_passes(found: list[str], text: str) -> None:
    """A masked text holds none of the secrets."""
    masked = Masker(found).mask(text)
    rest = masked.replace(MASK, "\0")
    assert not any(secret in rest for secret in found if secret)


@given(secrets, texts, st.lists(st.integers(0, 30), max_size=8))
def test_pieces_are_masked_like_the_whole(
    found: list[str], text: str, cuts: list[int]
) -> None:
    """However a stream is cut, what comes out is the whole text, masked."""
    whole = Masker(found).mask(text).encode()
    assert piped(Masker(found), pieces(text.encode(), cuts)) == whole


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_other_bytes_are_untouched(data: bytes, cuts: list[int]) -> None:
    """Without a secret inside, every byte passes as it is."""
    assert piped(Masker(["\u20acsecret"]), pieces(data, cuts)) == data


@pytest.mark.parametrize(
    ("found", "text", "masked"),
    [
        (["hunter", "hunter2"], "hunter2 hunter", f"{MASK} {MASK}"),
        (["abcab"], "abcab", MASK),
        (["abcab"], "abcabcab", f"{MASK}cab"),
        (["p\u00e4ss"], "p\u00e4ss pass", f"{MASK} pass"),
        ([""], "abc", "abc"),
        ([], "abc", "abc"),
        (["a.c"], "abc a.c", f"abc {MASK}"),
    ],
)
def test_longest_secret_counts(found: list[str], text: str, masked: str) -> None:
    """The longest secret that fits is masked; patterns mean nothing."""
    assert Masker(found).mask(text) == masked
    every = [text.encode()[i : i + 1] for i in range(len(text.encode()))]
    assert piped(Masker(found), every) == masked.encode()


def test_what_cannot_be_a_secret_passes_at_once() -> None:
    """Only what may be the beginning of a secret is kept back."""
    masker = Masker(["hunter2"])
    assert masker.feed(b"hello hun") == b"hello "
    assert masker.feed(b"ger\n") == b"hunger\n"
    assert masker.feed(b"hunter") == b""
    assert masker.end() == b"hunter"


def owned(target: BinaryIO) -> io.FileIO:
    """Give the pipe a file of its own."""
    return io.FileIO(os.dup(target.fileno()), "w")


def test_pipe_masks_what_children_write(tmp_path: Path) -> None:
    """A child that inherits the pipe writes to the file, without the secret."""
    path = tmp_path / "log"
    with path.open("wb") as target:
        pipe = MaskingPipe(owned(target), Masker(["hunter2"]))
        pipe.file.write(b"before hun")
        subprocess.run(["printf", "ter2 after\n"], stdout=pipe.file, check=True)
        pipe.close()
    assert path.read_text() == f"before {MASK} after\n"


def test_large_output_comes_through(tmp_path: Path) -> None:
    """More than a pipe holds is stored, each byte once."""
    path = tmp_path / "log"
    data = os.urandom(1 << 20)
    with path.open("wb") as target:
        pipe = MaskingPipe(owned(target), Masker(["not in random bytes"]))
        view = memoryview(data)
        while view:
            view = view[os.write(pipe.file.fileno(), view) :]
        pipe.close()
    assert path.read_bytes() == data


def test_pipe_that_a_child_holds_does_not_block(tmp_path: Path) -> None:
    """A child that lives on delays the end a little; what it writes is stored."""
    path = tmp_path / "log"
    with path.open("wb") as target:
        pipe = MaskingPipe(owned(target), Masker(["hunter2"]))
        child = subprocess.Popen(
            ["sh", "-c", "read line; printf 'late %s\\n' hunter2"],
            stdin=subprocess.PIPE,
            stdout=pipe.file,
        )
        pipe.close()
        child.communicate(b"go\n")
        pipe._thread.join(20)
    assert path.read_text() == f"late {MASK}\n"
