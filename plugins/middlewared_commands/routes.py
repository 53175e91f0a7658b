"""How values get to a program: in words, variables, private files, standard input."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from middlewared import Secret
from middlewared_commands.environment import RESERVED
from middlewared_commands.mistakes import Mistakes
from middlewared_commands.params import (
    ListParam,
    Param,
    SecretParam,
)
from middlewared_commands.table import CommandTable, Source
from middlewared_commands.template import Template
from middlewared_commands.values import texts_of
from middlewared_commands.words import Words

__all__ = ["VARIABLE", "Routes", "compile_routes", "secret_texts"]

VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
#: Variables that choose which code runs, whatever the program is.
_POWERFUL = re.compile(
    "PATH|LD_.*|GCONV_PATH|IFS|ENV|BASH_ENV|BASHOPTS|SHELLOPTS|PS4|PYTHON.*|PERL5.*|"
    "RUBY(LIB|OPT)|NODE_OPTIONS|NODE_PATH|JAVA_TOOL_OPTIONS"
)


class Routes(msgspec.Struct, frozen=True):
    """The ways of all values of a command.

    Attributes:
        params: declarations by name.
        words: of the command line.
        environment: templates of variables, by variable.
        variables: the value that a variable has, by variable.
        filed: secrets that are in private files; elsewhere their name means the path.
        stdin: the value that is the standard input.
    """

    params: Mapping[str, Param]
    words: Words
    environment: Mapping[str, Template]
    variables: Mapping[str, str]
    filed: frozenset[str]
    stdin: str | None

    @property
    def used(self) -> frozenset[str]:
        """The values that get to the program."""
        found = set(self.words.names) | set(self.variables.values()) | self.filed
        found.update(*(t.names for t in self.environment.values()))
        return frozenset(found if self.stdin is None else {*found, self.stdin})

    def fill_environment(
        self,
        values: Mapping[str, Any],
        secrets: Mapping[str, str],
        paths: Mapping[str, str],
    ) -> dict[bytes, bytes]:
        """Give the variables; one whose value is not given is left out.

        Args:
            values: of the params, by name.
            secrets: texts, by name.
            paths: of the private files, by name.
        """
        found = {}
        for variable, name in self.variables.items():
            text = self._text(name, values, paths, secrets)
            if text is not None:
                found[variable.encode()] = text.encode()
        for variable, template in self.environment.items():
            texts = {n: self._text(n, values, paths, {}) for n in template.names}
            given = {name: text for name, text in texts.items() if text is not None}
            if len(given) == len(texts):
                found[variable.encode()] = template.fill(given).encode()
        return found

    def fill_stdin(
        self, values: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> str | None:
        """Give the standard input, None when there is none."""
        if self.stdin is None:
            return None
        return self._text(self.stdin, values, {}, secrets)

    def _text(
        self,
        name: str,
        values: Mapping[str, Any],
        paths: Mapping[str, str],
        secrets: Mapping[str, str],
    ) -> str | None:
        if name in self.filed:
            return paths.get(name)
        if name in secrets:
            return secrets[name]
        param = self.params.get(name)
        texts = None if param is None else texts_of(param, values.get(name))
        return texts[0] if texts else None


def secret_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Give the secrets among values, in clear."""
    return {n: v.get() for n, v in values.items() if isinstance(v, Secret)}


