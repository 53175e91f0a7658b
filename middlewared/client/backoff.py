"""When to dial again after a connection was lost."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from middlewared.client.errors import CannotConnect

__all__ = ["Backoff", "redial"]

log = logging.getLogger("middlewared.client")

T = TypeVar("T")


class Backoff:
    """Seconds to wait before each attempt to reconnect.

    They double from *first* to *limit*; each is drawn at random between a half and the
    whole, so that the clients of a restarted server do not come all at once.
    """

    def __init__(self, *, first: float = 0.25, limit: float = 10.0) -> None:
        self._first = first
        self._limit = limit
        self._attempts = 0

    def next_delay(self) -> float:
        """Give the next delay in seconds."""
        # 2**32 is beyond any limit, and a float still.
        whole = min(self._limit, self._first * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads, hides nothing

    def reset(self) -> None:
        """Start over: the connection stands."""
        self._attempts = 0


async def redial(
    dial: Callable[[], Awaitable[T]],
    backoff: Backoff,
    *,
    give_up_after: float | None = None,
) -> T:
    """Dial, after a delay each time, until somebody answers.

    Args:
        dial: opens a connection or raises `CannotConnect`.
        backoff: says how long to wait; not reset here, since a server may answer and
            hang up again at once.
        give_up_after: seconds for all attempts together; None means no end.

    Raises:
        TimeoutError: nobody answered for so long.
    """
    with anyio.move_on_after(give_up_after):
        while True:
            await anyio.sleep(backoff.next_delay())
            try:
                return await dial()
            except CannotConnect as error:
                log.info("%s", error)
    raise TimeoutError(f"no connection again in {give_up_after:g} s")
