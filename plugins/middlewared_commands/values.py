"""Values of params: what no type can refuse, and the texts that programs get."""

import os
from pathlib import Path
from typing import Any

from middlewared import Secret, ValidationError, ValidationErrors
from middlewared_commands.params import ListParam, Param, PathParam

__all__ = ["checked", "texts_of"]


def texts_of(param: Param, value: Any) -> list[str] | None:
    """Give the words that a value is; None when there is no value.

    Of a secret there are none here.
    """
    match value:
        case None:
            return None
        case bool():
            return ["true" if value else "false"]
        case float():
            return [repr(value + 0.0)]  # there is no -0.0
        case list():
            return [str(item) for item in value] or None
        case Secret():
            return None
        case _:
            return [str(value)]


def checked(name: str, param: Param, value: Any) -> Any:
    """Check what a type cannot say, and resolve paths that have to be in a folder.

    Raises:
        ValidationErrors: naming the param and the value.
    """
    if isinstance(value, Secret):
        _check_word(name, value.get(), "it")
        return value
    if isinstance(value, list):
        return [_checked_text(f"{name}.{n}", param, v) for n, v in enumerate(value)]
    return _checked_text(name, param, value) if isinstance(value, str) else value


def _checked_text(name: str, param: Param, value: str) -> str:
    _check_word(name, value, ascii(value))
    folders = param.under if isinstance(param, PathParam | ListParam) else ()
    if not folders:
        return value
    found = os.path.realpath(value)
    if not any(Path(found).is_relative_to(os.path.realpath(f)) for f in folders):
        places = ", ".join(folders)
        raise _wrong(name, f"{value!r} is outside, expected a path in {places}")
    return found


def _check_word(name: str, value: str, shown: str) -> None:
    """Refuse what no word can hold (execve(2)), and what is no text."""
    if "\0" in value:
        raise _wrong(name, f"there is a NUL character in {shown}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _wrong(name, f"there is half a character in {shown}") from None


def _wrong(name: str, text: str) -> ValidationErrors:
    return ValidationErrors([ValidationError(name, text)])
