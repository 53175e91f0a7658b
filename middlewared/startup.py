"""What plugins do when a server begins to serve, not when a command opens its data."""

from collections.abc import Awaitable, Callable

__all__ = ["Startup"]


class Startup:
    """Runs what plugins add, in their order, just before the server listens."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], Awaitable[None]]] = []

    def add(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run *step* before the server listens."""
        self._steps.append(step)

    async def run(self) -> None:
        """Run every step, one after the other."""
        for step in self._steps:
            await step()
