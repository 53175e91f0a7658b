"""What is known of a job: the record, and the item that clients of the wire see."""

from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from middlewared import Audience, Credentials, Date
from middlewared_jobs.notes import Exit, StepRecord, TextMessage
from middlewared_jobs.phase import Phase
from middlewared_jobs.states import FINAL, State

__all__ = [
    "AT_FIRST",
    "AT_LAST",
    "DETAILS",
    "DETAILS_AT",
    "NULL",
    "Abort",
    "Attempt",
    "CoreGetJobsItem",
    "CoreGetJobsItemCredentials",
    "CoreGetJobsItemExcInfo",
    "CoreGetJobsItemProgress",
    "EncodingFailure",
    "JobRecord",
    "LoginData",
    "encode_item",
    "item_of",
    "snapshot_credentials",
]

_encode = msgspec.json.Encoder().encode
NULL = msgspec.Raw(b"null")
#: An array that is kept as it was encoded.
RawArray = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array"})]


class CoreGetJobsItemProgress(msgspec.Struct, frozen=True):
    """How far a job is.

    Attributes:
        percent: 0 to 100; null when the job cannot say.
        description: what it does now; null when it cannot say.
        extra: anything more, as the job's method documents it.
    """

    percent: int | None = 0
    description: str | None = ""
    extra: Any = None


#: Progress of a job that has said nothing, as it begins and as it ends.
AT_FIRST, AT_LAST = CoreGetJobsItemProgress(), CoreGetJobsItemProgress(100)


class CoreGetJobsItemExcInfo(msgspec.Struct, frozen=True):
    """What failed.

    Attributes:
        repr: the exception as Python shows it.
        type: its class; VALIDATION for wrong values, WorkerLost for a crash of the
            server, ServerStopped for a stop.
        errno: its error number, if it has one.
        extra: its details; for VALIDATION a list of [attribute, message, errno].
    """

    repr: str
    type: str
    errno: int | None
    extra: Any


class LoginData(msgspec.Struct, frozen=True):
    """Which login started a job."""

    username: str
    login_id: str
    login_at: Date


class CoreGetJobsItemCredentials(msgspec.Struct, frozen=True):
    """Who started a job; kept with it, whatever becomes of the connection.

    Attributes:
        type: LOGIN_PASSWORD, API_KEY, TOKEN, UNIX_SOCKET, SCHEDULE or SYSTEM.
        data: the login.
    """

    type: str
    data: LoginData


class EncodingFailure(msgspec.Struct, frozen=True):
    """Why a result is not shown.

    Attributes:
        type: class of the error; TooLarge for a result over ``max_result``.
        repr: the error as Python shows it.
    """

    type: str
    repr: str


class Abort(msgspec.Struct, frozen=True):
    """Who asked to abort a job, and when.

    Attributes:
        by: user name.
        at: when it was asked.
        overdue: the body still ran after ``abort_grace`` seconds.
        reason: why, when it was not asked for by itself.
    """

    by: str
    at: Date
    overdue: bool = False
    reason: str | None = None


class Attempt(msgspec.Struct, frozen=True):
    """One attempt of a job that had several.

    Attributes:
        number: from 1.
        time_started: when its body began.
        time_finished: when it ended.
        error: what failed, one text; null when it did not.
        exception: the traceback.
        exc_info: what failed, in parts.
        log_start: where its lines begin in the job's log, bytes.
        log_end: where they end.
    """

    number: int
    time_started: Date | None
    time_finished: Date
    error: str | None
    exception: str | None
    exc_info: CoreGetJobsItemExcInfo | None
    log_start: int = 0
    log_end: int = 0


