"""How the jobs of a method are run, as its declaration says."""

import string
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, StrEnum
from typing import Any, TypeVar

import msgspec

from middlewared import PluginError
from middlewared.context import Services
from middlewared.params import Params
from middlewared.plugin import Deferred
from middlewared.results import holds_secret
from middlewared_jobs.backoff import Backoff
from middlewared_jobs.record import JobRecord
from middlewared_jobs.step import StepSpec

__all__ = [
    "CountRole",
    "JobFunction",
    "JobSpec",
    "Kind",
    "Template",
    "as_helper",
    "showing",
]

H = TypeVar("H", bound=Callable[..., Any])


class Kind(Enum):
    """Where the body of a job runs."""

    #: In a task in the loop: ``async def``.
    LOOP = "loop"
    #: In a thread: ``def``.
    THREAD = "thread"
    #: In a child process: ``def`` with ``process=True``.
    PROCESS = "process"

    # Enum's own is a Python function, and slots are looked up by kind.
    __hash__ = object.__hash__


class Template:
    """A text with params in braces, as ``"pool:{pool}"``.

    Attributes:
        text: as its author wrote it.

    Raises:
        PluginError: it names a parameter that the handler does not have, or a secret.
    """

    __slots__ = ("_constant", "_names", "text")

    def __init__(self, text: str, params: Params, where: str, what: str) -> None:
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(text)]
        except ValueError as exc:
            raise PluginError(f"{where}: {what} {text!r}: {exc}") from None
        roots = [_root(name) for name in fields if name is not None]
        for root in roots:
            if root not in params.names:
                raise PluginError(
                    f"{where}: {what} {text!r} names {root!r}, expected one of "
                    f"the parameters {', '.join(params.names) or '(none)'}"
                )
            kind = params.types[params.names.index(root)]
            if holds_secret(kind):
                raise PluginError(f"{where}: {what} {text!r} shows secret {root!r}")
        self.text = text
        self._names = params
        self._constant = not roots

    def __str__(self) -> str:
        return self.text

    def fill(self, values: Sequence[Any]) -> str:
        """Put the params in; those not given have their defaults."""
        if self._constant:
            return self.text.format()
        return self.text.format(**self._named(values))

    def tell(self, values: Sequence[Any]) -> str:
        """Put the params in for people: lists without brackets, nothing for None."""
        return _TOLD.vformat(self.text, (), self._named(values))

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        named = dict(zip(self._names.names, self._names.defaults, strict=True))
        return named | dict(zip(self._names.names, values, strict=False))


class _Told(string.Formatter):
    """Formats values as people say them, unless the template says how."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec:
            return str(super().format_field(value, format_spec))
        match value:
            case None:
                return ""
            case list() | tuple() | set() | frozenset():
                return ", ".join(self.format_field(item, "") for item in value)
            case _:
                return str(value)


_TOLD = _Told()


def _root(field: str) -> str:
    """Cut ``options.name`` and ``options[name]`` down to the parameter."""
    return field.partition(".")[0].partition("[")[0]


#: Takes the services and bound params, and gives these with their secrets redacted.
Show = Callable[[Services, Sequence[Any]], list[Any]]


class CountRole(StrEnum):
    """What a count of a job means, for clients that know other names."""

    TOTAL = "total"
    OK = "ok"
    FAILED = "failed"
    PENDING = "pending"
    SKIPPED = "skipped"
    OTHER = "other"


#: What each record is given of a spec, and what it has without.
_GIVEN: Mapping[str, Any] = {
    field.name: field.default
    for field in msgspec.structs.fields(JobRecord)
    if field.name
    in {
        "transient",
        "abortable",
        "priority",
        "restartable",
        "pausable",
        "retries",
        "timeout",
    }
}


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How jobs of one method are run; from the arguments of `job`.

    Attributes:
        lock: template of the lock, None for jobs that need none.
        lock_queue_size: jobs that may wait for one lock; None for any number.
        logs: the job has a log.
        abortable: may be aborted while it runs.
        transient: leaves no history.
        description: template of the description.
        read_roles: roles whose holders may see jobs of others.
        kind: where the body runs.
        secret: its params may hold secrets.
        helper: only waits for other jobs, so it needs no slot and holds up no stop.
        retries: attempts that may follow the first one, when it fails.
        backoff: how long they wait.
        timeout: seconds that an attempt may take.
        heartbeat_timeout: seconds that a body may be silent.
        priority: of jobs that could start, those with a higher one do first.
        max_running: jobs of this method that may run at one time.
        limits: templates of keys, and how many jobs with one key may run.
        requeue: a lost worker, or a stop, is followed by another attempt.
        restartable: ``job.restart`` may go on with it.
        restart_limit: restarts of one instance; None for any number.
        pausable: ``job.pause`` may pause it.
        steps: the steps that clients may know beforehand.
        counts: counts that begin at 0, and what each means.
        messages: texts by their code.
        scopes: what it works on.
        dialects: how it appears in other job APIs, by dialect.
        pipes: what it reads an upload from, or writes a download to.
        check_pipes: no job is made without them.
        show: gives the params as everybody may see them; None when their types tell
            which are secret.
        chosen: what else of a job's record this says, but where it says what a record
            has anyway: names and values; made from the others.
    """

    lock: Template | None
    lock_queue_size: int | None
    logs: bool
    abortable: bool
    transient: bool
    description: Template | None
    read_roles: frozenset[str]
    kind: Kind
    secret: bool
    helper: bool = False
    retries: int = 0
    backoff: Backoff = Backoff()
    timeout: float | None = None
    heartbeat_timeout: float | None = None
    priority: int = 0
    max_running: int | None = None
    limits: tuple[tuple[Template, int], ...] = ()
    requeue: bool = False
    restartable: bool = False
    restart_limit: int | None = None
    pausable: bool = False
    steps: tuple[StepSpec, ...] = ()
    counts: Mapping[str, CountRole] = {}
    messages: Mapping[int, str] = {}
    scopes: tuple[str, ...] = ()
    dialects: Mapping[str, Mapping[str, Any]] = {}
    pipes: frozenset[str] = frozenset()
    check_pipes: bool = True
    show: Show | None = None
    chosen: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Look once at what each record is given."""
        pairs = ((name, getattr(self, name)) for name in _GIVEN)
        chosen = tuple((name, value) for name, value in pairs if value != _GIVEN[name])
        msgspec.structs.force_setattr(self, "chosen", chosen)


class JobFunction(Deferred[H]):
    """A function declared as a job; `Plugin.method` makes it callable by clients.

    Attributes:
        handler: the author's function.
        spec: how its jobs are run.
    """

    spec: JobSpec

    def __init__(self, handler: H, spec: JobSpec) -> None:
        super().__init__(handler, spec.read_roles)
        self.spec = spec
        self.__doc__ = handler.__doc__
        self.__name__ = handler.__name__


def as_helper(function: JobFunction[H]) -> JobFunction[H]:
    """Declare that a transient job without a lock only waits for other jobs."""
    spec = msgspec.structs.replace(function.spec, helper=True)
    return JobFunction(function.handler, spec)


def showing(show: Show) -> Callable[[JobFunction[H]], JobFunction[H]]:
    """Declare what is secret in the params of a job whose types do not say it."""

    def declare(function: JobFunction[H]) -> JobFunction[H]:
        spec = msgspec.structs.replace(function.spec, secret=True, show=show)
        return JobFunction(function.handler, spec)

    return declare
