"""The faults of the OCAPI dialect: types, arguments and statuses."""

from middlewared_dialects.ocapi.documents import VERSION, Document
from middlewared_dialects.problems import (
    STATUS,
    DialectError,
    Problem,
    problem_of,
    sentence_of,
)

__all__ = [
    "Fault",
    "execution_not_found",
    "fault_document",
    "fault_of",
    "job_fault",
    "job_not_found",
    "malformed",
]


class Fault(Exception):
    """A request that is refused.

    Args:
        status: of the answer.
        type: of the fault.
        message: for people.
        arguments: by name, as texts.
    """

    def __init__(self, status: int, type: str, message: str, **arguments: str) -> None:  # noqa: A002 - the wire's word
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message
        self.arguments = arguments
        #: Seconds after which it may be tried again, None when unknown.
        self.retry_after: int | None = None


def job_not_found(job_id: str) -> Fault:
    """There is no such job."""
    text = f"No job with ID '{job_id}' found."
    return Fault(404, "JobNotFoundException", text, jobId=job_id)


def execution_not_found(number: str) -> Fault:
    """There is no such execution, or no such job."""
    text = f"No Job execution with id '{number}' was found."
    return Fault(404, "JobExecutionNotFoundException", text, executionId=number)


def malformed(parameter: str, value: str, expected: str) -> Fault:
    """A parameter of the query has a wrong value."""
    text = f"Parameter '{parameter}' is '{value}', expected {expected}."
    kind = "MalformedParameterException"
    return Fault(400, kind, text, parameter=parameter, value=value)


def job_fault(exc: Exception, job_id: str, status: int = 400) -> Fault:
    """Say why a job could not be executed.

    Args:
        exc: what the job manager said.
        job_id: the job.
        status: of the answer when it could not be executed for another reason.
    """
    problem, text = problem_of(exc), sentence_of(exc)
    match problem:
        case Problem.BUSY:
            text = f"Job with id '{job_id}' is already running."
            return Fault(400, "JobAlreadyRunningException", text, jobId=job_id)
        case Problem.INVALID:
            kind = "JobInvalidException"
            return Fault(400, kind, text, jobId=job_id, cause=text)
        case Problem.NOT_RESTARTABLE:
            return Fault(400, "JobNotRestartableException", text, jobId=job_id)
        case Problem.NO_RESTART:
            return Fault(400, "JobRestartException", text, jobId=job_id)
        case Problem.UNAVAILABLE | Problem.INTERNAL:
            text = f"Job with id '{job_id}' could not be executed."
            return Fault(status, "JobExecutionException", text, jobId=job_id)
        case _:
            return fault_of(exc)


_TYPES = {
    Problem.UNAUTHENTICATED: "InvalidAccessTokenException",
    Problem.FORBIDDEN: "ClientAccessForbiddenException",
    Problem.NOT_FOUND: "NotFoundException",
    Problem.INVALID: "BodyDecodingException",
    Problem.TOO_MANY: "TooManyRequestsException",
    Problem.BUSY: "ResourceStateConflictException",
}


def fault_of(exc: Exception) -> Fault:
    """Give the fault of a refusal that is not about executing a job."""
    if isinstance(exc, Fault):
        return exc
    problem = problem_of(exc)
    kind = _TYPES.get(problem)
    if kind is None:
        return Fault(500, "InternalServerErrorException", sentence_of(exc))
    fault = Fault(STATUS[problem], kind, sentence_of(exc))
    fault.retry_after = exc.retry_after if isinstance(exc, DialectError) else None
    return fault


def fault_document(fault: Fault) -> Document:
    """Give the document of a fault."""
    return {
        "_v": VERSION,
        "fault": {
            "arguments": dict(fault.arguments),
            "type": fault.type,
            "message": fault.message,
        },
    }
