"""The plugin: its methods, its collection, and its life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

import anyio

from middlewared import Context, Plugin
from middlewared.errors import SettingsError
from middlewared.startup import Startup
from middlewared_schedules.clockwork import Clockwork
from middlewared_schedules.commands import schedule
from middlewared_schedules.cron import ZoneError, find_zone
from middlewared_schedules.methods import add_methods, snapshot
from middlewared_schedules.schedule import ScheduleItem
from middlewared_schedules.schedules import COLLECTION, Schedules
from middlewared_schedules.settings import ScheduleSettings

__all__ = ["plugin"]

plugin = Plugin(
    "schedules",
    requires=("jobs",),
    namespaces=("schedule",),
    settings=ScheduleSettings,
    migrations=files("middlewared_schedules") / "migrations",
)
plugin.collection(
    COLLECTION,
    ScheduleItem,
    doc="Schedules as they are made, changed, due and removed.",
    authenticated=True,
    snapshot=snapshot,
)
plugin.commands.append(schedule)
add_methods(plugin)


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Load the schedules; start their jobs once the server serves."""
    try:
        find_zone(ctx.get(ScheduleSettings).timezone)
    except ZoneError as exc:
        raise SettingsError(f"setting timezone in table 'schedules': {exc}") from None
    schedules = Schedules(ctx)
    await schedules.load()
    clockwork = Clockwork(ctx, schedules)
    ctx.services.provide(Schedules, schedules)
    ctx.services.provide(Clockwork, clockwork)
    async with anyio.create_task_group() as group:

        async def begin() -> None:
            await clockwork.begin()
            group.start_soon(clockwork.run, name="schedules")

        ctx.get(Startup).add(begin)
        yield
        group.cancel_scope.cancel()
