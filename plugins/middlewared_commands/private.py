"""Private files: secrets that a command reads, in memory where the system has it."""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from middlewared import CallError
from middlewared_commands.account import Account

__all__ = [
    "PrivateFiles",
    "give",
    "read_secret",
    "remove_leftovers",
    "text_descriptor",
]

#: A file system in memory, which any user can reach.
MEMORY = Path("/dev/shm")  # noqa: S108 - used with names that nobody can foresee
MAX_SECRET = 64 * 1024
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def _place(data_dir: Path, account: Account | None) -> Path:
    if os.access(MEMORY, os.W_OK | os.X_OK):
        return MEMORY
    # Nobody else can pass the data directory.
    return data_dir if account is None else Path(tempfile.gettempdir())


def _prefix(data_dir: Path) -> str:
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()
    return f"middlewared-{digest[:16]}-"


class PrivateFiles:
    """A folder with a file for each secret, there for the length of a block.

    The folder has a name that nobody can foresee and belongs to the server; nobody
    else can list it, or put something in a file's place. The files belong to who runs
    the command, mode 0600.

    Args:
        texts: what is in the files, by name; there is no folder when it is empty.
        data_dir: of the server, whose next start removes what a crash left.
        account: who reads them, None for the server's own user.

    Attributes:
        paths: of the files, by name; in the block only.
    """

    def __init__(
        self, texts: Mapping[str, str], data_dir: Path, account: Account | None
    ) -> None:
        self.paths: dict[str, str] = {}
        self._texts = texts
        self._data_dir = data_dir
        self._account = account
        self._folder: str | None = None

    def __enter__(self) -> Self:
        if self._texts:
            place = _place(self._data_dir, self._account)
            self._folder = tempfile.mkdtemp(prefix=_prefix(self._data_dir), dir=place)
            try:
                for name, text in self._texts.items():
                    self.paths[name] = self._write(self._folder, name, text)
                if self._account is not None:
                    os.chmod(self._folder, 0o711)  # noqa: S103, PTH101 - passable, not listable
            except BaseException:
                self._remove()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _write(self, folder: str, name: str, text: str) -> str:
        path = os.path.join(folder, name)  # noqa: PTH118 - texts go to the program
        descriptor = os.open(path, _NEW, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            os.fchmod(descriptor, 0o600)
            file.write(text.encode())
            give(descriptor, self._account)
        return path

    def _remove(self) -> None:
        self.paths.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def give(descriptor: int, account: Account | None) -> None:
    """Make a file or a pipe that of the account that a command runs as."""
    if account is not None:
        os.fchown(descriptor, account.uid, account.gid)


def remove_leftovers(data_dir: Path) -> int:
    """Remove what a server of this data directory left when it died.

    Call it while the data directory is locked, before any job runs. Nothing is removed
    that belongs to another user.

    Returns:
        How many folders there were.
    """
    count = 0
    for place in {MEMORY, data_dir, Path(tempfile.gettempdir())}:
        for folder in place.glob(f"{_prefix(data_dir)}*"):
            with contextlib.suppress(OSError):
                found = folder.lstat()
                if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                    shutil.rmtree(folder, ignore_errors=True)
                    count += 1
    return count


def read_secret(path: str) -> str:
    """Read a secret that the settings name by its file; a newline at its end goes.

    Raises:
        CallError: it cannot be read, everybody can read it, or it is no text.
    """
    try:
        # Does not wait for somebody who writes to a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            mode = os.fstat(descriptor).st_mode
            raw = file.read(MAX_SECRET + 1) if stat.S_ISREG(mode) else b""
    except OSError as exc:
        raise CallError(
            f"secret file {path!r} cannot be read: {exc.strerror}", exc.errno or 0
        ) from None
    if not stat.S_ISREG(mode):
        raise CallError(f"secret file {path!r} is no regular file")
    if mode & stat.S_IROTH:
        raise CallError(
            f"secret file {path!r} can be read by everybody (mode "
            f"{stat.S_IMODE(mode):04o}), expected 0600"
        )
    if len(raw) > MAX_SECRET:
        raise CallError(f"secret file {path!r} has more than {MAX_SECRET} bytes")
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise CallError(f"secret file {path!r} is no text in UTF-8") from None
    if not text or "\0" in text:
        raise CallError(f"secret file {path!r} is empty, or has a NUL character")
    return text


@contextlib.contextmanager
def text_descriptor(text: str | None, account: Account | None) -> Iterator[int]:
    """Give a descriptor to read a text from; of the null device when there is none.

    Args:
        text: what is read.
        account: who may open it again, as ``/dev/stdin``.
    """
    if text is None:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    else:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
        os.fchmod(descriptor, 0o600)
        give(descriptor, account)
    try:
        if text is not None:
            with open(os.dup(descriptor), "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(text.encode())
            os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
