"""A command that is ready to run: its table, checked once and for all."""

import keyword
import os
import re
from functools import partial
from typing import Any

import msgspec

from middlewared_commands.account import find_account
from middlewared_commands.annotations import annotation, default_of
from middlewared_commands.exits import Exits, compile_exits
from middlewared_commands.interpreters import spliced_script
from middlewared_commands.mistakes import Mistakes
from middlewared_commands.params import (
    PathParam,
    SecretParam,
)
from middlewared_commands.progress import Compiled, compile_pattern
from middlewared_commands.routes import VARIABLE, Routes, compile_routes
from middlewared_commands.table import CommandTable
from middlewared_commands.template import Template

__all__ = ["Command", "compile_command"]

_OCTAL = re.compile("[0-7]{1,4}")


class Command(msgspec.Struct, frozen=True):
    """What is needed to run a command.

    Attributes:
        name: full name of its method.
        table: as the settings have it.
        types: of the params, by name, in order.
        defaults: of the params, `UNSET` where there is none.
        routes: how values get to it.
        folder: template of the working folder.
        exits: what its exit codes mean.
        patterns: how its output shows progress.
    """

    name: str
    table: CommandTable
    types: dict[str, Any]
    defaults: dict[str, Any]
    routes: Routes
    folder: Template
    exits: Exits
    patterns: tuple[Compiled, ...]

    @property
    def program(self) -> str:
        """The program in few words, for messages."""
        if self.table.script is not None:
            return f"the script of {self.name}"
        return os.path.basename(self.table.argv[0])  # noqa: PTH119 - a text

    @property
    def doc(self) -> str:
        """What the method says of itself."""
        return self.table.doc or f"Run {self.program}."


