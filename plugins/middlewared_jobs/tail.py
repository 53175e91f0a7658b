"""The live tail of a job's log, as a collection with arguments."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from middlewared import Context, Plugin
from middlewared_jobs.joblog import log_size, read_chunk
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.methods import find_job

__all__ = ["LogTail", "LogText", "add_tail"]

#: Seconds between two looks at a log: children write to it without telling us.
LOOK_SECONDS = 0.1
CHUNK = 64 * 1024
#: Bytes shown of what is there already, when no offset is asked for.
RECENT = 4096


class LogTail(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``job.logs``.

    Attributes:
        id: the job.
        offset: first byte wanted; null for the last lines and what follows.
    """

    id: int
    offset: int | None = None


class LogText(msgspec.Struct):
    """A piece of a job's log.

    Attributes:
        id: the job.
        offset: where the next piece starts, bytes.
        data: the text.
    """

    id: int
    offset: int
    data: str


def _recent(path: Path) -> int:
    """Find the start of the last lines of a log."""
    size = log_size(path)
    if size <= RECENT:
        return 0
    data = read_chunk(path, size - RECENT, RECENT)
    return size - RECENT + data.find(b"\n") + 1


def add_tail(plugin: Plugin) -> None:
    """Declare the collection on the plugin."""

    @plugin.source("job.logs", arguments=LogTail, item=LogText, authenticated=True)
    async def job_logs(ctx: Context, arguments: LogTail) -> AsyncIterator[LogText]:
        """What a job writes to its log; ends when the job has ended and all is sent."""
        number, offset = arguments.id, arguments.offset
        jobs = ctx.get(Jobs)
        while True:
            record = await find_job(ctx, number)
            final = record.final or number not in jobs.live
            if record.logs_path is not None:
                path = Path(record.logs_path)
                if offset is None:
                    offset = await anyio.to_thread.run_sync(_recent, path)
                while log_size(path) > offset:
                    read = partial(read_chunk, path, offset, CHUNK, growing=not final)
                    data = await anyio.to_thread.run_sync(read)
                    if not data:
                        break
                    offset += len(data)
                    yield LogText(number, offset, data.decode(errors="replace"))
            if final:
                return
            # Polled, since nothing tells when a child wrote to the file.
            await anyio.sleep(LOOK_SECONDS)
