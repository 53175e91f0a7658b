"""One wish for a job: the method and its params, who asks, and who wants to know."""

import errno
from typing import Any, Protocol

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

__all__ = ["Asker", "NotAccepted", "Submission", "submission_of"]

UNSET = msgspec.UNSET


class Asker(Protocol):
    """Who wants to know what becomes of a wish; it does not hold the wish."""

    def accepted(self, wish: "Submission", run: Run) -> None:
        """Hear of the job: its row is committed and announced."""
        ...

    def refused(self, exc: Exception) -> None:
        """Hear that it could not be written."""
        ...


class _Nobody(Asker):
    """Stands in for an asker."""

    def accepted(self, wish: "Submission", run: Run) -> None:
        """Do nothing."""

    def refused(self, exc: Exception) -> None:
        """Do nothing."""


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
        asker: who wants to know.
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
    asker: Asker = _Nobody()


def submission_of(call: Call, asker: Asker) -> Submission:
    """Give the wish that a call of a job method is."""
    context = call.context
    return Submission(
        call.method,
        call.values,
        call.credentials,
        session=call.session,
        message_id=call.message_id,
        parent=context.job if isinstance(context, JobContext) else None,
        asker=asker,
    )
