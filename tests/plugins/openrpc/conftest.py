"""A running server with accounts of three kinds, and a browser's HTTP client."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from jobs_stage import World, running_world
from jobs_wire import Wire, open_wire

from middlewared import Context, Plugin


def secret_plugin() -> Plugin:
    """Declare a method that only full admins may know of."""
    plugin = Plugin("vault")

    @plugin.method
    async def open_sesame(ctx: Context, word: str = "<b>&") -> dict[str, Any]:
        """Open the <script>alert(1)</script> vault."""
        return {}

    return plugin


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Run a server with an admin and a user, for all tests of a module."""
    async with running_world(
        secret_plugin(), tables={"auth": {"failure_delay": 0.0}}
    ) as world:
        await world.add_user("admin", "FULL_ADMIN")
        await world.add_user("ann", "JOB_USER")
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin."""
    async with world.admin() as wire:
        yield wire


@pytest.fixture
async def stranger(world: World) -> AsyncIterator[Wire]:
    """Connect somebody who does not log in."""
    async with open_wire(world.server.ws_url) as wire:
        yield wire


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Be a browser that nobody knows yet."""
    async with httpx.AsyncClient(
        base_url=f"{world.server.url}/api/docs/", follow_redirects=True
    ) as client:
        yield client
