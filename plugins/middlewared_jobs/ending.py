"""How the body of a job ended, before any of it is recorded."""

from typing import Any

import msgspec

from middlewared_jobs.outcome import EncodedResult

__all__ = ["Aborted", "Delivered", "Ended", "Failed", "Succeeded"]


class Succeeded(msgspec.Struct, frozen=True):
    """The body returned *value*."""

    value: Any


class Delivered(msgspec.Struct, frozen=True):
    """The body returned in a child, which encoded the result."""

    result: EncodedResult


class Failed(msgspec.Struct, frozen=True):
    """The body raised *error*."""

    error: BaseException


class Aborted(msgspec.Struct, frozen=True):
    """The body ended because it was asked to."""


Ended = Succeeded | Delivered | Failed | Aborted