class _Finder:
    """Finds the ways in a table."""

    def __init__(self, table: CommandTable, mistakes: Mistakes) -> None:
        self._table = table
        self._mistakes = mistakes
        #: Whatever has a name in templates.
        self._named: dict[str, Param] = dict(table.params) | dict.fromkeys(
            table.secrets, SecretParam()
        )

    def find(self) -> Routes:
        make = partial(Words.compile, self._table.argv, self._named)
        words = self._mistakes.attempt("argv", make)
        variables = self._variables()
        environment = self._environment(variables)
        filed = frozenset(
            name
            for name, secret, _ in self._secrets()
            if secret.env is None and not secret.stdin
        )
        routes = Routes(
            self._table.params, words, environment, variables, filed, self._stdin()
        )
        self._check_secrets(routes)
        return routes

    def _declared(self) -> Iterator[tuple[str, Any, tuple[str, str]]]:
        """Give everything that has a value: name, declaration, place in the table."""
        for name, param in self._table.params.items():
            yield name, param, ("params", name)
        for name, source in self._table.secrets.items():
            yield name, source, ("secrets", name)

    def _secrets(self) -> Iterator[tuple[str, SecretParam | Source, tuple[str, str]]]:
        for name, declared, below in self._declared():
            if isinstance(declared, SecretParam | Source):
                yield name, declared, below

    def _stdin(self) -> str | None:
        found = [n for n, given, _ in self._declared() if getattr(given, "stdin", 0)]
        if len(found) > 1:
            text = f"there is one standard input, not {' and '.join(found)}"
            raise self._mistakes.wrong("stdin", text)
        return found[0] if found else None

    def _variables(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, declared, below in self._declared():
            variable = declared.env or self._script_variable(name, declared)
            if variable is None:
                continue
            if isinstance(declared, ListParam):
                raise self._mistakes.wrong("env", "a list fits in no variable", *below)
            self._check_variable("env", variable, *below)
            if isinstance(declared, Param):
                self._check_power("env", variable, *below)
            if variable in found:
                text = f"{variable} has the value of {found[variable]!r} already"
                raise self._mistakes.wrong("env", text, *below)
            found[variable] = name
        return found

    def _script_variable(self, name: str, declared: Any) -> str | None:
        """Name the variable that a script has without being told."""
        other_way = isinstance(declared, ListParam) or getattr(declared, "stdin", False)
        return None if self._table.script is None or other_way else name

    def _check_variable(self, key: str, variable: str, *below: str) -> None:
        if not VARIABLE.fullmatch(variable):
            text = f"{variable!r} is no name of a variable"
            raise self._mistakes.wrong(key, text, *below)
        if variable.startswith(RESERVED):
            text = f"{variable}: {RESERVED}* are the server's own"
            raise self._mistakes.wrong(key, text, *below)

    def _check_power(self, key: str, variable: str, *below: str) -> None:
        """Refuse to let callers choose which code runs."""
        if _POWERFUL.fullmatch(variable):
            text = f"{variable} chooses what code runs, so no param may set it"
            raise self._mistakes.wrong(key, text, *below)

    def _environment(self, variables: Mapping[str, str]) -> dict[str, Template]:
        found = {}
        for variable, text in self._table.environment.items():
            self._check_variable("environment", variable)
            if variable in variables:
                other = f"{variable} has the value of {variables[variable]!r} already"
                raise self._mistakes.wrong("environment", other)
            make = partial(Template.parse, text)
            found[variable] = self._mistakes.attempt("environment", make)
            for name in found[variable].names:
                self._check_part(name)
                if name in self._table.params:
                    self._check_power("environment", variable)
        return found

    def _check_part(self, name: str) -> None:
        if name not in self._named:
            known = ", ".join(self._named) or "(none)"
            text = f"{name!r} is no param, expected one of {known}"
            raise self._mistakes.wrong("environment", text)
        if isinstance(self._named[name], ListParam):
            text = f"list {name!r} fits in no variable"
            raise self._mistakes.wrong("environment", text)

    def _check_secrets(self, routes: Routes) -> None:
        """Refuse a secret that goes two ways, or none."""
        named = set(routes.words.names)
        named.update(*(t.names for t in routes.environment.values()))
        for name, secret, below in self._secrets():
            ways = [
                way
                for way, taken in (
                    ("env", secret.env is not None),
                    ("stdin", secret.stdin),
                    ("a file", name in named),
                )
                if taken
            ]
            if len(ways) > 1:
                text = f"it goes by {' and by '.join(ways)}, expected one way"
                raise self._mistakes.at(text, *below)
            if not ways and name not in routes.variables.values():
                raise self._mistakes.at(
                    "the secret goes nowhere; set env or stdin, or name it in argv or "
                    "environment, where it is the path of a private file",
                    *below,
                )


def compile_routes(table: CommandTable, mistakes: Mistakes) -> Routes:
    """Find the ways of all values in a table.

    Raises:
        SettingsError: one has no way, or a wrong one.
    """
    return _Finder(table, mistakes).find()
