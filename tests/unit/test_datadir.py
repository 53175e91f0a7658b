"""The data directory is private and has one server."""

import subprocess
import sys
from pathlib import Path

import pytest

from middlewared.datadir import locked_data_dir, note_socket, served_at
from middlewared.errors import StartError


def test_directory_is_made_private(tmp_path: Path) -> None:
    """Missing folders are made, and only the owner may look inside."""
    path = tmp_path / "a" / "b"
    with locked_data_dir(path) as given:
        assert given == path
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / "lock").stat().st_mode & 0o777 == 0o600


def test_open_directory_is_closed_to_others(tmp_path: Path) -> None:
    """A directory that others could read is made private, its content stays."""
    (tmp_path / "file").write_text("kept")
    tmp_path.chmod(0o755)
    with locked_data_dir(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "file").read_text() == "kept"


def test_second_server_is_refused(tmp_path: Path) -> None:
    """While one holds the directory, the next is told so."""
    with (
        locked_data_dir(tmp_path),
        pytest.raises(StartError, match="is already served by another process"),
        locked_data_dir(tmp_path),
    ):
        pass


def test_lock_ends_with_the_block(tmp_path: Path) -> None:
    """After a stop the next server may have it, also when the first one failed."""
    with pytest.raises(RuntimeError, match="fails"), locked_data_dir(tmp_path):
        raise RuntimeError("fails")
    with locked_data_dir(tmp_path):
        pass


def test_lock_does_not_pass_to_children(tmp_path: Path) -> None:
    """A child that outlives the server does not keep the directory."""
    with locked_data_dir(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        assert child.stdout is not None
        child.stdout.readline()
    try:
        with locked_data_dir(tmp_path):
            pass
    finally:
        child.communicate(b"\n")


def test_path_that_is_a_file(tmp_path: Path) -> None:
    """Something else in the way is one clear sentence."""
    path = tmp_path / "file"
    path.touch()
    with (
        pytest.raises(StartError, match=r"'.*/file' cannot be written: File exists"),
        locked_data_dir(path),
    ):
        pass


def test_path_that_cannot_be_made() -> None:
    """A place where nobody may write is one clear sentence."""
    with (
        pytest.raises(StartError, match=r"'/proc/nowhere' cannot be written: "),
        locked_data_dir(Path("/proc/nowhere")),
    ):
        pass


def test_socket_is_found(tmp_path: Path) -> None:
    """A socket that was moved is found in the directory, while it is served."""
    usual = tmp_path / "middlewared.sock"
    assert served_at(tmp_path) == usual
    with locked_data_dir(tmp_path):
        note_socket(tmp_path, usual)
        assert served_at(tmp_path) == usual
        note_socket(tmp_path, Path("/run/elsewhere.sock"))
        assert served_at(tmp_path) == Path("/run/elsewhere.sock")
    assert served_at(tmp_path) == usual


def test_socket_of_a_killed_server(tmp_path: Path) -> None:
    """What a server noted that was killed does not outlive the next lock."""
    (tmp_path / "lock").write_text("/run/elsewhere.sock")
    with locked_data_dir(tmp_path):
        assert served_at(tmp_path) == tmp_path / "middlewared.sock"
