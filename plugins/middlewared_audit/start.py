"""What the plugin runs while the server runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from middlewared import Context
from middlewared.audit import Trail
from middlewared_audit.declaration import AuditSettings, plugin
from middlewared_audit.keeping import Keeper
from middlewared_audit.retention import Retention

__all__ = ["start"]


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Keep what is noted from now on, and let go what is old."""
    settings = ctx.get(AuditSettings)
    keeper = Keeper(ctx.database, ctx.clock, settings)
    retention = Retention(ctx.database, ctx.clock, settings)
    ctx.get(Trail).attach(keeper.keep)
    ctx.tasks.start(retention.run(), name="retention of the audit log")
    try:
        yield
    finally:
        ctx.get(Trail).attach(None)
        keeper.flush()
