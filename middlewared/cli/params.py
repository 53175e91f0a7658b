"""Words of a command line to params of a method."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

__all__ = ["NamedValue", "ParamCommand", "parse_param", "parse_params"]

#: Marks a word that starts like an option but is a number; no word contains it.
_MARK = "\0"

_NEGATIVE = re.compile(r"-\.?\d.*", re.DOTALL)


class ParamCommand(click.Command):
    """A command whose arguments may be negative numbers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Hide negative numbers from the option parser; `parse_params` unhides them."""
        marked = [f"{_MARK}{arg}" if _NEGATIVE.fullmatch(arg) else arg for arg in args]
        return super().parse_args(ctx, marked)


def parse_param(word: str) -> Any:
    """Read a word as JSON, or take it as it is."""
    try:
        return msgspec.json.decode(word)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return word


class NamedValue(click.ParamType[tuple[str, Any]]):
    """``NAME=VALUE``; the value is JSON, or text."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """Read the option."""
        name, mark, text = str(value).partition("=")
        if not mark:
            self.fail(f"{value!r} has no =, as in timeout=600")
        return name, parse_param(text)


def parse_params(words: Sequence[str]) -> list[Any]:
    """Read the params of a method; ``-`` stands for what is on standard input.

    Raises:
        click.UsageError: ``-`` occurs twice.
    """
    words = [word.removeprefix(_MARK) for word in words]
    if words.count("-") > 1:
        raise click.UsageError("'-' reads standard input, and that only once")
    return [parse_param(sys.stdin.read() if word == "-" else word) for word in words]
