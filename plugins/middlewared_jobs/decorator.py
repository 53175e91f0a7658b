"""The decorator ``@job(...)``: its arguments, and the spec that they make."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from middlewared import PluginError
from middlewared.params import Params, location
from middlewared.results import holds_secret
from middlewared_jobs.backoff import Backoff
from middlewared_jobs.pipes import PIPES
from middlewared_jobs.spec import CountRole, JobFunction, JobSpec, Kind, Template
from middlewared_jobs.step import StepSpec

__all__ = ["JobArguments", "job"]

H = TypeVar("H", bound=Callable[..., Any])


def _kind(handler: Callable[..., Any], *, process: bool) -> Kind:
    if not inspect.iscoroutinefunction(handler):
        return Kind.PROCESS if process else Kind.THREAD
    if process:
        raise PluginError(
            f"{location(handler)}: {handler.__name__} is a coroutine function, "
            "expected a plain function for process=True"
        )
    return Kind.LOOP


class JobArguments(TypedDict, total=False):
    """The arguments of `job`, which documents them."""

    lock: str | None
    lock_queue_size: int | None
    logs: bool
    abortable: bool
    transient: bool
    description: str | None
    read_roles: Iterable[str]
    process: bool
    retries: int
    backoff: Backoff | float
    timeout: float | None
    heartbeat_timeout: float | None
    priority: int
    max_running: int | None
    limits: Mapping[str, int]
    on_worker_lost: Literal["fail", "requeue"]
    restartable: bool
    restart_limit: int | None
    pausable: bool
    steps: Iterable[str | StepSpec]
    counts: Mapping[str, str] | Iterable[str]
    messages: Mapping[int, str]
    scopes: Iterable[str]
    dialects: Mapping[str, Mapping[str, Any]]
    pipes: Iterable[str]
    check_pipes: bool


#: The least value of the arguments that are numbers.
_LEAST: Mapping[str, float] = {
    "lock_queue_size": 0,
    "retries": 0,
    "max_running": 1,
    "restart_limit": 0,
    "timeout": 0.001,
    "heartbeat_timeout": 0.001,
}


def _check(handler: Callable[..., Any], arguments: JobArguments) -> None:
    """Check what the types do not say.

    Raises:
        PluginError: with file and line.
    """
    given: Mapping[str, Any] = arguments

    def refuse(name: str, expected: str) -> PluginError:
        return PluginError(
            f"{location(handler)}: {name} is {given[name]!r}, expected {expected}"
        )

    known = JobArguments.__annotations__
    if unknown := [name for name in given if name not in known]:
        raise refuse(unknown[0], f"one of the arguments {', '.join(known)}")
    for name, least in _LEAST.items():
        value = given.get(name)
        if value is not None and not value >= least:
            raise refuse(name, f"None or at least {least:g}")
    if any(most < 1 for most in given.get("limits", {}).values()):
        raise refuse("limits", "numbers of at least 1")
    if given.get("on_worker_lost", "fail") not in ("fail", "requeue"):
        raise refuse("on_worker_lost", "'fail' or 'requeue'")
    roles = given.get("counts", ())
    if isinstance(roles, Mapping) and not set(roles.values()) <= set(CountRole):
        raise refuse("counts", f"roles from {', '.join(CountRole)}")
    if not PIPES.issuperset(given.get("pipes", ())):
        raise refuse("pipes", "'input', 'output' or both")
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise PluginError(
            f"{location(handler)}: {handler.__name__} is a generator, expected a "
            "function or a coroutine function"
        )


@overload
def job(handler: H, /) -> JobFunction[H]: ...


@overload
def job(**arguments: Unpack[JobArguments]) -> Callable[[H], JobFunction[H]]: ...


def job(
    handler: H | None = None, /, **arguments: Unpack[JobArguments]
) -> JobFunction[H] | Callable[[H], JobFunction[H]]:
    """Declare that runs of a function are jobs: they outlive request and connection.

    An ``async def`` runs in the loop, a ``def`` in a thread, or in a child process.
    Its first parameter is the `Job`.

    Args:
        handler: the function, when used without parentheses.
        arguments: what follows; templates have params in braces.

    The arguments:

    - ``lock``: template; jobs with equal locks run one at a time, in order.
    - ``lock_queue_size``: when so many wait, a call joins the last waiting job with
      equal arguments, or is refused; 0 refuses while one runs or waits.
    - ``logs``: the job may write a log.
    - ``abortable``: may be aborted while it runs; a waiting job always may.
    - ``transient``: leaves no history, and goes from the list shortly after its end.
    - ``description``: template; what a job is, for people.
    - ``read_roles``: roles whose holders may see jobs of others.
    - ``process``: run a ``def`` in a child process, which imports the plugin's module
      by name. It can be killed, and its death harms nothing else. What it starts is
      killed when it ends, unless it has a session of its own.
    - ``retries``: attempts that may follow the first one, when it fails. A validation
      error is never tried again.
    - ``backoff``: how long they wait; a number is the seconds of the first wait.
    - ``timeout``: seconds that an attempt may take; then it is asked to end as by an
      abort, and FAILED with ETIMEDOUT.
    - ``heartbeat_timeout``: seconds that a body may be without noting anything.
    - ``priority``: of jobs that could start, those with a higher one do first.
    - ``max_running``: jobs of this method that may run at one time.
    - ``limits``: templates of keys, and how many jobs with one key may run, of any
      method that names it: ``{"disk:{disk}": 2}``.
    - ``on_worker_lost``: ``"requeue"`` runs the job again when its process or the
      server died, or when the server stopped; at least once, not at most once.
    - ``restartable``: ``job.restart`` may go on with it after it failed or was aborted;
      steps that succeeded are skipped, also in later attempts.
    - ``restart_limit``: how often.
    - ``pausable``: ``job.pause`` lets it wait before its next step.
    - ``steps``: names, or `StepSpec`, that clients may know beforehand.
    - ``counts``: names of counts that begin at 0; as a mapping, with what each means:
      total, ok, failed, pending, skipped, other.
    - ``messages``: texts by their code, for `Job.message`.
    - ``scopes``: what it works on.
    - ``dialects``: how it appears in other job APIs, by dialect.
    - ``pipes``: ``input`` for an upload, ``output`` for a download, or both; see
      `Job.pipes`. A job that has some is never joined, and has one attempt.
    - ``check_pipes``: a call without one of them is refused before there is a job,
      which is the default; else the body looks, with `Job.check_pipe`.

    Raises:
        PluginError: with file and line.
    """

    def declare(function: H) -> JobFunction[H]:
        _check(function, arguments)
        return JobFunction(function, _spec(function, arguments))

    return declare if handler is None else declare(handler)


def _spec(function: Callable[..., Any], arguments: JobArguments) -> JobSpec:
    params, where = Params(function), location(function)

    def template(text: str, what: str) -> Template:
        return Template(text, params, where, what)

    lock, description = arguments.get("lock"), arguments.get("description")
    backoff = arguments.get("backoff", Backoff())
    steps = [
        StepSpec(name=step) if isinstance(step, str) else step
        for step in arguments.get("steps", ())
    ]
    limits = [
        (template(text, "limit"), most)
        for text, most in arguments.get("limits", {}).items()
    ]
    return JobSpec(
        lock=None if lock is None else template(lock, "lock"),
        lock_queue_size=arguments.get("lock_queue_size"),
        logs=arguments.get("logs", False),
        abortable=arguments.get("abortable", False),
        transient=arguments.get("transient", False),
        description=None
        if description is None
        else template(description, "description"),
        read_roles=frozenset(arguments.get("read_roles", ())),
        kind=_kind(function, process=arguments.get("process", False)),
        secret=any(holds_secret(kind) for kind in params.types),
        retries=arguments.get("retries", 0),
        backoff=backoff
        if isinstance(backoff, Backoff)
        else Backoff(first=float(backoff)),
        timeout=arguments.get("timeout"),
        heartbeat_timeout=arguments.get("heartbeat_timeout"),
        priority=arguments.get("priority", 0),
        max_running=arguments.get("max_running"),
        limits=tuple(limits),
        requeue=arguments.get("on_worker_lost", "fail") == "requeue",
        restartable=arguments.get("restartable", False),
        restart_limit=arguments.get("restart_limit"),
        pausable=arguments.get("pausable", False),
        steps=tuple(steps),
        counts=_counts(arguments.get("counts", ())),
        messages=dict(arguments.get("messages", {})),
        scopes=tuple(arguments.get("scopes", ())),
        dialects=dict(arguments.get("dialects", {})),
        pipes=frozenset(arguments.get("pipes", ())),
        check_pipes=arguments.get("check_pipes", True),
    )


def _counts(counts: Mapping[str, str] | Iterable[str]) -> dict[str, CountRole]:
    if not isinstance(counts, Mapping):
        return dict.fromkeys(counts, CountRole.OTHER)
    return {name: CountRole(role) for name, role in counts.items()}
