"""Which of the matches of a query are given."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from middlewared.filters import QueryOptions

__all__ = ["DEFAULT_LIMIT", "Part", "part_of"]

T = TypeVar("T")

#: Matches returned when a query has no limit: the newest ones, ascending by id.
DEFAULT_LIMIT = 1000
#: More than there can be, and what SQLite takes.
MAX_NEEDED = 2**62


class Part(msgspec.Struct, frozen=True):
    """A piece of the matches in their order.

    Attributes:
        start: how many are left out before it.
        count: how many it has at most.
        newest: it is the last piece of all matches, not the one at *start*.
    """

    start: int
    count: int
    newest: bool

    @property
    def needed(self) -> int:
        """How many matches have to be known, from the start or from the end."""
        return min(self.start + self.count, MAX_NEEDED)

    def cut(self, found: Sequence[T]) -> Sequence[T]:
        """Cut the piece out of the matches that are known."""
        if self.newest:
            return found[-self.count :]
        return found[self.start : self.needed]


def part_of(options: QueryOptions) -> Part:
    """Say which matches a query gives; without any wish the newest ones."""
    newest = not (options.limit or options.order_by or options.offset or options.get)
    count = 1 if options.get else options.limit or DEFAULT_LIMIT
    return Part(options.offset, count, newest)
