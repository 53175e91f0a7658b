"""A job that leaves, or has left, every list."""

import msgspec

__all__ = ["Removal"]


class Removal(msgspec.Struct, frozen=True):
    """A job that is in no list any more.

    Attributes:
        id: its number.
        owner: whose it was.
        method: its method.
    """

    id: int
    owner: int | None
    method: str
