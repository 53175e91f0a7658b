"""Writes the reference pages, and parts of others, from what the code declares.

Each public function gives one page's Markdown; cog puts it between its marks. Only the
plugins of this repository are described, whatever else is installed.
"""

import ast
import errno
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec
from words import Objects, json_text, setting_words, table

from middlewared import errors as kernel_errors
from middlewared.docstrings import fields_of, markdown
from middlewared.errors import CUSTOM_ERRNOS, RpcError
from middlewared.loader import find_plugins, in_start_order
from middlewared.plugin import Method, Plugin
from middlewared.schema import wire_default
from middlewared.settings import PREFIX, Settings
from middlewared_commands import CommandTable, Param
from middlewared_jobs import JobFunction

__all__ = [
    "command_params",
    "commands",
    "errors",
    "events",
    "excerpt",
    "methods",
    "mistakes",
    "plugins",
    "settings",
]

E = TypeVar("E", bound=Exception)

ROOT = Path(__file__).resolve().parent.parent

#: Defaults that depend on the machine, in words.
MACHINE_DEFAULTS = {
    "data_dir": "`/var/lib/middlewared` for root, else `~/.local/share/middlewared`",
    **dict.fromkeys(
        [f"dialects.{name}" for name in ("webex", "arcgis", "ocapi", "infolink")],
        "none",
    ),
    "demo.allowed_paths": "the standard library's folder and `/usr/lib/python3`",
}

#: Where the body of a job runs.
PLACES = {
    "loop": "runs in the loop",
    "thread": "runs in a thread",
    "process": "runs in a child process",
}

#: What an error number of the operating system means when this server sends it.
ERRNO_MEANINGS = {
    "EACCES": "The login lacks the role, or may not do this at all.",
    "E2BIG": "The body of a job has too many steps or counts.",
    "EALREADY": "The job has succeeded, there is nothing to restart.",
    "EBUSY": "Not now: the lock, the queue or a limit is full, a job of the schedule "
    "has not ended, or the server stops.",
    "ECANCELED": "The job that was waited for was aborted, the text says by whom; "
    "or a subscription ended before it was answered.",
    "ECONNRESET": "Of a job: the upload that it read broke off.",
    "EDEADLK": "A body would wait for ever for another job; named `EDEADLOCK`.",
    "EDQUOT": "The connection has too many subscriptions, there are too many "
    "schedules, or the job was restarted as often as it may.",
    "EEXIST": "Something with this name exists already, or a job with this key.",
    "EFAULT": "The default of `CallError`: it did not work, the text says why.",
    "EFBIG": "The query would read too many jobs or entries; narrow it.",
    "EINVAL": "A value cannot be used. Also exceptions that are no `CallError`.",
    "EIO": "The job could not be written to the database; there is no job.",
    "EMSGSIZE": "The answer is larger than one message to a client may be.",
    "ENOKEY": "The secret of an ended job is not kept; give it again.",
    "ENOENT": "There is no such job, schedule, account, key or file.",
    "EOPNOTSUPP": "The server does not have what was asked for, or the job's method "
    "does not allow it.",
    "EPERM": "The job or schedule belongs to somebody else, or the job cannot be "
    "aborted now.",
    "EPIPE": "Of a job: nobody reads its download any more, or ever came for it.",
    "ESTALE": "A later job went on with this one already.",
    "ETIMEDOUT": "The patterns of a query took longer than their budget; or the job "
    "took longer than its timeout, or gave no sign of life.",
}


def plugins() -> list[Plugin]:
    """Load the plugins of this repository, in the order they start."""
    own = {folder.name for folder in (ROOT / "plugins").glob("middlewared_*")}
    found = in_start_order(find_plugins())
    return [plugin for plugin in found if f"middlewared_{plugin.name}" in own]


# Methods


def methods() -> str:
    """Describe every method, by namespace, and the objects they speak of."""
    found = {
        name: method for plugin in plugins() for name, method in plugin.methods.items()
    }
    objects = Objects()
    parts: list[str] = []
    namespace = ""
    for name, method in sorted(found.items()):
        if name.rpartition(".")[0] != namespace:
            namespace = name.rpartition(".")[0]
            parts.append(f"## {namespace}")
        parts += _method(method, objects)
    parts += _objects(objects)
    return "\n\n".join(parts)


