"""What the exit code of a command means; pure."""

import signal
from enum import Enum

import msgspec

from middlewared_commands.table import ExitTable

__all__ = ["Exits", "Verdict", "compile_exits", "in_words"]

MAX_CODE = 255


class Verdict(Enum):
    """How a run came out."""

    SUCCESS = "success"
    #: It did its work, or part of it, and something is to be looked at.
    WARNING = "warning"
    FAILURE = "failure"


class Exits(msgspec.Struct, frozen=True):
    """The exit codes of a command.

    Attributes:
        success: codes of a run that did its work.
        warnings: codes of a run that did part of it.
        messages: what a code means, by code.
    """

    success: frozenset[int]
    warnings: frozenset[int]
    messages: dict[int, str]

    def judge(self, status: int) -> Verdict:
        """Say how a run came out; *status* is its exit code, or a negative signal."""
        if status in self.success:
            return Verdict.SUCCESS
        return Verdict.WARNING if status in self.warnings else Verdict.FAILURE

    def text(self, program: str, status: int) -> str:
        """Say it in words, with the message of the settings if there is one."""
        message = self.messages.get(status)
        return f"{program} {in_words(status)}" + (f": {message}" if message else "")


def in_words(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"


def compile_exits(table: ExitTable) -> Exits:
    """Make the table ready.

    Raises:
        ValueError: a code is none, or has two meanings.
    """
    messages: dict[int, str] = {}
    for key, text in table.messages.items():
        if not key.isdecimal():
            raise ValueError(f"message of {key!r}, expected an exit code")
        messages[int(key)] = text
    for code in (*table.success, *table.warnings, *messages):
        if not 0 <= code <= MAX_CODE:
            raise ValueError(f"{code} is no exit code, expected 0 to {MAX_CODE}")
    both = set(table.success) & set(table.warnings)
    if both:
        raise ValueError(f"{min(both)} means success and warning")
    return Exits(frozenset(table.success), frozenset(table.warnings), messages)
