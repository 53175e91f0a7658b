"""Private files: who may read them, and that nothing of them stays."""

import os
import pwd
import stat
import tempfile
from pathlib import Path

import pytest

from middlewared import CallError
from middlewared_commands import private
from middlewared_commands.account import Account
from middlewared_commands.private import (
    PrivateFiles,
    read_secret,
    remove_leftovers,
    text_descriptor,
)


def folders(place: Path) -> set[Path]:
    """List what has our name in a folder."""
    return set(place.glob("middlewared-*"))


def own_account() -> Account:
    """Describe the account that runs the tests as if it were another one."""
    entry = pwd.getpwuid(os.geteuid())
    return Account(
        entry.pw_name,
        entry.pw_uid,
        entry.pw_gid,
        (entry.pw_gid,),
        entry.pw_dir,
        entry.pw_shell,
    )


def test_files_are_for_one_reader(tmp_path: Path) -> None:
    """A file is 0600 in a folder 0700, has the text as it is, goes with the block."""
    with PrivateFiles({"a": "hunter2", "b": "p\u00e4ss\n"}, tmp_path, None) as files:
        paths = [Path(files.paths[name]) for name in "ab"]
        assert [path.read_text() for path in paths] == ["hunter2", "p\u00e4ss\n"]
        assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600] * 2
        folder = paths[0].parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == private.MEMORY
    assert files.paths == {}
    assert not folder.exists()


def test_another_reader_may_pass_the_folder(tmp_path: Path) -> None:
    """For another account the folder can be passed, not listed; the file is its own."""
    account = own_account()
    with PrivateFiles({"a": "hunter2"}, tmp_path, account) as files:
        path = Path(files.paths["a"])
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (account.uid, account.gid)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o711


def test_no_secret_no_folder(tmp_path: Path) -> None:
    """Without secrets nothing is made."""
    before = folders(private.MEMORY)
    with PrivateFiles({}, tmp_path, None) as files:
        assert files.paths == {}
        assert folders(private.MEMORY) == before


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    """Neither a wide nor a narrow umask changes who may read."""
    for umask in (0o000, 0o777):
        before = os.umask(umask)
        try:
            with PrivateFiles({"a": "x"}, tmp_path, None) as files:
                mode = Path(files.paths["a"]).stat().st_mode
                assert stat.S_IMODE(mode) == 0o600
        finally:
            os.umask(before)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """When one file cannot be written, the others go, too."""
    before = folders(private.MEMORY)
    files = PrivateFiles({"a": "x", "no/such": "y"}, tmp_path, None)
    with pytest.raises(FileNotFoundError):
        files.__enter__()
    assert folders(private.MEMORY) == before


def test_without_memory_the_disk_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without a file system in memory has them in the data directory."""
    monkeypatch.setattr(private, "MEMORY", tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    with PrivateFiles({"a": "x"}, tmp_path, None) as files:
        assert Path(files.paths["a"]).parent.parent == tmp_path
    with PrivateFiles({"a": "x"}, tmp_path, own_account()) as files:
        assert Path(files.paths["a"]).parent.parent == tmp_path / "temp"
        assert remove_leftovers(tmp_path) == 1


def test_leftovers_are_removed(tmp_path: Path) -> None:
    """What a dead server left goes at the next start; what others have stays."""
    mine, others = tmp_path / "mine", tmp_path / "others"
    left = PrivateFiles({"a": "x"}, mine, None)
    kept = PrivateFiles({"a": "x"}, others, None)
    with left as files, kept:
        folder = Path(files.paths["a"]).parent
        trap = folder.with_name(folder.name[:-1] + "!")
        trap.symlink_to(tmp_path)
        assert remove_leftovers(mine) == 1
        assert not folder.exists()
        assert Path(kept.paths["a"]).exists()
        assert trap.is_symlink()
        assert tmp_path.exists()
        trap.unlink()
    assert remove_leftovers(mine) == 0


def test_secrets_of_the_settings(tmp_path: Path) -> None:
    """The text of a file is the secret, without the newline at its end."""
    path = tmp_path / "secret"
    path.touch(0o600)
    for raw, text in ((b"x", "x"), (b"x\n", "x"), (b"a b\nc\r\n", "a b\nc")):
        path.write_bytes(raw)
        assert read_secret(str(path)) == text


def test_a_pipe_is_no_secret(tmp_path: Path) -> None:
    """Nobody waits for what is no regular file."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(CallError, match="is no regular file"):
        read_secret(str(tmp_path / "pipe"))


@pytest.mark.parametrize(
    ("raw", "mode", "error"),
    [
        (None, 0o600, "cannot be read: No such file"),
        (b"hunter2", 0o604, "can be read by everybody .mode 0604., expected 0600"),
        (b"", 0o600, "is empty, or has a NUL character"),
        (b"\n", 0o600, "is empty, or has a NUL character"),
        (b"hunter\0two", 0o600, "is empty, or has a NUL character"),
        (b"hunter\xfftwo", 0o600, "is no text in UTF-8"),
        (b"hunter" * 20_000, 0o600, "has more than 65536 bytes"),
    ],
)
def test_secrets_that_are_none(
    tmp_path: Path, raw: bytes | None, mode: int, error: str
) -> None:
    """The file is named, what is in it is not."""
    path = tmp_path / "secret"
    if raw is not None:
        path.touch()
        path.write_bytes(raw)
        path.chmod(mode)
    with pytest.raises(CallError, match=error) as raised:
        read_secret(str(path))
    assert str(path) in str(raised.value)
    assert "hunter" not in str(raised.value)


def test_standard_input() -> None:
    """A text is read to its end, of any size; without one there is nothing."""
    for text in (None, "", "x\n", "y" * 200_000):
        with text_descriptor(text, None) as descriptor:
            found = b""
            while data := os.read(descriptor, 65536):
                found += data
            assert found == (text or "").encode()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.read(descriptor, 1)
