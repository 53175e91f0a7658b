"""The order to stop."""

import anyio

from middlewared.shutdown import Shutdown


async def test_first_order_counts() -> None:
    """A second order changes nothing, not even the time that is left."""
    shutdown = Shutdown()
    assert not shutdown.requested.is_set()
    shutdown.request(25.0)
    shutdown.request(3.0)
    assert shutdown.grace == 25.0
    with anyio.fail_after(1):
        await shutdown.requested.wait()


async def test_drains_get_the_grace_in_their_order() -> None:
    """Every plugin is asked, also after one did not make it."""
    shutdown = Shutdown()
    asked: list[tuple[str, float]] = []

    async def slow(grace: float) -> bool:
        asked.append(("slow", grace))
        return False

    async def quick(grace: float) -> bool:
        asked.append(("quick", grace))
        return True

    shutdown.add_drain(slow)
    shutdown.add_drain(quick)
    shutdown.request(2.0)
    assert await shutdown.drain() is False
    assert asked == [("slow", 2.0), ("quick", 2.0)]


async def test_nothing_to_drain() -> None:
    """A server without jobs stops cleanly."""
    assert await Shutdown().drain() is True
