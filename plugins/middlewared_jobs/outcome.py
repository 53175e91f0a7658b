"""How a body ended, and what of it goes into the record."""

import errno
from typing import Any

import msgspec

from middlewared import CallError, Date, ValidationError, ValidationErrors, ejson
from middlewared.errors import InternalError, traceback_text, validation_extra
from middlewared.results import Results
from middlewared_jobs.exits import close_steps
from middlewared_jobs.notes import Exit
from middlewared_jobs.phase import Phase
from middlewared_jobs.record import (
    AT_FIRST,
    AT_LAST,
    Attempt,
    CoreGetJobsItemExcInfo,
    EncodingFailure,
    JobRecord,
)
from middlewared_jobs.remote import plain
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.states import State, check_move
from middlewared_jobs.texts import check_opaque, sendable, sendable_repr

__all__ = [
    "TOO_LARGE",
    "EncodedResult",
    "JobFailed",
    "ServerStopped",
    "WorkerLost",
    "abort_error",
    "encode_large_result",
    "encode_result",
    "encoding_error",
    "rebuild_error",
    "record_aborted",
    "record_attempt",
    "record_failure",
    "record_success",
]


# Looking a member up in its enum takes 0.1 us.
SUCCESS, ABORTED, FINISHED = State.SUCCESS, State.ABORTED, Phase.FINISHED

#: Attempts that a record keeps, the newest.
MAX_ATTEMPTS = 100
#: Type of the encoding error of a result over ``max_result``.
TOO_LARGE = "TooLarge"


class WorkerLost(Exception):
    """The process that ran the job died: the server, or the job's own child."""


class ServerStopped(Exception):
    """The server stopped and the job did not end in its time."""


class JobFailed(CallError):
    """A job that somebody waited for failed; the text is the job's error."""

    def __init__(self, text: str, number: int, extra: Any = None) -> None:
        super().__init__(text, number, extra)

    def __str__(self) -> str:
        return self.text


def _end(record: JobRecord, state: State, now: int) -> None:
    check_move(record.state, state)
    record.state = state
    record.phase = Phase.ABORTED if state is ABORTED else FINISHED
    record.time_finished = Date(now)
    if record.run_at is not None:  # to set a field takes longer than to look
        record.run_at = None


class EncodedResult(msgspec.Struct, frozen=True):
    """A result in the forms that are kept and sent.

    Attributes:
        shown: secrets redacted; None when it cannot be shown.
        clear: with its secrets.
        failure: why it cannot be shown.
        large: what could be shown, secrets redacted, if it were not too large; pieces.
    """

    shown: bytes | None
    clear: bytes | None
    failure: EncodingFailure | None
    large: list[bytes] | None = None


def encode_result(value: Any, results: Results, limit: int) -> EncodedResult:
    """Encode what a body returned; what has no form fails no job.

    Args:
        value: what it returned.
        results: encoder of its method.
        limit: bytes that a result may have.
    """
    try:
        shown = results.encode(value, clear=False)
        clear = results.encode(value) if results.secret else shown
        if results.opaque:
            check_opaque(shown)
    except ejson.EncodingError as exc:
        return _unencodable(exc)
    if len(clear) > limit:
        return _measured([shown], [clear], limit)
    return EncodedResult(shown, clear, None)


def encode_large_result(value: Any, results: Results, limit: int) -> EncodedResult:
    """Do what `encode_result` does, in a thread, while others have their turn."""
    try:
        shown = results.encode_in_pieces(value, clear=False)
        clear = results.encode_in_pieces(value) if results.secret else shown
        if results.opaque:
            check_opaque(b"".join(shown))
    except ejson.EncodingError as exc:
        return _unencodable(exc)
    except RuntimeError:  # something changed it meanwhile: at one go, then
        return encode_result(value, results, limit)
    return _measured(shown, clear, limit)


def _unencodable(exc: ejson.EncodingError) -> EncodedResult:
    return EncodedResult(None, None, EncodingFailure(type(exc).__name__, repr(exc)))


def _measured(shown: list[bytes], clear: list[bytes], limit: int) -> EncodedResult:
    size = sum(map(len, clear))
    if size > limit:
        text = f"the result has {size} bytes, the limit max_result is {limit}"
        return EncodedResult(None, None, EncodingFailure(TOO_LARGE, text), shown)
    whole = b"".join(shown)
    return EncodedResult(whole, whole if clear is shown else b"".join(clear), None)


