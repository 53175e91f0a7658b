"""The plugin: its settings, its table, and its life."""

import importlib.resources
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from middlewared import Context, Plugin
from middlewared.registry import Registry
from middlewared_dialects import arcgis, describing, infolink, ocapi, webex
from middlewared_dialects.organisation import Organisation
from middlewared_dialects.settings import DialectSettings

__all__ = ["plugin"]

plugin = Plugin(
    "dialects",
    requires=("jobs", "auth"),
    settings=DialectSettings,
    migrations=importlib.resources.files(__package__) / "migrations",
)


plugin.routes += describing.ROUTES
plugin.routes += [*arcgis.ROUTES, *infolink.ROUTES, *ocapi.ROUTES, *webex.ROUTES]


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Know who this installation is, and what each dialect shows."""
    ctx.services.provide(Organisation, await Organisation.load(ctx))
    registry, settings = ctx.get(Registry), ctx.get(DialectSettings)
    services = ctx.services
    services.provide(arcgis.Arcgis, arcgis.Arcgis(registry, settings.arcgis))
    services.provide(ocapi.Ocapi, ocapi.Ocapi(registry, settings.ocapi))
    services.provide(webex.Webex, webex.Webex(registry, settings.webex))
    services.provide(infolink.Infolink, infolink.Infolink(registry, settings.infolink))
    yield
