"""The methods of ``core`` and ``job`` that are about jobs."""

import errno
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from middlewared import CallError, Context, Example, Plugin, Secret
from middlewared.filters import QueryOptions, parse_filters
from middlewared_jobs.access import (
    check_own,
    check_readable,
    no_such_job,
    viewer_of,
)
from middlewared_jobs.current_job import Job
from middlewared_jobs.decorator import job
from middlewared_jobs.download import KeptFile, KeptResult
from middlewared_jobs.downloads import ONCE_SECONDS, Downloads
from middlewared_jobs.jobfiles import JobFiles
from middlewared_jobs.joblog import log_size, read_chunk
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.outcome import TOO_LARGE, encoding_error
from middlewared_jobs.record import JobRecord
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.spec import as_helper
from middlewared_jobs.states import State
from middlewared_jobs.succeeding import check_succeeded
from middlewared_jobs.views import ITEM, RECORD

__all__ = ["add_methods", "find_job"]

MAX_READ = 1 << 20


class AbortOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Options of ``job.abort``.

    Attributes:
        force: abort a running job even when its method is not abortable; full admins.
    """

    force: bool = False


class LogChunk(msgspec.Struct):
    """A piece of a job's log.

    Attributes:
        data: the text.
        offset: where the next piece starts, bytes.
        size: bytes the log has by now.
        final: the job has ended, the log grows no more.
    """

    data: str
    offset: int
    size: int
    final: bool


async def find_job(ctx: Context, number: int) -> JobRecord:
    """Give a job that the caller may see.

    Raises:
        ValidationError: ENOENT, there is none.
        CallError: EPERM, it belongs to somebody else.
    """
    record = await ctx.get(Jobs).get(number)
    if record is None:
        raise no_such_job(number)
    check_readable(ctx, record)
    return record


def log_path(record: JobRecord) -> Path:
    """Give the file of a job's log.

    Raises:
        CallError: the job has none.
    """
    if record.logs_path is None:
        raise CallError("This job has no logs")
    return Path(record.logs_path)


async def _abort(ctx: Context, number: int, *, force: bool) -> None:
    jobs = ctx.get(Jobs)
    record = await jobs.get(number)
    if record is None:
        raise no_such_job(number)
    who = ctx.credentials
    check_own(who, record)
    run = jobs.live.get(number)
    if run is not None and who is not None:
        jobs.abort(run, who.username, force=force and who.full_admin)
        # A crash after the answer must not let the job run again.
        await jobs.wait_written()


def add_methods(plugin: Plugin) -> None:
    """Declare the methods on the plugin."""
    _add_queries(plugin)
    _add_control(plugin)
    _add_logs(plugin)
    _add_result(plugin)


def _add_queries(plugin: Plugin) -> None:
    @plugin.method(
        namespace="core",
        authenticated=True,
        read_only=True,
        examples=[
            Example(
                "the newest failures",
                [[["state", "=", "FAILED"]], {"order_by": ["-id"], "limit": 30}],
            ),
            Example(
                "how many run",
                {"filters": [["state", "=", "RUNNING"]], "options": {"count": True}},
                3,
            ),
        ],
    )
    async def get_jobs(
        ctx: Context,
        filters: list[Any] = [],  # noqa: B006 - never changed
        options: QueryOptions = QueryOptions(),  # noqa: B008 - frozen
    ) -> Any:
        """Query jobs: unfinished ones and the whole history, ascending by id.

        Callers without full administrative rights see their own jobs, and those of
        methods that they hold a read role of. Without a limit the newest 1000 matches
        are returned. Secrets in arguments and results are redacted.
        """
        parsed = parse_filters(filters)
        history = ctx.get(Jobs).history
        return await history.query(parsed, options, ITEM, viewer_of(ctx))

    @plugin.method(
        namespace="job",
        authenticated=True,
        read_only=True,
        examples=[
            Example(
                "one method, some keys",
                [
                    [["method", "=", "demo.checksum"]],
                    {"select": ["id", "state", "attempt"]},
                ],
                [{"id": 4, "state": "SUCCESS", "attempt": 1}],
            )
        ],
    )
    async def query(
        ctx: Context,
        filters: list[Any] = [],  # noqa: B006 - never changed
        options: QueryOptions = QueryOptions(),  # noqa: B008 - frozen
    ) -> Any:
        """Query jobs like ``core.get_jobs``, with every key of the record."""
        parsed = parse_filters(filters)
        history = ctx.get(Jobs).history
        return await history.query(parsed, options, RECORD, viewer_of(ctx))

    @plugin.method(
        namespace="job",
        authenticated=True,
        read_only=True,
        examples=[Example("job 4", [4])],
    )
    async def get(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
    ) -> JobRecord:
        """Return everything known of one job."""
        return await find_job(ctx, id)


def _add_control(plugin: Plugin) -> None:
    @plugin.method(
        namespace="core",
        authenticated=True,
        read_only=True,
        examples=[Example("the result of job 4", [4])],
    )
    @as_helper
    @job(transient=True, abortable=True, description="Wait for job {id}")
    async def job_wait(
        job: Job,
        id: int,  # noqa: A002 - the wire's word
    ) -> msgspec.Raw | Secret[msgspec.Raw]:
        """Wait for a job and return its result, or fail as it did.

        Itself a transient job. An aborted job is an error, ECANCELED. Secrets in the
        result are clear for the owner who waits while the job has not ended.
        """
        await find_job(job.context, id)
        jobs = job.context.get(Jobs)
        run = jobs.live.get(id)
        record = await jobs.wait_for(jobs.live[job.id], id)
        if record is None:
            raise no_such_job(id)
        check_succeeded(record, run)
        if run is not None and run.clear is not None and run.method.results.secret:
            who = job.context.credentials
            if who is not None and record.owner == who.account_id:
                return Secret(msgspec.Raw(run.clear))
        return record.result

    @plugin.method(
        namespace="core", authenticated=True, examples=[Example("end job 4", [4], None)]
    )
    async def job_abort(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
    ) -> None:
        """Abort a job of one's own, any job for full admins.

        A waiting job is aborted at once. A running one is asked to end; its state
        becomes ABORTED only when it did. Nothing happens to a job that has ended.
        """
        await _abort(ctx, id, force=False)

    @plugin.method(
        namespace="job",
        authenticated=True,
        examples=[
            Example("end job 4, whatever its method says", [4, {"force": True}], None)
        ],
    )
    async def abort(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        options: AbortOptions = AbortOptions(),  # noqa: B008 - never changed
    ) -> None:
        """Abort a job like ``core.job_abort``.

        With ``force`` a full admin aborts a running job that is not abortable.
        """
        await _abort(ctx, id, force=options.force)


def _add_logs(plugin: Plugin) -> None:
    @plugin.method(
        namespace="core",
        authenticated=True,
        read_only=True,
        examples=[
            Example(
                "the log of job 4",
                [4, "4.log"],
                "/_download/4?auth_token=4SvDxbm0...",
            )
        ],
    )
    async def job_download_logs(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        filename: str,
        buffered: bool = False,
    ) -> str:
        """Return the path of a one-time download of a job's log, as it is by then.

        *buffered* is accepted for the reference clients; logs are files already.
        """
        record = await find_job(ctx, id)
        stall = ctx.get(JobSettings).transfer_stall
        log = KeptFile(
            id,
            log_path(record),
            filename,
            stall=stall,
            removed="Log file was removed",
        )
        return ctx.get(Downloads).offer(log, ctx, seconds=ONCE_SECONDS, output=False)

    @plugin.method(
        namespace="job",
        authenticated=True,
        read_only=True,
        examples=[
            Example(
                "from the start",
                {"id": 4},
                {
                    "data": "12:00:00 INFO 14 files\n",
                    "offset": 23,
                    "size": 23,
                    "final": True,
                },
            )
        ],
    )
    async def read_log(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        offset: int = 0,
        limit: int = 65536,
    ) -> LogChunk:
        """Read a piece of a job's log from a byte offset, at most 1 MiB."""
        if offset < 0 or not 0 < limit <= MAX_READ:
            raise CallError(
                f"offset is {offset} and limit is {limit}, expected an offset of at "
                f"least 0 and a limit from 1 to {MAX_READ}"
            )
        record = await find_job(ctx, id)
        path, final = log_path(record), record.final
        try:
            read = partial(read_chunk, path, offset, limit, growing=not final)
            data = await anyio.to_thread.run_sync(read)
        except FileNotFoundError:
            raise CallError("Log file was removed") from None
        return LogChunk(
            data.decode(errors="replace"), offset + len(data), log_size(path), final
        )


