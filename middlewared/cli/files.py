"""``middlewared upload`` and ``download``: files for jobs, and from jobs."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from middlewared.cli.follow import Follower, follow_options
from middlewared.cli.params import ParamCommand, parse_params
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client, JobHandle
    from middlewared.client.files import Source

__all__ = ["STREAM", "download", "output_file", "transfer_bar", "upload"]

CHUNK = 1 << 16
#: Stands for standard input and output.
STREAM = "-"

#: Called with the bytes that were moved so far.
Moved = Callable[[int], None]


@contextmanager
def transfer_bar(words: str, total: int | None, *, quiet: bool) -> Iterator[Moved]:
    """Show on standard error how much was moved; only on a terminal.

    Args:
        words: what is moved.
        total: bytes there are, None when that is not known.
        quiet: show nothing.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - lazy
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task(words, total=total)
        yield lambda moved: progress.update(task, completed=moved)


# Uploads


async def _standard_input() -> AsyncIterator[bytes]:
    import anyio.to_thread  # noqa: PLC0415 - lazy

    descriptor = sys.stdin.fileno()
    while data := await anyio.to_thread.run_sync(os.read, descriptor, CHUNK):
        yield data


def _source(name: str) -> "Source":
    return ("stdin", _standard_input()) if name == STREAM else Path(name)


def _total(names: tuple[str, ...]) -> int | None:
    if STREAM in names:
        return None
    return sum(Path(name).stat().st_size for name in names)


@click.command(cls=ParamCommand, short_help="Start a job and upload its files.")
@click.argument("method")
@click.argument("args", nargs=-1)
@click.option(
    "-f",
    "--file",
    "names",
    metavar="FILE",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="File to upload, - for standard input; may be repeated.",
)
@follow_options
@connection_options()
@click.pass_obj
def upload(
    target: Target,
    method: str,
    args: tuple[str, ...],
    *,
    names: tuple[str, ...],
    job_print: str,
    quiet: bool,
    give_up_after: float,
) -> None:
    """Call METHOD, a job that reads files, with ARGS, and upload FILEs to it.

    Shows how much is uploaded, then the job until it ends, and prints its result.

    \b
    middlewared upload demo.count_upload -f disk.img
    tar c /etc | middlewared upload demo.count_upload -f -
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    params = parse_params(args)
    follower = Follower(
        target, style=job_print, quiet=quiet, give_up_after=give_up_after
    )

    async def start(client: "Client") -> "JobHandle":
        silent = quiet or target.as_json
        with transfer_bar(method, _total(names), quiet=silent) as moved:
            files = [_source(name) for name in names]
            return await client.upload(method, *params, files=files, progress=moved)

    follower.run_started(start)


# Downloads


@contextmanager
def output_file(name: str | None) -> Iterator[BinaryIO]:
    """Open what a download is written to; a file gets its name when it is complete."""
    if name is None or name == STREAM:
        if name is None and sys.stdout.isatty():
            raise click.UsageError("give a file with -o; -o - writes to the terminal")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    goal = Path(name)
    part = goal.with_name(f".{goal.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(goal)
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


@click.command(cls=ParamCommand, short_help="Start a job and download its output.")
@click.argument("method")
@click.argument("args", nargs=-1)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="File to write; standard output without it, or with -.",
)
@click.option(
    "--buffered",
    is_flag=True,
    help="Let the server keep it in a file; a broken connection is made good.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@connection_options()
@click.pass_obj
def download(
    target: Target,
    method: str,
    args: tuple[str, ...],
    *,
    output: str | None,
    buffered: bool,
    quiet: bool,
) -> None:
    """Call METHOD, a job that gives a download, with ARGS, and write its output.

    The file appears under its name when it is complete. The exit code is that of the
    job.

    \b
    middlewared download demo.stream 1000000 -o random.bin
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    params = parse_params(args)

    async def body(client: "Client") -> None:
        name = Path(output or method).name
        filename = name.encode(errors="replace").decode()  # may be bytes, no text
        silent = quiet or target.as_json
        opened = client.download(method, *params, filename=filename, buffered=buffered)
        with (
            output_file(output) as file,
            transfer_bar(method, None, quiet=silent) as moved,
        ):
            async with opened as found:
                async for data in found:
                    file.write(data)
                    moved(found.received)

    target.run(body)
