"""``middlewared backup`` and ``middlewared restore``."""

import time
from pathlib import Path
from typing import Any

import click

from middlewared.cli.output import print_json
from middlewared.cli.target import (
    Target,
    connection_options,
    json_option,
    log_in,
    run_async,
)

__all__ = ["backup", "restore"]


@click.command(short_help="Write a backup; the server may run.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--logs", is_flag=True, help="With the logs of jobs.")
@connection_options()
@click.pass_obj
def backup(target: Target, file: Path, *, logs: bool) -> None:
    """Write a backup of the server on this host to FILE, which may not exist yet.

    Database, keys and large results, in one tar file. A running server writes it
    itself, as its own user, and goes on with its work.

    \b
    middlewared backup /var/backups/middlewared-$(date +%F).tar
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    path, credentials = file.absolute(), target.credentials()

    async def main() -> None:
        from msgspec import to_builtins  # noqa: PLC0415 - lazy

        from middlewared.client import CannotConnect, connect  # noqa: PLC0415 - lazy

        try:
            async with connect(target.address()) as client:
                await log_in(client, credentials)
                found = await client.call("core.backup", str(path), {"logs": logs})
        except CannotConnect as error:
            why = error.__cause__
            nobody = isinstance(why, FileNotFoundError | ConnectionRefusedError)
            if target.remote_address() is not None or not nobody:
                raise
            found = to_builtins(_of_stopped(target.data_path(), path, logs=logs))
        _show(target, f"wrote {file}", found)

    run_async(main, as_json=target.as_json)


def _of_stopped(data_dir: Path, path: Path, *, logs: bool) -> Any:
    """Write a backup without a server.

    Raises:
        MiddlewareError: it cannot be written.
    """
    from middlewared.backup import DATABASE, write_backup  # noqa: PLC0415 - lazy
    from middlewared.datadir import locked_data_dir  # noqa: PLC0415 - lazy
    from middlewared.errors import StoreError  # noqa: PLC0415 - lazy

    if not (data_dir / DATABASE).exists():
        raise StoreError(f"there is no database in {str(data_dir)!r}")
    with locked_data_dir(data_dir):
        try:
            created = time.time_ns() // 1_000_000
            return write_backup(data_dir, path, logs=logs, created=created)
        except OSError as exc:
            text = f"{str(path)!r} cannot be written: {exc.strerror or exc}"
            raise StoreError(text) from exc


@click.command(short_help="Make a data directory of a backup.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The new directory; it may exist, but not hold anything.",
)
@json_option
@click.pass_obj
def restore(target: Target, file: Path, data_dir: Path) -> None:
    """Make a data directory of the backup FILE, for a server to be started on.

    Everything in it is checked. It is the state of the moment of the backup: jobs that
    waited then run at the next start, whatever became of them since.
    """
    directory = data_dir.expanduser().absolute()

    async def main() -> None:
        from msgspec import to_builtins  # noqa: PLC0415 - lazy

        from middlewared.restore import restore_backup  # noqa: PLC0415 - lazy

        manifest = restore_backup(file, directory)
        _show(target, f"restored {data_dir}", to_builtins(manifest))

    run_async(main, as_json=target.as_json)


def _show(target: Target, words: str, manifest: Any) -> None:
    if target.as_json:
        print_json(manifest)
        return
    files = manifest["files"]
    size = sum(entry["size"] for entry in files)
    count = f"{len(files)} files" if len(files) > 1 else "1 file"
    click.echo(f"{words}: {count}, {size} bytes, middlewared {manifest['version']}")
