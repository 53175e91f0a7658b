"""Delays between attempts to reconnect."""

import anyio
import pytest

from middlewared.client.backoff import Backoff, redial
from middlewared.client.errors import CannotConnect


def test_delays_double_up_to_the_limit() -> None:
    """Each delay lies between a half and the whole of a doubling span."""
    backoff = Backoff(first=1, limit=10)
    for whole in (1, 2, 4, 8, 10, 10):
        assert whole / 2 <= backoff.next_delay() <= whole


def test_many_attempts() -> None:
    """A server that is away for years overflows nothing."""
    backoff = Backoff(first=1, limit=10)
    assert all(backoff.next_delay() <= 10 for _ in range(5000))


def test_reset() -> None:
    """After a reset it starts over."""
    backoff = Backoff(first=1, limit=100)
    for _ in range(5):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() <= 1


async def test_redial_until_somebody_answers() -> None:
    """Refused attempts are repeated."""
    attempts = 0

    async def dial() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise CannotConnect("nobody")
        return "connection"

    assert await redial(dial, Backoff(first=0.001)) == "connection"
    assert attempts == 3


async def test_redial_gives_up() -> None:
    """When nobody answers for too long, it says so."""

    async def dial() -> None:
        await anyio.lowlevel.checkpoint()
        raise CannotConnect("nobody")

    with pytest.raises(TimeoutError, match=r"no connection again in 0\.05 s"):
        await redial(dial, Backoff(first=0.001), give_up_after=0.05)
