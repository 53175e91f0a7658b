"""Results that are too large for the database become files."""

import io
import os
from pathlib import Path

from middlewared_jobs.freespace import check_free
from middlewared_jobs.outcome import TOO_LARGE, EncodedResult
from middlewared_jobs.record import EncodingFailure

__all__ = ["keep_large"]


def keep_large(result: EncodedResult, path: Path, reserve: int) -> EncodedResult:
    """Write a result that is too large to its file, and say so in its failure.

    Others pass. The file is on disk when this returns; one that cannot be written
    fails no job. May block: for threads.

    Args:
        result: from `encode_result`.
        path: the file; its folder is made if need be.
        reserve: bytes of the disk that stay free.
    """
    if result.large is None or result.failure is None:
        return result
    try:
        _write(path, result.large, reserve)
        how = "job.result gives it as a download"
    except OSError as exc:
        how = f"it could not be kept in a file: {exc.strerror or exc}"
    text = f"{result.failure.repr}; {how}"
    return EncodedResult(None, None, EncodingFailure(TOO_LARGE, text))


def _write(path: Path, pieces: list[bytes], reserve: int) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with io.FileIO(descriptor, "w") as file:
            size = sum(map(len, pieces))
            check_free(file.fileno(), reserve + size, "results")
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
