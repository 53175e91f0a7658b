"""A running server with jobs that the tests hold in their hand."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings
from jobs_stage import World, running_world
from jobs_wire import Wire

# Timed out examples would tell of the machine, not of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with its default settings."""
    async with running_world() as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin that watches jobs, new answer style."""
    async with world.admin() as wire:
        yield wire
