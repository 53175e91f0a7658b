"""Starts jobs with pipes: for uploads and downloads."""

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from middlewared import Context, ValidationError
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared.session import ClientSession
from middlewared_jobs.current_job import JobContext
from middlewared_jobs.declared import spec_of
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.plumbing import Plumbing
from middlewared_jobs.submission import Submission

__all__ = ["UnfitMethod", "bind_job", "start_job"]


class UnfitMethod(ValidationError):
    """There is no such method, or its jobs have no such pipe."""

    def __init__(self, text: str, number: int = errno.EINVAL) -> None:
        super().__init__("method", text, number)


def bind_job(
    ctx: Context, name: str, params: Sequence[Any] | Mapping[str, Any], pipe: str
) -> tuple[Method, list[Any]]:
    """Find a method that has a pipe, and bind its params, as a call would.

    Args:
        ctx: who calls.
        name: full name of the method.
        params: plain values, by position or by name.
        pipe: ``input`` or ``output``.

    Raises:
        UnfitMethod: there is no such method, or it has no such pipe.
        CallError: EACCES, the caller may not call it.
        ValidationErrors: the params do not fit.
    """
    method = ctx.get(Registry).methods.get(name)
    if method is None:
        raise UnfitMethod(f"Method {name!r} does not exist", errno.ENOENT)
    method.access.check(ctx.credentials)
    if method.deferred is None or pipe not in spec_of(method).pipes:
        what = {"input": "takes no upload", "output": "gives no download"}[pipe]
        raise UnfitMethod(f"{name} {what}")
    if isinstance(params, Mapping):
        return method, method.params.bind([], dict(params))
    return method, method.params.bind(params, {})


async def start_job(
    ctx: Context, method: Method, values: list[Any], plumbing: Plumbing
) -> int:
    """Start a job with pipes and give its id, once it is committed and announced.

    Raises:
        CallError: it is refused; the pipes are closed then.
    """
    wish = Submission(
        method,
        values,
        ctx.credentials,
        session=ctx.session if isinstance(ctx.session, ClientSession) else None,
        parent=ctx.job if isinstance(ctx, JobContext) else None,
        plumbing=plumbing,
    )
    try:
        return (await ctx.get(Jobs).submit(wish)).id
    except BaseException:
        plumbing.close_body_ends()
        plumbing.cut("there is no job")
        raise
