"""Uids of jobs: random uuids (RFC 9562, version 4), made many at a time."""

import os

__all__ = ["Uids"]

#: Uids whose random bytes are read together: each read is a system call, and lets
#: another thread have the interpreter. So one costs a quarter of `uuid.uuid4`.
BATCH = 64
_BYTES = 16
#: A uid, of which all but the dashes and the version is random.
_PATTERN = b"00000000-0000-4000-8000-000000000000"
_LENGTH = len(_PATTERN)
#: Where the random digits go; of the one after the second dash two bits are given.
_PLACES = [at for at in range(_LENGTH) if _PATTERN[at] == ord("0")]
_VARIANT_AT = _PATTERN.index(b"8")
_VARIANTS = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)


class Uids:
    """Makes uids. Not to be used on both sides of a fork."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[str] = []

    def take(self) -> str:
        """Give a uid that nobody has."""
        if not self._left:
            self._left = _make()
        return self._left.pop()


def _make() -> list[str]:
    """Make uids, one digit of all of them at a time: so all loops are in C."""
    digits = os.urandom(_BYTES * BATCH).hex().encode()
    made = bytearray(_PATTERN * BATCH)
    for place, at in enumerate(_PLACES):
        made[at::_LENGTH] = digits[place :: 2 * _BYTES]
    variants = digits[2 * _BYTES - 1 :: 2 * _BYTES]
    made[_VARIANT_AT::_LENGTH] = variants.translate(_VARIANTS)
    text = made.decode()
    return [text[at : at + _LENGTH] for at in range(0, len(text), _LENGTH)]