class JobRecord(msgspec.Struct, kw_only=True):
    """Everything known of a job, as ``job.get`` shows it.

    Attributes:
        id: its number, never used again.
        uid: a uuid, for other systems.
        message_ids: ids of the requests that started or joined it.
        method: name of the method.
        arguments: params in signature order, secrets redacted.
        transient: leaves no history.
        description: what this job is, if its method says so.
        abortable: may be aborted while it runs.
        logs_path: file of its log, once it runs.
        logs_excerpt: first and last lines of its log, once it ended.
        progress: how far it is.
        result: what it returned, secrets redacted; null unless SUCCESS.
        result_encoding_error: why the result is not shown.
        error: what failed, one text; null unless FAILED.
        exception: the traceback.
        exc_info: what failed, in parts.
        state: WAITING, RUNNING, SUCCESS, FAILED or ABORTED.
        time_created: when it was accepted.
        time_started: when its first attempt started, null before.
        time_finished: when it ended, null before.
        credentials: who started it.
        owner: account id of who started it, null for the system.
        attempt: 0 before the first start.
        lock: jobs with equal locks run one at a time.
        abort: who asked to abort it.
        child_pid: number of the child process that runs it, and of its process group;
            null when none does.
        child_started: boot and start of that process, which tell it from a later one
            with its number.
        phase: the state, finer.
        exit: how it came out, null before its end.
        instance: id of the first job of those that restart each other; its own, if it
            restarts none.
        is_restart: it goes on where an earlier job ended.
        restart_of: that job.
        parent: the job whose body started it.
        schedule: the schedule that started it.
        priority: of jobs that could start, those with a higher one do first.
        run_at: not to start before; null once it runs.
        key: chosen by the caller; the same key names the same job.
        key_digest: keyed hash of the params, to notice the key with other ones.
        tracking_id: of the caller's own system.
        app_id: the application that it belongs to.
        time_modified: when anything of it changed.
        node: name of the machine that ran it.
        restartable: ``job.restart`` may go on with it.
        pausable: ``job.pause`` may pause it.
        retries: attempts that may follow the first one, when it fails.
        timeout: seconds that an attempt may take, null for any.
        source_customer: organisation of who started it.
        target_customer: organisation that it works on.
        scopes: what it works on.
        counts: counts by name.
        steps: its steps, in order.
        messages: its newest messages.
        item_errors: how many items failed; ``job.item_errors`` lists them.
        attributes: values of the caller's and the author's own.
        attempts: the attempts that ended, when there were several; the newest 100.
        checkpoint: where a later attempt or restart may go on.
        paused_ms: milliseconds that it stood paused.
    """

    id: int
    uid: str
    message_ids: list[Any] = []
    method: str
    arguments: RawArray
    transient: bool = False
    description: str | None = None
    abortable: bool = False
    logs_path: str | None = None
    logs_excerpt: str | None = None
    progress: CoreGetJobsItemProgress = AT_FIRST
    result: msgspec.Raw = msgspec.field(default_factory=lambda: NULL)
    result_encoding_error: EncodingFailure | None = None
    error: str | None = None
    exception: str | None = None
    exc_info: CoreGetJobsItemExcInfo | None = None
    state: State = State.WAITING
    time_created: Date
    time_started: Date | None = None
    time_finished: Date | None = None
    credentials: CoreGetJobsItemCredentials | None = None
    owner: int | None = None
    attempt: int = 0
    lock: str | None = None
    abort: Abort | None = None
    child_pid: int | None = None
    child_started: str | None = None
    phase: Phase = Phase.PENDING
    exit: Exit | None = None
    instance: int | None = None
    is_restart: bool = False
    restart_of: int | None = None
    parent: int | None = None
    schedule: int | None = None
    priority: int = 0
    run_at: Date | None = None
    key: str | None = None
    tracking_id: str | None = None
    app_id: str | None = None
    time_modified: Date | None = None
    node: str | None = None
    # The details: stored together, and only when there are any.
    key_digest: str | None = None
    restartable: bool = False
    pausable: bool = False
    retries: int = 0
    timeout: float | None = None
    source_customer: str | None = None
    target_customer: str | None = None
    scopes: list[str] = []
    counts: dict[str, int] = {}
    steps: list[StepRecord] = []
    messages: list[TextMessage] = []
    item_errors: int = 0
    attributes: dict[str, Any] = {}
    attempts: list[Attempt] = []
    checkpoint: msgspec.Raw = msgspec.field(default_factory=lambda: NULL)
    paused_ms: int = 0

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self.state in FINAL

    def has_details(self) -> bool:
        """Tell whether any of the `DETAILS` is not as in a new job."""
        # Written out: to compare them as a tuple takes twice as long.
        return bool(
            self.key_digest is not None
            or self.restartable
            or self.pausable
            or self.retries
            or self.timeout is not None
            or self.source_customer is not None
            or self.target_customer is not None
            or self.scopes
            or self.counts
            or self.steps
            or self.messages
            or self.item_errors
            or self.attributes
            or self.attempts
            or (self.checkpoint is not NULL and self.checkpoint != NULL)
            or self.paused_ms
        )

    def audience(self, read_roles: frozenset[str]) -> Audience:
        """Say who may see the job."""
        return _audience(self.owner, read_roles)


#: There are few owners and roles, and many jobs.
_audience = lru_cache(1024)(Audience)
_ALL = JobRecord.__struct_fields__
#: Fields that are stored together, see `JobRecord`: the last ones.
DETAILS_AT = _ALL.index("key_digest")
DETAILS = _ALL[DETAILS_AT:]


class CoreGetJobsItem(msgspec.Struct):
    """A job as ``core.get_jobs`` and its events show it; the fields of `JobRecord`.

    The keys and their order are the wire's (protocol page, 5.1), no others.
    """

    id: int
    message_ids: list[Any]
    method: str
    arguments: RawArray
    transient: bool
    description: str | None
    abortable: bool
    logs_path: str | None
    logs_excerpt: str | None
    progress: CoreGetJobsItemProgress
    result: msgspec.Raw
    result_encoding_error: EncodingFailure | None
    error: str | None
    exception: str | None
    exc_info: CoreGetJobsItemExcInfo | None
    state: State
    time_started: Date | None
    time_finished: Date | None
    credentials: CoreGetJobsItemCredentials | None


def item_of(record: JobRecord) -> CoreGetJobsItem:
    """Cut a record down to the item of the wire."""
    # Written out: taking the values out of a tuple takes twice as long.
    return CoreGetJobsItem(
        record.id,
        record.message_ids,
        record.method,
        record.arguments,
        record.transient,
        record.description,
        record.abortable,
        record.logs_path,
        record.logs_excerpt,
        record.progress,
        record.result,
        record.result_encoding_error,
        record.error,
        record.exception,
        record.exc_info,
        record.state,
        record.time_started,
        record.time_finished,
        record.credentials,
    )


def encode_item(record: JobRecord) -> bytes:
    """Encode the item of the wire."""
    return _encode(item_of(record))


def snapshot_credentials(
    credentials: Credentials | None,
) -> CoreGetJobsItemCredentials | None:
    """Keep of a login what history shows."""
    if credentials is None:
        return None
    return CoreGetJobsItemCredentials(
        credentials.type,
        LoginData(
            credentials.username, credentials.login_id, Date(credentials.login_at)
        ),
    )
