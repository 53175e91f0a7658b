"""The data directory: made private, served by one server, which can be found in it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from middlewared.errors import StartError
from middlewared.settings import SOCKET

__all__ = ["LOCK", "locked_data_dir", "note_socket", "served_at"]

#: Locked while a server runs, and says where its unix socket is if that was moved.
LOCK = "lock"


@contextlib.contextmanager
def locked_data_dir(path: Path) -> Iterator[Path]:
    """Create the data directory if need be and hold its lock.

    Args:
        path: the directory; it becomes readable for its owner only.

    Raises:
        StartError: it cannot be written, or another process serves it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StartError(
            f"data directory {str(path)!r} cannot be written: {exc.strerror}"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(
                f"data directory {str(path)!r} is already served by another process"
            ) from None
        os.ftruncate(descriptor, 0)
        try:
            yield path
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def note_socket(path: Path, socket: Path) -> None:
    """Note in a locked data directory where the unix socket was moved to."""
    if socket != path / SOCKET:
        (path / LOCK).write_bytes(os.fsencode(socket.absolute()))


def served_at(path: Path) -> Path:
    """Find the unix socket of the server that serves a data directory."""
    try:
        noted = (path / LOCK).read_bytes()
    except OSError:
        noted = b""
    return Path(os.fsdecode(noted)) if noted else path / SOCKET
