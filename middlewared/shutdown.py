"""The order to stop, and how long what runs may take."""

from collections.abc import Awaitable, Callable

import anyio

__all__ = ["Shutdown"]

#: Ends what a plugin runs, within this many seconds; True when all of it ended.
Drain = Callable[[float], Awaitable[bool]]


class Shutdown:
    """Waits for the order to stop and lets plugins drain what they run.

    Attributes:
        requested: set once the server shall stop.
        grace: seconds that what runs may take.
        draining: nothing new is accepted, though the server serves.
    """

    def __init__(self) -> None:
        self.requested = anyio.Event()
        self.grace = 0.0
        self.draining = False
        self._drains: list[Drain] = []

    def request(self, grace: float) -> None:
        """Order the stop; a second order changes nothing."""
        if not self.requested.is_set():
            self.grace = grace
            self.requested.set()

    def add_drain(self, drain: Drain) -> None:
        """Call *drain* when the server stops, before sessions are closed."""
        self._drains.append(drain)

    async def drain(self) -> bool:
        """Let every plugin end what it runs; False when something did not end."""
        ended = [await drain(self.grace) for drain in self._drains]
        return all(ended)
