"""The method of a command: a function with the signature that the settings declare."""

import inspect
from typing import Any

from msgspec import UNSET

from middlewared import Plugin
from middlewared_commands.command import Command
from middlewared_commands.run import run_command
from middlewared_jobs import Job, job

__all__ = ["declare"]

#: What the result of a job is, by what the settings take for it.
RESULTS = {"none": type(None), "text": str, "lines": list[str], "json": Any}
#: Name of the first parameter; names of params begin with a letter.
_FIRST = "_job"
_KIND = inspect.Parameter.POSITIONAL_OR_KEYWORD


def declare(plugin: Plugin, command: Command) -> None:
    """Declare the method of a command; it is like one that was written in Python."""
    table = command.table
    namespace, _, name = command.name.rpartition(".")
    run = job(
        lock=table.lock,
        lock_queue_size=table.lock_queue_size,
        logs=True,
        abortable=table.abortable,
        description=table.description,
        read_roles=table.read_roles,
        timeout=table.timeout,
        retries=table.retries,
        backoff=table.retry_wait,
        on_worker_lost=table.on_worker_lost,
        priority=table.priority,
        max_running=table.max_running,
        limits=table.limits,
    )(_handler(command, name))
    plugin.method(roles=table.roles, namespace=namespace, name=name)(run)


def _handler(command: Command, name: str) -> Any:
    signature = _signature(command)

    def handler(_job: Job, *args: Any, **named: Any) -> Any:
        bound = signature.bind(_job, *args, **named)
        bound.apply_defaults()
        values = dict(bound.arguments)
        del values[_FIRST]
        return run_command(_job, command, values)

    handler.__name__ = handler.__qualname__ = name
    handler.__doc__ = command.doc
    handler.__signature__ = signature  # type: ignore[attr-defined]  # read by inspect
    handler.__annotations__ = {
        **{p.name: p.annotation for p in signature.parameters.values()},
        "return": signature.return_annotation,
    }
    # Where it is declared, for errors and tracebacks.
    handler.__code__ = handler.__code__.replace(
        co_filename=f"[commands.{command.name}]", co_firstlineno=1
    )
    return handler


def _signature(command: Command) -> inspect.Signature:
    parameters = [inspect.Parameter(_FIRST, _KIND, annotation=Job)]
    for name, kind in command.types.items():
        default = command.defaults[name]
        parameters.append(
            inspect.Parameter(
                name,
                _KIND,
                default=inspect.Parameter.empty if default is UNSET else default,
                annotation=kind,
            )
        )
    kind = RESULTS[command.table.result]
    return inspect.Signature(parameters, return_annotation=kind)
