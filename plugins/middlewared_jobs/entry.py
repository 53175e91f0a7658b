"""What an item is sorted by, and which job it is."""

from typing import Any

__all__ = ["Entry"]


class Entry(dict[str, Any]):
    """Some keys of an item.

    Attributes:
        number: id of the job.
    """

    __slots__ = ("number",)
    number: int

    @classmethod
    def of(cls, number: int, keys: Any) -> "Entry":
        """Make an entry of a mapping, or of pairs."""
        entry = cls(keys)
        entry.number = number
        return entry
