"""How long a job waits between two attempts; pure."""

import msgspec

__all__ = ["Backoff"]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How long a job waits between two attempts: longer after each.

    Attributes:
        first: seconds after the first attempt.
        factor: how much longer each wait is than the one before.
        most: seconds that no wait exceeds.
        jitter: part of the wait that is left to chance, 0 to 1, so that jobs that
            failed together do not come back together.
    """

    first: float = 1.0
    factor: float = 2.0
    most: float = 300.0
    jitter: float = 0.1

    def seconds(self, attempt: int, chance: float) -> float:
        """Give the wait after an attempt.

        Args:
            attempt: which one failed, from 1.
            chance: 0 to 1.
        """
        try:
            wait = min(self.most, self.first * self.factor ** (attempt - 1))
        except OverflowError:
            wait = self.most
        return wait * (1 - self.jitter * chance)
