"""Sealed params: unreadable without the key, which only the owner can read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared.errors import StartError
from middlewared_jobs.seal import Seal


@given(st.binary(max_size=200))
def test_what_was_sealed_can_be_opened(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Opening gives back what was sealed, and the seal shows nothing of it."""
    path = tmp_path_factory.getbasetemp() / "key"
    sealed = Seal(path).close(data)
    assert Seal(path).open(sealed) == data
    assert len(data) < 4 or data not in sealed


def test_equal_params_do_not_look_equal(tmp_path: Path) -> None:
    """Nobody sees from the rows that two jobs have the same secret."""
    seal = Seal(tmp_path / "key")
    assert seal.close(b"secret") != seal.close(b"secret")


def test_key_is_private_and_stays(tmp_path: Path) -> None:
    """The key file is for its owner only, and made once."""
    path = tmp_path / "key"
    Seal(path)
    first = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    Seal(path)
    assert path.read_bytes() == first


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    """A seal of another key, or damaged, is refused without a word of it."""
    sealed = Seal(tmp_path / "one").close(b"secret")
    assert Seal(tmp_path / "two").open(sealed) is None
    seal = Seal(tmp_path / "one")
    assert seal.open(sealed[:-3] + b"xyz") is None
    assert seal.open(b"") is None
    assert seal.open(b'["clear"]') is None


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 44])
def test_damaged_key_file_stops_the_start(tmp_path: Path, content: bytes) -> None:
    """A key file that is none is named; it is never replaced."""
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(StartError, match=str(path)):
        Seal(path)
    assert path.read_bytes() == content


def test_unusable_place_stops_the_start(tmp_path: Path) -> None:
    """A key file that cannot be made is named."""
    with pytest.raises(StartError, match="none/key"):
        Seal(tmp_path / "none" / "key")
