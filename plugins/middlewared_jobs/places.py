"""Places for what takes descriptors and lasts: so many at one time."""

import errno

from middlewared import CallError

__all__ = ["Places"]


class Places:
    """A number of places.

    Args:
        limit: how many there are.
        what: takes them; plural, for the error.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._taken = 0

    def take(self) -> None:
        """Take a place.

        Raises:
            CallError: EBUSY, there is none.
        """
        if self._taken >= self._limit:
            raise CallError(
                f"There are {self._limit} {self._what} already", errno.EBUSY
            )
        self._taken += 1

    def give_back(self) -> None:
        """Give a place back."""
        self._taken -= 1
