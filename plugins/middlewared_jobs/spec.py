"""The declaration of a job: ``@job(...)`` on a typed function."""

import inspect
import string
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, TypeVar, overload

import msgspec

from middlewared import PluginError
from middlewared.params import Params, location
from middlewared.plugin import Deferred
from middlewared.results import holds_secret

__all__ = ["JobFunction", "JobSpec", "Kind", "Template", "as_helper", "job"]

H = TypeVar("H", bound=Callable[..., Any])


class Kind(Enum):
    """Where the body of a job runs."""

    #: In a task in the loop: ``async def``.
    LOOP = "loop"
    #: In a thread: ``def``.
    THREAD = "thread"
    #: In a child process: ``def`` with ``process=True``.
    PROCESS = "process"


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
        named = dict(zip(self._names.names, self._names.defaults, strict=True))
        named |= dict(zip(self._names.names, values, strict=False))
        return self.text.format(**named)


def _root(field: str) -> str:
    """Cut ``options.name`` and ``options[name]`` down to the parameter."""
    return field.partition(".")[0].partition("[")[0]


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


def _kind(handler: Callable[..., Any], *, process: bool) -> Kind:
    if not inspect.iscoroutinefunction(handler):
        return Kind.PROCESS if process else Kind.THREAD
    if process:
        raise PluginError(
            f"{location(handler)}: {handler.__name__} is a coroutine function, "
            "expected a plain function for process=True"
        )
    return Kind.LOOP


def _check(handler: Callable[..., Any], lock_queue_size: int | None) -> None:
    if lock_queue_size is not None and lock_queue_size < 0:
        raise PluginError(
            f"{location(handler)}: lock_queue_size is {lock_queue_size}, "
            "expected None or at least 0"
        )
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise PluginError(
            f"{location(handler)}: {handler.__name__} is a generator, expected a "
            "function or a coroutine function"
        )


@overload
def job(handler: H, /) -> JobFunction[H]: ...


@overload
def job(
    *,
    lock: str | None = None,
    lock_queue_size: int | None = None,
    logs: bool = False,
    abortable: bool = False,
    transient: bool = False,
    description: str | None = None,
    read_roles: Iterable[str] = (),
    process: bool = False,
) -> Callable[[H], JobFunction[H]]: ...


def job(
    handler: H | None = None,
    /,
    *,
    lock: str | None = None,
    lock_queue_size: int | None = None,
    logs: bool = False,
    abortable: bool = False,
    transient: bool = False,
    description: str | None = None,
    read_roles: Iterable[str] = (),
    process: bool = False,
) -> JobFunction[H] | Callable[[H], JobFunction[H]]:
    """Declare that runs of a function are jobs: they outlive request and connection.

    An ``async def`` runs in the loop, a ``def`` in a thread, or in a child process.
    Its first parameter is the `Job`.

    Args:
        handler: the function, when used without parentheses.
        lock: jobs with equal locks run one at a time, in order; params in braces.
        lock_queue_size: when so many wait, a call joins the last waiting job with
            equal arguments, or is refused; 0 refuses while one runs or waits.
        logs: the job may write a log.
        abortable: may be aborted while it runs; a waiting job always may.
        transient: leaves no history, and goes from the list shortly after its end.
        description: what a job is, for people; params in braces.
        read_roles: roles whose holders may see jobs of others.
        process: run a ``def`` in a child process, which imports the plugin's module by
            name. It can be killed, and its death harms nothing else. What it starts is
            killed when it ends, unless it has a session of its own.

    Raises:
        PluginError: with file and line.
    """

    def declare(function: H) -> JobFunction[H]:
        _check(function, lock_queue_size)
        params, where = Params(function), location(function)
        spec = JobSpec(
            lock=None if lock is None else Template(lock, params, where, "lock"),
            lock_queue_size=lock_queue_size,
            logs=logs,
            abortable=abortable,
            transient=transient,
            description=None
            if description is None
            else Template(description, params, where, "description"),
            read_roles=frozenset(read_roles),
            kind=_kind(function, process=process),
            secret=any(holds_secret(kind) for kind in params.types),
        )
        return JobFunction(function, spec)

    return declare if handler is None else declare(handler)
