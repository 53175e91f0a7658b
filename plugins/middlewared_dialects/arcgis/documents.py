"""The documents of the ArcGIS Mission dialect, and what they say of a job."""

from typing import Any

import msgspec

from middlewared_dialects.arcgis.publication import ArcgisPublication
from middlewared_dialects.vocabulary import words_of
from middlewared_jobs import JobRecord, State

__all__ = [
    "Failed",
    "JobDocument",
    "RootDocument",
    "failed",
    "job_id_of",
    "job_of",
    "root_of",
]

#: Text of a job that was cancelled, after its own messages.
CANCELLED = "Job was cancelled."
#: Code of a message that has none.
NO_CODE = 0


class JobDocument(msgspec.Struct, rename="camel"):
    """A job.

    Attributes:
        job_id: ``j`` and a uuid.
        messages: texts, in order.
        start_time: milliseconds since 1970-01-01 UTC.
        end_time: the same; 0 before the end.
        type: the operation.
        status: SUBMITTED, PROCESSING, COMPLETED or FAILED.
        username: who started it.
        custom_attributes: steps, whether it was cancelled, codes parallel to the
            messages, and what its method adds.
    """

    job_id: str
    messages: list[str]
    start_time: int
    end_time: int
    type: str
    status: str
    username: str
    custom_attributes: dict[str, Any]


class AuthInfo(msgspec.Struct, rename="camel"):
    """How to get a token."""

    token_services_url: str
    is_token_based_security: bool = True


class RootDocument(msgspec.Struct, rename="camel"):
    """The root of the server."""

    owning_system_url: str
    full_version: str
    current_version: float
    auth_info: AuthInfo


class Reason(msgspec.Struct):
    """Why a request was refused."""

    code: int
    message: str
    details: list[str] = []


class Failed(msgspec.Struct):
    """An error; its HTTP status is 200."""

    error: Reason


def failed(code: int, message: str, details: list[str] | None = None) -> Failed:
    """Give an error document."""
    return Failed(Reason(code, message, details or []))


def root_of(base: str) -> RootDocument:
    """Give the root document of a server at a URL."""
    info = AuthInfo(f"{base}/arcgis/rest/generateToken")
    return RootDocument(f"{base}/arcgis", "10.8.1", 10.8, info)


def job_id_of(record: JobRecord) -> str:
    """Give the id of a job."""
    return f"j{record.uid}"


def job_of(record: JobRecord, options: ArcgisPublication) -> JobDocument:
    """Give the document of a job."""
    words, shown = words_of(record).arcgis, record.credentials
    texts = [message.text for message in record.messages]
    codes = [_code(message.code) for message in record.messages]
    last = CANCELLED if record.state is State.ABORTED else record.error
    if last is not None:
        texts.append(last)
        codes.append(NO_CODE)
    done = sum(step.state is State.SUCCESS for step in record.steps)
    if not record.steps:
        done = int(record.state is State.SUCCESS)
    return JobDocument(
        job_id=job_id_of(record),
        messages=texts,
        start_time=(record.time_started or record.time_created).ms,
        end_time=0 if record.time_finished is None else record.time_finished.ms,
        type=options.type,
        status=words.status,
        username="system" if shown is None else shown.data.username,
        custom_attributes={
            "stepsCompleted": done,
            "isCancelled": words.is_cancelled,
            **record.attributes,
            "messageCodes": codes,
            "totalSteps": len(record.steps) or 1,
        },
    )


def _code(code: int | str | None) -> int:
    return code if isinstance(code, int) else NO_CODE
