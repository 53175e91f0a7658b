"""core.backup: a backup while the server runs."""

import errno
from functools import partial
from pathlib import Path

import anyio.to_thread
import msgspec

from middlewared import CallError, Context, Example, ValidationError
from middlewared.backup import Manifest, write_backup
from middlewared.errors import StoreError
from middlewared_core._declaration import plugin

__all__ = ["BackupOptions"]


class BackupOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of ``core.backup``.

    Attributes:
        logs: with the logs of jobs.
    """

    logs: bool = False


@plugin.method(examples=[Example("with logs", ["/backup/monday.tar", {"logs": True}])])
async def backup(
    ctx: Context,
    path: str,
    options: BackupOptions = BackupOptions(),  # noqa: B008 - frozen
) -> Manifest:
    """Write a backup to a new file on the server's machine, and say what it holds.

    Only over the unix socket. The server's user has to be able to write there. Jobs
    go on meanwhile; the backup is the state of one moment.
    """
    if ctx.session is not None and ctx.session.origin.address is not None:
        raise CallError("A backup is made over the unix socket only", errno.EPERM)
    target = Path(path)
    if not target.is_absolute():
        text = f"{path!r} is relative, expected an absolute path"
        raise ValidationError("path", text)
    write = partial(
        write_backup,
        ctx.settings.data_path,
        target,
        logs=options.logs,
        created=ctx.clock.time_ms(),
    )
    try:
        return await anyio.to_thread.run_sync(write)
    except StoreError as exc:
        raise CallError(str(exc), errno.EIO) from exc
    except OSError as exc:
        text = f"{path} cannot be written by the server: {exc.strerror or exc}"
        raise CallError(text, exc.errno or errno.EIO) from exc
