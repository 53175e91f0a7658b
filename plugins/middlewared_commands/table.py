"""The tables of the settings: ``[commands.NAMESPACE.NAME]`` and those below it."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from middlewared.errors import SettingsError
from middlewared.settings import decode_table
from middlewared_commands.params import Param

__all__ = ["INHERIT", "CommandTable", "ExitTable", "Pattern", "Source", "read_tables"]

Seconds = Annotated[float, Meta(ge=0.001)]
Positive = Annotated[int, Meta(gt=0)]
Strings = tuple[str, ...]

#: Variables that commands get from the server; a star stands for any end.
INHERIT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR")
_NAME = re.compile("[a-z][a-z0-9_]*")


class ExitTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the exit codes of a command mean."""

    success: Annotated[
        tuple[int, ...], Meta(description="Codes of a run that did its work.")
    ] = (0,)
    warnings: Annotated[
        tuple[int, ...], Meta(description="Codes of a run that did part of it.")
    ] = ()
    messages: Annotated[
        dict[str, str], Meta(description="What a code means, by code.")
    ] = {}


class Pattern(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How lines of output show progress; the first pattern that matches counts."""

    pattern: Annotated[
        str,
        Meta(
            description="Regular expression, searched for in each line, with groups "
            "named `percent`, or `done` and `total`, and `description`."
        ),
    ]
    scale: Annotated[
        Annotated[float, Meta(gt=0)],
        Meta(description="What `percent` is multiplied by; 100 for shares of 1."),
    ] = 1.0
    log: Annotated[bool, Meta(description="Keep such lines in the log.")] = True


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret that callers do not send: the server reads it from a file."""

    file: Annotated[str, Meta(description="Absolute path of the file that holds it.")]
    env: Annotated[str | None, Meta(description="Variable that has it.")] = None
    stdin: Annotated[bool, Meta(description="It is the standard input.")] = False


class CommandTable(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A command: a program that callers start as a job."""

    argv: Annotated[
        Strings,
        Meta(
            description="The program and its words, each with params in braces; with "
            "`script`, the words after it."
        ),
    ] = ()
    script: Annotated[
        str | None, Meta(description="Text for a shell, taken as it is.")
    ] = None
    shell: Annotated[
        Strings, Meta(description="The shell of `script`, and its options.")
    ] = ("/bin/sh", "-eu", "-c")
    doc: Annotated[
        str, Meta(description="What it does, for people who may call it.")
    ] = ""
    description: Annotated[
        str | None, Meta(description="What one job is; params in braces.")
    ] = None
    roles: Annotated[
        Strings, Meta(description="Who may call it, besides full admins.")
    ] = ()
    read_roles: Annotated[
        Strings, Meta(description="Who may see the jobs of others.")
    ] = ()
    lock: Annotated[
        str | None,
        Meta(description="Jobs with equal locks run one by one; params in braces."),
    ] = None
    lock_queue_size: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Jobs that may wait for the lock; by default any number."),
    ] = None
    abortable: Annotated[bool, Meta(description="May be aborted while it runs.")] = True
    abort_grace: Annotated[
        Seconds | None,
        Meta(
            description="Seconds from SIGTERM to SIGKILL; by default `abort_grace` "
            "of the jobs."
        ),
    ] = None
    timeout: Annotated[
        Seconds | None,
        Meta(description="Seconds that it may take; then it is ended as by an abort."),
    ] = None
    retries: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="Attempts after one that failed.")
    ] = 0
    retry_wait: Annotated[
        Seconds,
        Meta(description="Seconds before the second attempt; doubles with each."),
    ] = 1.0
    on_worker_lost: Annotated[
        Literal["fail", "requeue"],
        Meta(description="What follows when the server died or stopped meanwhile."),
    ] = "fail"
    priority: Annotated[
        Annotated[int, Meta(ge=-1000, le=1000)],
        Meta(description="Of jobs that could start, those with a higher one do first."),
    ] = 0
    max_running: Annotated[
        Positive | None, Meta(description="Jobs of it that may run at one time.")
    ] = None
    limits: Annotated[
        dict[str, Positive],
        Meta(
            description="Jobs that may run at one time with one key, of any method "
            "that names it, by key; params in braces."
        ),
    ] = {}
    cwd: Annotated[
        str,
        Meta(description="Its working folder: an absolute path, or a param `{name}`."),
    ] = "/"
    user: Annotated[
        str | None, Meta(description="Account it runs as; needs a server run by root.")
    ] = None
    group: Annotated[
        str | None, Meta(description="Group it runs as; by default that of `user`.")
    ] = None
    umask: Annotated[
        str | None, Meta(description="Its umask in octal digits, as `027`.")
    ] = None
    nice: Annotated[
        Annotated[int, Meta(ge=-20, le=19)],
        Meta(description="Added to its niceness; below 0 for root only."),
    ] = 0
    inherit: Annotated[
        Strings,
        Meta(description="Variables of the server that it gets; `*` at the end."),
    ] = INHERIT
    environment: Annotated[
        dict[str, str], Meta(description="Further variables; params in braces.")
    ] = {}
    result: Annotated[
        Literal["none", "text", "lines", "json"],
        Meta(description="What of its standard output is the result of the job."),
    ] = "none"
    max_result: Annotated[
        Positive, Meta(description="Bytes that the result may have.")
    ] = 2**20
    max_log: Annotated[
        Positive,
        Meta(description="Bytes of output in the log; more is dropped, but its end."),
    ] = 64 * 2**20
    exit: Annotated[
        ExitTable, Meta(description="What its exit codes mean, see below.")
    ] = ExitTable()
    progress: Annotated[
        tuple[Pattern, ...], Meta(description="How its output shows progress.")
    ] = ()
    params: Annotated[
        dict[str, Param], Meta(description="What callers may send, by name, in order.")
    ] = {}
    secrets: Annotated[
        dict[str, Source], Meta(description="Secrets that are in files, by name.")
    ] = {}


def read_tables(table: Mapping[str, Any]) -> Iterator[tuple[str, CommandTable]]:
    """Give the full name and the table of each command.

    Raises:
        SettingsError: naming the table and the key.
    """
    for namespace, inner in table.items():
        where = _place("commands", namespace)
        _check_table("commands", namespace, inner)
        for name, command in inner.items():
            _check_table(where, name, command)
            full = _place(namespace, name)
            yield full, _read(command, _place("commands", full))


def _place(*parts: str) -> str:
    return ".".join(parts)


def _check_table(where: str, key: str, value: Any) -> None:
    if not isinstance(value, dict):
        hint = ""
        if where.count(".") < 2:  # noqa: PLR2004 - no command's yet
            hint = "; a command has a namespace and a name: [commands.backup.home]"
        raise SettingsError(
            f"setting {key} in table {where!r} is {value!r}, expected a table{hint}"
        )
    if not _NAME.fullmatch(key):
        raise SettingsError(
            f"table {_place(where, key)!r}: {key!r} is no name, expected small "
            "letters, digits and _, a letter first"
        )


def _read(table: Mapping[str, Any], where: str) -> CommandTable:
    """Decode a table; those of params and secrets apart, so that errors name them."""
    plain = {k: v for k, v in table.items() if k not in ("params", "secrets")}
    params = {
        name: _read_param(inner, place)
        for name, inner, place in _inner(table, "params", where)
    }
    secrets = {
        name: decode_table(inner, Source, name=place)
        for name, inner, place in _inner(table, "secrets", where)
    }
    command = decode_table(plain, CommandTable, name=f"table {where!r}")
    return msgspec.structs.replace(command, params=params, secrets=secrets)


_PARAM: Any = Param
_TYPES = [str(kind.__struct_config__.tag) for kind in get_args(Param)]


def _read_param(table: Mapping[str, Any], where: str) -> Param:
    kind = table.get("type", "str")
    if kind not in _TYPES:
        raise SettingsError(
            f"setting type in {where} is {kind!r}, expected one of {', '.join(_TYPES)}"
        )
    found: Param = decode_table({**table, "type": kind}, _PARAM, name=where)
    return found


def _inner(
    table: Mapping[str, Any], key: str, where: str
) -> Iterator[tuple[str, Any, str]]:
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise SettingsError(
            f"setting {key} in table {where!r} is {found!r}, expected a table"
        )
    for name, inner in found.items():
        place = _place(where, key)
        _check_table(place, name, inner)
        yield name, inner, f"table {_place(place, name)!r}"
