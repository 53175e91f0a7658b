"""The methods of ``job`` that start jobs and change what becomes of them."""

import errno
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from middlewared import CallError, Context, Example, Plugin, ValidationError, ejson
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared.results import holds_secret
from middlewared.session import ClientSession
from middlewared_jobs.access import check_own, no_such_job
from middlewared_jobs.current_job import JobContext
from middlewared_jobs.declared import spec_of
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.methods import find_job
from middlewared_jobs.notes import ItemError
from middlewared_jobs.options import DEFAULT, JobOptions, JobUpdate
from middlewared_jobs.record import JobRecord
from middlewared_jobs.restarting import check_restart
from middlewared_jobs.spec import JobFunction
from middlewared_jobs.submission import Submission

__all__ = ["AgainOptions", "add_control_methods", "submit"]

MAX_ITEM_ERRORS = 10_000


class AgainOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of ``job.retry`` and ``job.restart``.

    Attributes:
        params: by name, in the place of those that the job had; its secrets, which
            are not kept, have to be given again.
        key: see `JobOptions`.
        priority: see `JobOptions`.
    """

    params: dict[str, Any] = {}
    key: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    priority: Annotated[int, Meta(ge=-1000, le=1000)] | None = None


class ItemErrorsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of ``job.item_errors``.

    Attributes:
        offset: how many to leave out at the start.
        limit: how many to give at most.
    """

    offset: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_ITEM_ERRORS)] = 1000


def find_job_method(ctx: Context, name: str) -> Method:
    """Give a job method that the caller may call.

    Raises:
        ValidationError: ENOENT, there is no such method; EINVAL, it is no job method.
        CallError: EACCES, the caller may not call it.
    """
    method = ctx.get(Registry).methods.get(name)
    if method is None:
        raise ValidationError("method", f"Method {name!r} does not exist", errno.ENOENT)
    if not isinstance(method.deferred, JobFunction):
        raise ValidationError("method", f"{name} is no job method")
    method.access.check(ctx.credentials)
    return method


async def submit(
    ctx: Context,
    name: str,
    params: list[Any] | dict[str, Any],
    options: JobOptions = DEFAULT,
) -> JobRecord:
    """Start a job in the name of a caller; its record is committed.

    Raises:
        ValidationError: there is no such job method, or the params do not fit.
        CallError: the caller may not, or the job is refused.
    """
    method = find_job_method(ctx, name)
    args, named = (params, {}) if isinstance(params, list) else ([], params)
    values = method.params.bind(args, named)
    return await ctx.get(Jobs).submit(_wish(ctx, method, values, options))


def _wish(
    ctx: Context,
    method: Method,
    values: list[Any],
    options: JobOptions,
    restarts: JobRecord | None = None,
) -> Submission:
    return Submission(
        method,
        values,
        ctx.credentials,
        options=options,
        session=ctx.session if isinstance(ctx.session, ClientSession) else None,
        parent=ctx.job if isinstance(ctx, JobContext) else None,
        restarts=restarts,
    )


def _values_again(
    method: Method, record: JobRecord, given: dict[str, Any]
) -> list[Any]:
    """Bind the params that an ended job had, with others in their place.

    Raises:
        ValidationErrors: they do not fit any more, or a secret is missing.
    """
    names = method.params.names
    before = dict(zip(names, msgspec.json.decode(record.arguments), strict=False))
    for name, kind in zip(names, method.params.types, strict=True):
        secret = holds_secret(kind) or _was_redacted(method, before.get(name))
        if name in before and name not in given and secret:
            raise ValidationError(
                name,
                f"The secret of job {record.id} is not kept, give it again: "
                f'{{"params": {{"{name}": ...}}}}',
                errno.ENOKEY,
            )
    return method.params.bind([], before | given)


def _was_redacted(method: Method, value: Any) -> bool:
    """Tell whether a value is shown without what was secret in it (`JobSpec.show`)."""
    if spec_of(method).show is None:
        return False
    return ejson.REDACTED.encode() in msgspec.json.encode(value)


async def _find_own(ctx: Context, number: int) -> JobRecord:
    record = await ctx.get(Jobs).get(number)
    if record is None:
        raise no_such_job(number)
    check_own(ctx.credentials, record)
    return record


def add_control_methods(plugin: Plugin) -> None:
    """Declare the methods on the plugin."""
    _add_starts(plugin)
    _add_pauses(plugin)
    _add_record(plugin)


