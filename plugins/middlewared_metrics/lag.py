"""How late the event loop is: what everybody waits for when something blocks it."""

import asyncio

import anyio

from middlewared.figures import Histogram

__all__ = ["INTERVAL", "LoopLag"]

#: Seconds between two looks; what blocks for shorter is seen now and then.
INTERVAL = 0.25
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class LoopLag:
    """Sleeps, and counts how much later than asked it was woken.

    Attributes:
        histogram: seconds that it was late.
    """

    def __init__(self) -> None:
        self.histogram = Histogram(BOUNDS)

    async def watch(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL
            await anyio.sleep(INTERVAL)
            self.histogram.observe(max(0.0, loop.time() - due))
