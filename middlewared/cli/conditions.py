"""Words of a command line to the conditions of a filter."""

import re
from collections.abc import Sequence
from typing import Any

import click

from middlewared.cli.params import parse_param

__all__ = ["parse_conditions", "parse_fields", "parse_position"]

#: The operators that may stand between a path and a value; the longer ones first.
_OPERATORS = r"!\^|!\$|!=|>=|<=|=|>|<|\^|\$|~"
_CONDITION = re.compile(rf"([^=<>!~^$\s]+)\s*({_OPERATORS})\s*(.*)", re.DOTALL)
_LENGTHS = (2, 3)


def parse_conditions(words: Sequence[str]) -> list[Any]:
    """Read conditions like ``state=FAILED``, ``id>5`` or ``["id","in",[1,2]]``.

    Raises:
        click.BadParameter: a word is neither.
    """
    return [_condition(word) for word in words]


def _condition(word: str) -> Any:
    parsed = parse_param(word)
    if isinstance(parsed, list) and len(parsed) in _LENGTHS:
        return parsed
    found = _CONDITION.fullmatch(word)
    if found is None:
        raise click.BadParameter(
            f"{word!r} is no condition; expected one like state=FAILED, id>5 or "
            '["id","in",[1,2]]'
        )
    path, operator, value = found.groups()
    return [path, operator, parse_param(value)]


def parse_fields(words: Sequence[str]) -> list[str]:
    """Read fields, separated by commas or given one by one."""
    return [field for word in words for field in word.split(",") if field]


def parse_position(word: str | None) -> dict[str, Any] | None:
    """Read a position, ``EPOCH:SEQ``.

    Raises:
        click.BadParameter: it is something else.
    """
    if word is None:
        return None
    epoch, _, seq = word.rpartition(":")
    if not epoch or not seq.isdecimal():
        raise click.BadParameter(f"{word!r} is no position, expected EPOCH:SEQ")
    return {"epoch": epoch, "seq": int(seq)}
