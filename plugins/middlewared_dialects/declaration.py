"""The plugin: its settings, its table, and its life."""

import importlib.resources
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from middlewared import Context, Plugin
from middlewared_dialects.organisation import Organisation
from middlewared_dialects.settings import DialectSettings

__all__ = ["plugin"]

plugin = Plugin(
    "dialects",
    requires=("jobs", "auth"),
    settings=DialectSettings,
    migrations=importlib.resources.files(__package__) / "migrations",
)


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Know who this installation is."""
    ctx.services.provide(Organisation, await Organisation.load(ctx))
    yield
