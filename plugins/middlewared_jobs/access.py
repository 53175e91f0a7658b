"""Who may see a job, and who may abort it (protocol page, 5.6)."""

import errno

from middlewared import CallError, Context, Credentials, ValidationError
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared_jobs.record import JobRecord
from middlewared_jobs.spec import JobFunction
from middlewared_jobs.store import Viewer

__all__ = ["check_own", "check_readable", "no_such_job", "read_roles", "viewer_of"]


def read_roles(method: Method | None) -> frozenset[str]:
    """Give the roles whose holders may see the jobs of others of a method."""
    if method is None or not isinstance(method.deferred, JobFunction):
        return frozenset()
    return method.deferred.spec.read_roles


def viewer_of(ctx: Context) -> Viewer | None:
    """Say whose jobs the caller sees; None for all."""
    who = ctx.credentials
    if who is None:
        return Viewer(None)
    if who.reads_all:
        return None
    readable = frozenset(
        name
        for name, method in ctx.get(Registry).methods.items()
        if who.has_any(read_roles(method))
    )
    return Viewer(who.account_id, readable)


def no_such_job(number: int) -> ValidationError:
    """Build the error for an id that names no job."""
    return ValidationError(None, f"Job with id {number} does not exist", errno.ENOENT)


def _not_owned(record: JobRecord) -> CallError:
    if record.owner is None:
        return CallError(
            "Only users with full administrative privileges can access internally "
            "ran jobs",
            errno.EPERM,
        )
    return CallError("Job is not owned by current session", errno.EPERM)


def check_readable(ctx: Context, record: JobRecord) -> None:
    """Let whoever may see the job pass.

    Raises:
        CallError: EPERM.
    """
    viewer = viewer_of(ctx)
    if viewer is not None and not viewer.sees(record):
        raise _not_owned(record)


def check_own(who: Credentials | None, record: JobRecord) -> None:
    """Let the owner and full admins pass.

    Raises:
        CallError: EPERM.
    """
    own = who is not None and record.owner is not None
    if who is not None and who.full_admin:
        return
    if not (own and who is not None and record.owner == who.account_id):
        raise _not_owned(record)