def _method(method: Method, objects: Objects) -> Iterator[str]:
    yield f"### `{method.name}`"
    yield f"`{method.name}({', '.join(_signature(method))})`"
    yield str(method.access)
    yield markdown(method.doc)
    if isinstance(method.deferred, JobFunction):
        yield _job_words(method.deferred)
    params = method.params
    rows = [
        [f"`{name}`", objects.accepted(kind), _default(default)]
        for name, kind, default in zip(
            params.names, params.types, params.defaults, strict=True
        )
    ]
    if rows:
        yield table(["param", "type", "default"], rows)
    yield f"Returns {objects.sent(method.results.kind)}."


def _signature(method: Method) -> Iterator[str]:
    params = method.params
    for name, default in zip(params.names, params.defaults, strict=True):
        required = default is msgspec.UNSET
        yield name if required else f"{name}={json_text(wire_default(default))}"


def _default(default: Any) -> str:
    if default is msgspec.UNSET:
        return "required"
    return f"`{json_text(wire_default(default))}`"


def _job_words(function: JobFunction[Any]) -> str:
    """Say in one sentence how the jobs of a method are run."""
    spec = function.spec
    places = {"loop": "the loop", "thread": "a thread", "process": "a child process"}
    traits = [f"runs in {places[spec.kind.value]}"]
    if spec.abortable:
        traits.append("may be aborted while it runs")
    if spec.logs:
        traits.append("has a log")
    if spec.transient:
        traits.append("is transient")
    if spec.lock is not None:
        traits.append(f"takes the lock `{spec.lock}`")
    if "input" in spec.pipes:
        traits.append("takes an upload")
    if "output" in spec.pipes:
        traits.append("gives a download")
    if spec.read_roles:
        roles = " or ".join(f"`{role}`" for role in sorted(spec.read_roles))
        traits.append(f"is seen by holders of {roles} too")
    return f"A job: {', '.join(traits)}."


def _objects(objects: Objects) -> Iterator[str]:
    """Describe the structs that a page spoke of, and those that they speak of."""
    yield "## Objects"
    yield from objects.sections()


# Events


def events() -> str:
    """Describe every collection and every source, with the fields of their items."""
    objects = Objects()
    parts: list[str] = []
    for plugin in plugins():
        for collection in plugin.collections:
            parts += [
                f"## `{collection.name}`",
                markdown(collection.doc),
                str(collection.access),
                f"Items are {objects.sent(collection.item)}.",
            ]
        for source in plugin.sources:
            parts += [
                f"## `{source.name}`",
                markdown(source.doc),
                str(source.access),
                f"Takes arguments: `{source.name}:{{...}}` holds the keys of "
                + objects.accepted(source.arguments)
                + ".",
                f"Items are {objects.sent(source.item)}.",
            ]
    parts += _objects(objects)
    return "\n\n".join(parts)


# Settings


def settings() -> str:
    """Describe the settings of the kernel and the table of each plugin."""
    parts = ["## Kernel", markdown(inspect.getdoc(Settings) or "")]
    parts.append(_settings_table(Settings, ""))
    for plugin in plugins():
        if plugin.settings is not None:
            parts += [
                f"## Table `{plugin.name}`",
                markdown(inspect.getdoc(plugin.settings) or ""),
                _settings_table(plugin.settings, plugin.name),
            ]
    return "\n\n".join(parts)


def _settings_table(kind: type[msgspec.Struct], table_name: str) -> str:
    rows = []
    for field in fields_of(kind):
        if kind is Settings and field.name == "tables":
            continue
        key = f"{table_name}.{field.name}" if table_name else field.name
        rows.append(
            [
                f"`{field.name}`",
                setting_words(field.type),
                MACHINE_DEFAULTS.get(key) or _default(_fixed_default(key, field)),
                f"`{PREFIX}{key.upper().replace('.', '__')}`",
                field.description,
            ]
        )
    return table(["setting", "type", "default", "variable", "what it is"], rows)


def _fixed_default(key: str, field: Any) -> Any:
    """Give a default that is the same everywhere."""
    if field.default is msgspec.NODEFAULT:
        raise ValueError(f"{key}: say its default in MACHINE_DEFAULTS")
    return field.default


# Commands

#: Keys of a command that are tables of their own.
COMMAND_TABLES = {
    "exit": "[table](#exit-codes)",
    "progress": "array of [tables](#progress)",
    "params": "object of [tables](#params)",
    "secrets": "object of [tables](#secrets)",
}


