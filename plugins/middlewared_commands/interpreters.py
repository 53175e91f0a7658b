"""Programs that take one of their words for a script: no value may be in it; pure."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from middlewared_commands.template import Template

__all__ = ["spliced_script"]

#: Options before a script, by the programs that have them.
_OPTIONS = {
    "sh bash dash ash zsh ksh mksh fish csh tcsh busybox su": "-[A-Za-z]*c",
    "python pypy": "-[A-Za-z]*c",
    "perl ruby lua": "-[A-Za-z]*[eE]",
    "node nodejs bun deno": "-e|-p|-pe|--eval|--print|eval",
    "php": "-r",
    "env": "-S|--split-string",
}
_BY_PROGRAM = {
    program: re.compile(option)
    for programs, option in _OPTIONS.items()
    for program in programs.split()
}
_VERSION = re.compile(r"[-.\d]+$")


def spliced_script(words: Sequence[Template]) -> str | None:
    """Name the program that would take a value for a part of its script.

    As in ``sh -c "echo {text}"``, also behind programs that start others, such as
    ``nice`` or ``sudo``. Only the usual ways of the usual programs are known.
    """
    option: re.Pattern[str] | None = None
    program = ""
    script_next = False
    for word in words:
        if word.names:
            if script_next or (option is not None and _joins(option, word.prefix)):
                return program
            script_next = False
            continue
        script_next = option is not None and bool(option.fullmatch(word.text))
        name = _VERSION.sub("", PurePath(word.text).name)
        if name in _BY_PROGRAM:
            program, option = name, _BY_PROGRAM[name]
    return None


def _joins(option: re.Pattern[str], prefix: str) -> bool:
    """Tell whether a word has option and script in one: ``--eval=x``, ``-ex``."""
    parts = (prefix.partition("=")[0], prefix[:2])
    return any(option.fullmatch(part) for part in parts)