def _add_starts(plugin: Plugin) -> None:
    @plugin.method(
        namespace="job",
        authenticated=True,
        name="submit",
        examples=[
            Example(
                "safe to repeat",
                [
                    "demo.checksum",
                    ["/usr/lib/python3"],
                    {"key": "nightly-2027-01-31", "priority": 10},
                ],
            )
        ],
    )
    async def submit_job(
        ctx: Context,
        method: str,
        params: list[Any] | dict[str, Any] = [],  # noqa: B006 - never changed
        options: JobOptions = DEFAULT,
    ) -> int:
        """Start a job with options of the caller's choice, and return its id.

        Needs the rights that calling the method needs. The id is returned once the job
        is on disk, in both answer styles; ``core.job_wait`` waits for its end. With a
        ``key`` the call is safe to repeat: it returns the same job.
        """
        return (await submit(ctx, method, params, options)).id

    @plugin.method(
        namespace="job", authenticated=True, examples=[Example("run job 4 again", [4])]
    )
    async def retry(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        options: AgainOptions = AgainOptions(),  # noqa: B008 - frozen
    ) -> int:
        """Start a new job like one that has ended, from its beginning.

        Returns the id of the new job. Own jobs only, any for full admins; the new job
        is the caller's.
        """
        record = await _find_own(ctx, id)
        if not record.final:
            raise CallError(
                f"Job {id} is {record.state}, expected one that has ended", errno.EBUSY
            )
        return await _again(ctx, record, options)

    @plugin.method(
        namespace="job",
        authenticated=True,
        examples=[Example("go on with job 4 where it failed", [4])],
    )
    async def restart(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        options: AgainOptions = AgainOptions(),  # noqa: B008 - frozen
    ) -> int:
        """Go on with a job that failed or was aborted, as a new job of its instance.

        Steps that succeeded are not run again, and the body goes on from its last
        checkpoint. Returns the id of the new job. Its method has to be ``restartable``,
        and the job the last one of its instance.
        """
        record = await _find_own(ctx, id)
        # One at a time, so that a second call sees the job that a first one made.
        async with ctx.get(Jobs).restarting:
            if not await _has_restarted(ctx, record, options.key):
                await check_restart(ctx, record)
            return await _again(ctx, record, options, restarts=record)


async def _has_restarted(ctx: Context, record: JobRecord, key: str | None) -> bool:
    """Tell whether an earlier call with the key went on with the job."""
    if key is None:
        return False
    found = await ctx.get(Jobs).find_key(ctx.credentials, record.method, key)
    return found is not None and found.restart_of == record.id


async def _again(
    ctx: Context,
    record: JobRecord,
    options: AgainOptions,
    restarts: JobRecord | None = None,
) -> int:
    method = find_job_method(ctx, record.method)
    values = _values_again(method, record, options.params)
    chosen = JobOptions(
        key=options.key,
        priority=record.priority if options.priority is None else options.priority,
        timeout=record.timeout,
        retries=record.retries,
        tracking_id=record.tracking_id,
        app_id=record.app_id,
        source_customer=record.source_customer,
        target_customer=record.target_customer,
        scopes=record.scopes or None,
    )
    wish = _wish(ctx, method, values, chosen, restarts)
    return (await ctx.get(Jobs).submit(wish)).id


def _add_pauses(plugin: Plugin) -> None:
    @plugin.method(
        namespace="job", authenticated=True, examples=[Example("hold job 4", [4])]
    )
    async def pause(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
    ) -> None:
        """Let a running job wait before its next step; it keeps its lock meanwhile.

        Its method has to be ``pausable``. The phase is pausing until the body gets
        there, then paused.
        """
        record = await _find_own(ctx, id)
        jobs = ctx.get(Jobs)
        run = jobs.live.get(id)
        if run is None:
            raise CallError(f"Job {id} is {record.state}, it has ended", errno.EBUSY)
        jobs.pause(run)

    @plugin.method(
        namespace="job", authenticated=True, examples=[Example("let job 4 go on", [4])]
    )
    async def resume(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
    ) -> None:
        """Let a paused job go on."""
        record = await _find_own(ctx, id)
        jobs = ctx.get(Jobs)
        run = jobs.live.get(id)
        if run is None:
            raise CallError(f"Job {id} is {record.state}, it has ended", errno.EBUSY)
        jobs.unpause(run)


def _add_record(plugin: Plugin) -> None:
    @plugin.method(namespace="core")
    async def job_update(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        update: JobUpdate,
    ) -> None:
        """Set progress or description of a running job, in the place of its body."""
        record = await find_job(ctx, id)
        jobs = ctx.get(Jobs)
        run = jobs.live.get(id)
        if run is None:
            raise CallError(f"Job {id} is {record.state}, it has ended", errno.EBUSY)
        jobs.update(run, update)

    @plugin.method(
        namespace="job", authenticated=True, examples=[Example("forget job 4", [4])]
    )
    async def delete(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
    ) -> None:
        """Remove a job that has ended from history, with its log."""
        await ctx.get(Jobs).delete(await _find_own(ctx, id))

    @plugin.method(
        namespace="job",
        authenticated=True,
        read_only=True,
        examples=[Example("what job 4 could not do", [4])],
    )
    async def item_errors(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        options: ItemErrorsOptions = ItemErrorsOptions(),  # noqa: B008 - frozen
    ) -> list[ItemError]:
        """List the items that a job could not do, in the order they failed.

        Those of a running job appear within ``progress_interval`` seconds.
        """
        await find_job(ctx, id)
        jobs = ctx.get(Jobs)
        return list(await jobs.item_errors(id, options.offset, options.limit))