def commands(kind: type[msgspec.Struct] = CommandTable) -> str:
    """Describe the keys of a table of a command."""
    rows = [
        [
            f"`{field.name}`",
            COMMAND_TABLES.get(field.name) or setting_words(field.type),
            "" if field.name in COMMAND_TABLES else _default(_empty_default(field)),
            field.description,
        ]
        for field in fields_of(kind)
    ]
    return table(["key", "type", "default", "what it is"], rows)


def _empty_default(field: Any) -> Any:
    """Give a default; that of a struct or a mapping is made anew each time."""
    if field.factory is not msgspec.NODEFAULT:
        return field.factory()
    return msgspec.UNSET if field.required else field.default


def command_params() -> str:
    """Describe the keys of params: each with the types that have it."""
    found: dict[str, tuple[list[str], str]] = {}
    for kind in get_args(Param):
        for field in fields_of(kind):
            types, _ = found.setdefault(field.name, ([], field.description))
            types.append(f"`{kind.__struct_config__.tag}`")
    rows = [
        [
            f"`{name}`",
            "all" if len(types) == len(get_args(Param)) else ", ".join(types),
            what,
        ]
        for name, (types, what) in found.items()
    ]
    return table(["key", "of the types", "what it is"], rows)


# Parts of the plugin guide


def excerpt(file: str, mark: str) -> str:
    """Cut what stands between two marks of an example, as a fence."""
    text = (ROOT / "docs" / "examples" / file).read_text(encoding="utf-8")
    found = re.search(
        rf"# -- start {mark} --\n(.*?)\n *# -- end {mark} --", text, re.DOTALL
    )
    if found is None:
        raise ValueError(f"{file} has no marks for {mark}")
    return f"```python\n{found[1].strip()}\n```"


def mistakes(found: Sequence[tuple[str, str, str]]) -> str:
    """List what is wrong, in words and as its author reads it."""
    rows = [[words, f"`{message}`"] for words, _, message in found]
    return table(["mistake", "what its author reads, after file and line"], rows)


# Errors


def errors() -> str:
    """Describe the codes, the error numbers, and what stops a start."""
    return "\n\n".join(
        [
            "## Codes",
            table(["code", "message", "class", "when"], _codes()),
            "## Error numbers of the operating system",
            table(["number", "name", "when"], _errnos()),
            "## Error numbers of the protocol",
            _custom_errnos(),
        ]
    )


def _classes(root: type[E]) -> list[type[E]]:
    """List the classes of the kernel's error tree below one of them."""
    found = (getattr(kernel_errors, name) for name in kernel_errors.__all__)
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, root)]


def _codes() -> list[list[str]]:
    rows = []
    for kind in _classes(RpcError):
        if kind is RpcError:
            continue
        own = "message" in vars(kind) or kind.__base__ is not RpcError
        rows.append(
            [
                f"`{kind.code}`",
                f"`{kind.message}`" if own else "names the limit",
                f"`{kind.__name__}`",
                markdown((inspect.getdoc(kind) or "").partition("\n")[0]),
            ]
        )
    return sorted(rows)


def used_errnos() -> set[str]:
    """Collect the names of the error numbers that the sources pass to an exception."""
    names = {"EINVAL", "EFAULT"}  # what other exceptions and CallError have
    for folder in ("middlewared", "plugins"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names.update(_passed_errnos(node))
    return names


def _passed_errnos(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call) or ast.unparse(node.func) == "OSError":
        return
    for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
        match argument:
            case ast.Attribute(ast.Name("errno" | "_errno"), name) if name[0] == "E":
                yield name


def _errnos() -> list[list[str]]:
    used = used_errnos()
    for name in used ^ set(ERRNO_MEANINGS):
        raise ValueError(f"{name} is sent or explained, not both")
    numbers = sorted((getattr(errno, name), name) for name in used)
    return [[f"{n}", f"`{name}`", ERRNO_MEANINGS[name]] for n, name in numbers]


def _custom_errnos() -> str:
    rows = [
        [
            f"{number}",
            f"`{name}`",
            "The method needs a login." if name == "ENOTAUTHENTICATED" else "Not sent.",
        ]
        for number, name in CUSTOM_ERRNOS.items()
    ]
    return table(["number", "name", "when"], rows)
