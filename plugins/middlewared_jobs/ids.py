"""Ids of jobs: rising integers, never used again, whatever happens to the rows."""

__all__ = ["BLOCK", "JobIds"]

#: Ids reserved at a time; a crash skips at most so many.
BLOCK = 1000


class JobIds:
    """Hands out ids below a high-water mark that is committed first.

    The mark, not ``max(id)``, decides where ids go on after a restart: transient and
    deleted jobs do not lend theirs.

    Args:
        first: the next id, as the store remembers it.

    Attributes:
        committed: ids below it may leave the server.
    """

    def __init__(self, first: int) -> None:
        self.next = first
        self.reserved = first
        self.committed = first

    def take(self) -> tuple[int, int | None]:
        """Take an id.

        Returns:
            The id, and the mark to write before the id leaves the server, None when
            it is written or on its way already.
        """
        number = self.next
        self.next += 1
        if number < self.reserved:
            return number, None
        self.reserved = number + BLOCK
        return number, self.reserved
