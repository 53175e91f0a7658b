"""One wish for a job: the method and its params, who asks, and who wants to know."""

import errno
from collections.abc import Callable
from typing import Any

import msgspec

from middlewared import CallError, Credentials
from middlewared.call import Call
from middlewared.plugin import Method
from middlewared.session import ClientSession
from middlewared_jobs.current_job import JobContext
from middlewared_jobs.options import DEFAULT, JobOptions
from middlewared_jobs.plumbing import Plumbing
from middlewared_jobs.record import JobRecord
from middlewared_jobs.run import Run

__all__ = ["NotAccepted", "Submission", "submission_of"]

UNSET = msgspec.UNSET


def _nobody(_: Any) -> None:
    """Stand in for a listener."""


class NotAccepted(CallError):
    """No job is accepted at all: too many wait, or the server stops or is drained."""

    def __init__(self, text: str) -> None:
        super().__init__(text, errno.EBUSY)


class Submission(msgspec.Struct, eq=False):
    """A wish for a job, until there is one.

    Attributes:
        method: the job method.
        values: bound params.
        credentials: who asks, and whose job it becomes.
        options: what the caller chose.
        session: the connection that asks, None inside the server.
        message_id: id of the request, unset when there is none.
        parent: the job whose body asks.
        schedule: the schedule that asks.
        restarts: the ended job that this one goes on with.
        plumbing: its pipes, None when it has none.
        accepted: called with the run once its row is committed and announced.
        refused: called when it could not be written.
    """

    method: Method
    values: list[Any]
    credentials: Credentials | None
    options: JobOptions = DEFAULT
    session: ClientSession | None = None
    message_id: Any = UNSET
    parent: int | None = None
    schedule: int | None = None
    restarts: JobRecord | None = None
    plumbing: Plumbing | None = None
    accepted: Callable[[Run], None] = _nobody
    refused: Callable[[Exception], None] = _nobody


def submission_of(call: Call) -> Submission:
    """Give the wish that a call of a job method is."""
    context = call.context
    return Submission(
        call.method,
        call.values,
        call.credentials,
        session=call.session,
        message_id=call.message_id,
        parent=context.job if isinstance(context, JobContext) else None,
    )
