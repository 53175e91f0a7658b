"""How much room is left on a disk."""

import errno
import os

__all__ = ["check_free"]


def check_free(descriptor: int, wanted: int, what: str) -> None:
    """Let pass what leaves enough of a disk free.

    Args:
        descriptor: of a file on it.
        wanted: bytes that have to be free.
        what: what the disk is for, for the error.

    Raises:
        OSError: ENOSPC, there are less.
    """
    disk = os.fstatvfs(descriptor)
    if disk.f_bavail * disk.f_frsize < wanted:
        raise OSError(
            errno.ENOSPC, f"the disk for {what} has less than {wanted} bytes free"
        )