def record_success(
    record: JobRecord, result: EncodedResult, exit_: Exit, now: int
) -> None:
    """End a job with its result."""
    progress = record.progress
    record.exit = exit_
    if record.steps:
        close_steps(record, SUCCESS, exit_, now)
    if progress is AT_FIRST:
        record.progress = AT_LAST
    else:
        record.progress = msgspec.structs.replace(progress, percent=100)
    if result.failure is not None:
        record.result_encoding_error = result.failure
    if result.shown is not None:
        record.result = msgspec.Raw(result.shown)
    _end(record, SUCCESS, now)


def record_failure(
    record: JobRecord, exc: BaseException, settings: JobSettings, now: int
) -> None:
    """End a job with what its body raised."""
    record.error, record.exception, record.exc_info = _failure(exc, settings)
    record.exit = Exit("FAILED", "ERROR", record.error)
    close_steps(record, State.FAILED, record.exit, now)
    _end(record, State.FAILED, now)


def _failure(
    exc: BaseException, settings: JobSettings
) -> tuple[str, str, CoreGetJobsItemExcInfo]:
    text = traceback_text(exc)
    if len(text) > settings.max_exception:
        text = "...\n" + text[-settings.max_exception :]
    return sendable(exc) or sendable_repr(exc), sendable(text), _exc_info(exc)


def record_attempt(
    record: JobRecord,
    exc: BaseException,
    settings: JobSettings,
    started: Date | None,
    now: int,
    log: tuple[int, int] = (0, 0),
) -> None:
    """Keep how an attempt failed that another one follows.

    Args:
        record: the job.
        exc: what failed it.
        settings: how much of the traceback is kept.
        started: when it began.
        now: when it ended.
        log: where its lines begin and end in the log, bytes.
    """
    error, exception, info = _failure(exc, settings)
    exit_ = Exit("FAILED", "ERROR", error)
    close_steps(record, State.FAILED, exit_, now)
    attempt = Attempt(record.attempt, started, Date(now), error, exception, info, *log)
    record.attempts = [*record.attempts, attempt][-MAX_ATTEMPTS:]


def _exc_info(exc: BaseException) -> CoreGetJobsItemExcInfo:
    shown = sendable_repr(exc)
    validation = validation_extra(exc)
    if validation is not None:
        number = exc.errno if isinstance(exc, ValidationError) else None
        return CoreGetJobsItemExcInfo(shown, "VALIDATION", number, plain(validation))
    number = exc.errno if isinstance(exc, (CallError, OSError)) else None
    extra = exc.extra if isinstance(exc, CallError) else None
    return CoreGetJobsItemExcInfo(
        shown,
        type(exc).__name__,
        number if isinstance(number, int) else None,
        plain(extra),
    )


def record_aborted(record: JobRecord, now: int) -> None:
    """End a job that was aborted."""
    record.exit = Exit("STOPPED", "ABORTED")
    close_steps(record, State.ABORTED, record.exit, now)
    _end(record, State.ABORTED, now)


def abort_error(record: JobRecord) -> CallError:
    """Build the error that waiters of an aborted job get: who, when, and why."""
    abort = record.abort
    who = f" by {abort.by} at {_iso(abort.at)}" if abort else ""
    why = f": {abort.reason}" if abort and abort.reason else ""
    return CallError(f"Job {record.id} was aborted{who}{why}", errno.ECANCELED)


def _iso(date: Date) -> str:
    return ejson.from_wire({"$date": date.ms}).isoformat(timespec="seconds")  # type: ignore[no-any-return]  # a datetime


def encoding_error(record: JobRecord) -> Exception:
    """Build the error for whoever waits for a result that cannot be shown."""
    failure = record.result_encoding_error
    if failure is not None and failure.type == TOO_LARGE:
        return CallError(failure.repr, errno.EMSGSIZE)
    return InternalError()


def rebuild_error(record: JobRecord) -> Exception:
    """Build the error that somebody who waits for a failed job gets, from history."""
    info = record.exc_info
    if info is not None and info.type == "VALIDATION":
        errors = [ValidationError(*triple) for triple in info.extra]
        # A number of its own says that one error was raised, not a list of them.
        return errors[0] if info.errno is not None else ValidationErrors(errors)
    number = info.errno if info is not None and info.errno else errno.EINVAL
    extra = None if info is None else info.extra
    return JobFailed(record.error or "", number, extra)
