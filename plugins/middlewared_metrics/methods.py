"""metrics.read, and what the plugin watches while the server runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio.to_thread

from middlewared import Context, Example
from middlewared_metrics.declaration import METRICS_READ, plugin
from middlewared_metrics.lag import LoopLag
from middlewared_metrics.snapshot import take_snapshot

__all__ = ["start", "write_metrics"]


async def write_metrics(ctx: Context, accept: str = "") -> tuple[bytes, str]:
    """Write the figures as they are now, in a thread.

    Args:
        ctx: reaches them.
        accept: header of a request, which chooses the format.

    Returns:
        The text, and its content type.
    """
    # Imported by the first look at the figures, which most servers never see.
    from middlewared_metrics.families import write_out  # noqa: PLC0415

    write = partial(write_out, take_snapshot(ctx), accept)
    return await anyio.to_thread.run_sync(write)


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Watch the loop."""
    lag = LoopLag()
    ctx.services.provide(LoopLag, lag)
    watch = ctx.tasks.start(lag.watch(), name="loop lag")
    try:
        yield
    finally:
        watch.cancel()


@plugin.method(
    roles=[METRICS_READ], read_only=True, examples=[Example("all figures", [])]
)
async def read(ctx: Context) -> str:
    """Return the figures of the server as text in the format of Prometheus.

    They speak of methods, never of owners or params of jobs. ``GET /metrics`` gives
    the same.
    """
    text, _ = await write_metrics(ctx)
    return text.decode()