def _add_result(plugin: Plugin) -> None:
    @plugin.method(
        namespace="job",
        authenticated=True,
        read_only=True,
        examples=[
            Example("what job 4 returned", [4], "/_download/4?auth_token=4SvDxbm0...")
        ],
    )
    async def result(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        filename: str | None = None,
    ) -> str:
        """Return the path of a one-time download of what a job returned, as JSON.

        That is the way to a result over ``max_result``, which is in no item; it works
        for others, too. Secrets are redacted. The file is ``ID.json`` by default.
        """
        record = await find_job(ctx, id)
        if record.state is not State.SUCCESS:
            raise CallError(
                f"Job {id} is {record.state}, only one that succeeded has a result"
            )
        kept = _kept_result(ctx, record, filename or f"{id}.json")
        return ctx.get(Downloads).offer(kept, ctx, seconds=ONCE_SECONDS, output=False)


def _kept_result(
    ctx: Context, record: JobRecord, filename: str
) -> KeptFile | KeptResult:
    """Give the download of a result, from its file or from the record.

    Raises:
        CallError: ENOENT, it was not kept.
        InternalError: it could not be encoded.
    """
    failure = record.result_encoding_error
    if failure is None:
        return KeptResult(record.id, filename)
    if failure.type != TOO_LARGE:
        raise encoding_error(record)
    path = JobFiles(ctx.settings.data_path).result(record.id)
    if not path.is_file():
        raise CallError(f"Job {record.id}: {failure.repr}", errno.ENOENT)
    return KeptFile(
        record.id,
        path,
        filename,
        stall=ctx.get(JobSettings).transfer_stall,
        removed="The file of the result was removed",
    )
