"""The data directory: made private, and served by one server at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from middlewared.errors import StartError

__all__ = ["locked_data_dir"]


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
        descriptor = os.open(
            path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
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
        yield path
    finally:
        os.close(descriptor)
