"""Uids of jobs: random uuids (RFC 9562, version 4), made many at a time."""

import os

__all__ = ["Uids"]

#: Uids whose random bytes are read together: each read is a system call, and lets
#: another thread have the interpreter. So one costs a quarter of `uuid.uuid4`.
BATCH = 64
_BYTES = 16
_VARIANTS = "89ab"


class Uids:
    """Makes uids. Not to be used on both sides of a fork."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[str] = []

    def take(self) -> str:
        """Give a uid that nobody has."""
        if not self._left:
            digits = os.urandom(_BYTES * BATCH).hex()
            self._left = [
                digits[at : at + 2 * _BYTES] for at in range(0, len(digits), 2 * _BYTES)
            ]
        made = self._left.pop()
        variant = _VARIANTS[int(made[16], 16) & 3]
        return (
            f"{made[:8]}-{made[8:12]}-4{made[13:16]}-{variant}{made[17:20]}-{made[20:]}"
        )
