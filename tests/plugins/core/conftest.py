"""A running server, a full admin, and somebody who is not logged in."""

from collections.abc import AsyncIterator

import pytest
from jobs_stage import World, running_world
from jobs_wire import Wire, open_wire


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with its default settings."""
    async with running_world() as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin."""
    async with world.admin(watch=False) as wire:
        yield wire


@pytest.fixture
async def stranger(world: World) -> AsyncIterator[Wire]:
    """Connect somebody who does not log in."""
    async with open_wire(world.server.ws_url) as wire:
        yield wire