class _Compiler:
    """Checks one table."""

    def __init__(self, name: str, table: CommandTable) -> None:
        self._name = name
        self._table = table
        self._mistakes = Mistakes(f"commands.{name}")

    def compile(self) -> Command:
        """Check everything, in the order in which people read it."""
        table = self._table
        self._check_program()
        self._check_names()
        routes = compile_routes(table, self._mistakes)
        self._check_script(routes)
        folder = self._folder()
        shown = self._shown()
        self._check_used({*routes.used, *folder.names, *shown})
        self._check_place()
        defaults = self._defaults()
        return Command(
            name=self._name,
            table=table,
            types=self._types(routes),
            defaults=defaults,
            routes=routes,
            folder=folder,
            exits=self._mistakes.attempt("exit", partial(compile_exits, table.exit)),
            patterns=tuple(
                self._mistakes.attempt("progress", partial(compile_pattern, pattern))
                for pattern in table.progress
            ),
        )

    def _check_program(self) -> None:
        argv, table = self._table.argv, self._table
        for key in ("script", "shell"):
            if "\0" in "".join(getattr(table, key) or ""):
                raise self._mistakes.wrong(key, "there is a NUL character in it")
        if table.script is not None:
            if not table.shell or not table.shell[0].startswith("/"):
                text = f"{list(table.shell)!r} begins with no absolute path"
                raise self._mistakes.wrong("shell", text)
            return
        if not argv:
            raise self._mistakes.at("there is neither argv nor script")
        program = self._mistakes.attempt("argv", partial(Template.parse, argv[0]))
        if program.names or not program.text or program.text.startswith("-"):
            text = f"the program is {argv[0]!r}, expected a name without params"
            raise self._mistakes.wrong("argv", text)
        if "/" in argv[0] and not argv[0].startswith("/"):
            text = f"the program is {argv[0]!r}, expected an absolute path"
            raise self._mistakes.wrong("argv", text)

    def _check_script(self, routes: Routes) -> None:
        """Refuse a value inside the script of another program: it would be run."""
        program = spliced_script(routes.words.templates)
        if program is not None and self._table.script is None:
            text = (
                f"a param is a part of the script of {program}; use the key script, or "
                "make it a word of its own"
            )
            raise self._mistakes.wrong("argv", text)

    def _check_names(self) -> None:
        for name, param in self._table.params.items():
            if keyword.iskeyword(name):
                text = f"{name!r} is a word of Python, expected another name"
                raise self._mistakes.at(text, "params", name)
            flag = param.flag
            if flag is not None and (not flag.strip("-") or "\0" in flag):
                text = f"{flag!r} is no option"
                raise self._mistakes.wrong("flag", text, "params", name)
        for name, source in self._table.secrets.items():
            if name in self._table.params:
                text = f"there is a param {name!r}, expected another name"
                raise self._mistakes.at(text, "secrets", name)
            if not source.file.startswith("/") or "\0" in source.file:
                text = f"{source.file!r} is no absolute path"
                raise self._mistakes.wrong("file", text, "secrets", name)

    def _folder(self) -> Template:
        text = self._table.cwd
        folder = self._mistakes.attempt("cwd", partial(Template.parse, text))
        if folder.only is not None:
            param = self._table.params.get(folder.only)
            if not isinstance(param, PathParam) or default_of(param) is None:
                text = f"{folder.only!r} is no path that is always given"
                raise self._mistakes.wrong("cwd", text)
        elif folder.names or not folder.text.startswith("/"):
            text = f"{text!r} is neither an absolute path nor a param in braces"
            raise self._mistakes.wrong("cwd", text)
        return folder

    def _shown(self) -> set[str]:
        """Name the params that lock, description and limits show."""
        found: set[str] = set()
        params, table = self._table.params, self._table
        texts = [("lock", table.lock), ("description", table.description)]
        for key, text in (*texts, *(("limits", text) for text in table.limits)):
            if text is None:
                continue
            make = partial(Template.parse, text)
            for name in self._mistakes.attempt(key, make).names:
                if name not in params:
                    known = ", ".join(params) or "(none)"
                    wrong = f"{name!r} is no param, expected one of {known}"
                    raise self._mistakes.wrong(key, wrong)
                if isinstance(params[name], SecretParam):
                    raise self._mistakes.wrong(key, f"it shows secret {name!r}")
                found.add(name)
        return found

    def _check_used(self, used: set[str]) -> None:
        """Refuse a param that changes nothing: its place was forgotten."""
        for name in self._table.params:
            if name not in used:
                raise self._mistakes.at(
                    "the param goes nowhere; name it in argv or environment, or set "
                    "env",
                    "params",
                    name,
                )

    def _check_place(self) -> None:
        table = self._table
        key = "user" if table.user is not None else "group"
        find = partial(find_account, table.user, table.group)
        self._mistakes.attempt(key, find)
        if table.umask is not None and not _OCTAL.fullmatch(table.umask):
            text = f"{table.umask!r} is no octal number, as 027"
            raise self._mistakes.wrong("umask", text)
        if table.nice < 0 and os.geteuid() != 0:
            text = f"{table.nice} is below 0, which only root may have"
            raise self._mistakes.wrong("nice", text)
        for pattern in table.inherit:
            if not VARIABLE.fullmatch(pattern.removesuffix("*") or "_"):
                text = f"{pattern!r} is no name of a variable"
                raise self._mistakes.wrong("inherit", text)

    def _defaults(self) -> dict[str, Any]:
        """Give the defaults; params that need none come last, as in a signature."""
        found: dict[str, Any] = {}
        for name, param in self._table.params.items():
            make = partial(default_of, param)
            default = self._mistakes.attempt("default", make, "params", name)
            before = [n for n, other in found.items() if other is not msgspec.UNSET]
            if default is msgspec.UNSET and before:
                raise self._mistakes.at(
                    f"it has to be given and follows {before[-1]!r}, which need not; "
                    "put it before",
                    "params",
                    name,
                )
            found[name] = default
        return found

    def _types(self, routes: Routes) -> dict[str, Any]:
        """Give the types; what a script gets is used where any word may stand."""
        params = self._table.params
        leading = routes.words.leading
        if self._table.script is not None:
            leading = leading.union(params)
        return {
            name: self._mistakes.attempt(
                "type",
                partial(annotation, param, leading=name in leading),
                "params",
                name,
            )
            for name, param in params.items()
        }


def compile_command(name: str, table: CommandTable) -> Command:
    """Check a table and make it ready.

    Args:
        name: full name of the method.
        table: its settings.

    Raises:
        SettingsError: naming the table and the key.
    """
    return _Compiler(name, table).compile()
