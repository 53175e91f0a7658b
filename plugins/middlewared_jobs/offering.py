"""``core.download``: starts a job and offers its output for download."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import anyio.to_thread

from middlewared import Context, Example, Plugin
from middlewared_jobs.downloads import Downloads
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.outlet import Outlet
from middlewared_jobs.output import FileDownload, StreamDownload, Terms
from middlewared_jobs.plumbing import Plumbing
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.spool import Spool
from middlewared_jobs.starting import bind_job, start_job

__all__ = ["add_download"]


def _make_file(folder: Path) -> BinaryIO:
    """Make a file without a name: it goes with the server, whatever ends that."""
    folder.mkdir(mode=0o700, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder, buffering=0)


async def _make_spool(ctx: Context, outlet: Outlet) -> Spool:
    """Begin to keep an output in a file."""
    settings = ctx.get(JobSettings)
    folder = ctx.settings.data_path / "downloads"
    file = await anyio.to_thread.run_sync(_make_file, folder)
    spool = Spool(
        outlet, file, limit=settings.max_download, reserve=settings.disk_reserve
    )
    ctx.tasks.start(spool.keep(), name="spool of a download")
    return spool


def add_download(plugin: Plugin) -> None:
    """Declare the method on the plugin."""

    @plugin.method(
        namespace="core",
        authenticated=True,
        examples=[
            Example(
                "a million bytes",
                ["demo.stream", [1_000_000], "stream.bin"],
                [4, "/_download/4?auth_token=4SvDxbm0..."],
            )
        ],
    )
    async def download(
        ctx: Context,
        method: str,
        args: list[Any],
        filename: str,
        buffered: bool = False,
    ) -> tuple[int, str]:
        """Start a job that gives a download; return its id and where to fetch it.

        The job goes on as its client reads, and fails when nobody comes within a
        minute. A *buffered* one writes to a file, which can be fetched for an hour
        after the end of the job, more than once and in parts. A download is complete
        when the job has succeeded; a broken one is cut off.
        """
        bound, values = bind_job(ctx, method, args, "output")
        downloads, settings = ctx.get(Downloads), ctx.get(JobSettings)
        downloads.places.take()
        outlet, spool = Outlet(), None
        try:
            if buffered:
                spool = await _make_spool(ctx, outlet)
            plumbing = Plumbing(outlet=outlet, spool=spool)
            number = await start_job(ctx, bound, values, plumbing)
        except BaseException:
            downloads.places.give_back()
            raise
        give_back = downloads.places.give_back
        terms = Terms(
            ctx.get(Jobs), number, filename, settings.transfer_stall, give_back
        )
        if spool is None:
            stream = StreamDownload(terms, outlet)
            path = downloads.offer(
                stream, ctx, seconds=settings.download_wait, output=True
            )
        else:
            file = FileDownload(terms, spool)
            path = downloads.offer(file, ctx, seconds=None, output=True)
            withdraw = partial(downloads.withdraw_after, file, settings.download_keep)
            spool.on_ended(withdraw)
        return number, path
