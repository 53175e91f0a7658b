"""The methods of ``schedule``."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from middlewared import Context, Event, Example, Plugin
from middlewared.events import Wanted
from middlewared.filters import QueryOptions, parse_filters, run_query
from middlewared_schedules.access import (
    caller_of,
    find_own,
    find_readable,
    is_readable,
)
from middlewared_schedules.clockwork import Clockwork
from middlewared_schedules.drafts import (
    ScheduleCreate,
    ScheduleUpdate,
    draft,
    find_method,
    redraft,
)
from middlewared_schedules.schedule import ScheduleItem
from middlewared_schedules.schedules import Schedules

__all__ = ["add_methods", "snapshot"]

_decode = msgspec.json.decode
_encode = msgspec.json.encode


async def snapshot(ctx: Context, wanted: Wanted) -> Iterable[Event]:
    """Give the schedules as they are, for a subscription."""
    schedules = ctx.get(Schedules)
    return [schedules.event(e, "added") for e in list(schedules.entries.values())]


def add_methods(plugin: Plugin) -> None:
    """Declare the methods on the plugin."""
    _add_queries(plugin)
    _add_changes(plugin)


def _add_queries(plugin: Plugin) -> None:
    @plugin.method(
        authenticated=True,
        read_only=True,
        examples=[
            Example(
                "what starts next",
                [
                    [["enabled", "=", True]],
                    {"order_by": ["next_run"], "select": ["name", "next_run"]},
                ],
                [{"name": "nightly", "next_run": {"$date": 1_800_064_800_000}}],
            )
        ],
    )
    def query(
        ctx: Context,
        filters: list[Any] = [],  # noqa: B006 - never changed
        options: QueryOptions = QueryOptions(),  # noqa: B008 - frozen
    ) -> Any:
        """List the schedules that match, by the filters and options of ``job.query``.

        Callers without full administrative rights see their own, and those of methods
        that they hold a read role of.
        """
        entries = list(ctx.get(Schedules).entries.values())
        items = (_decode(_encode(e.item)) for e in entries if is_readable(ctx, e))
        return run_query(items, parse_filters(filters), options)

    @plugin.method(
        authenticated=True, read_only=True, examples=[Example("schedule 3", [3])]
    )
    async def get(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
    ) -> ScheduleItem:
        """Return one schedule."""
        return find_readable(ctx, id).item


def _add_changes(plugin: Plugin) -> None:
    @plugin.method(
        authenticated=True,
        examples=[
            Example(
                "every night at two",
                [
                    {
                        "name": "nightly",
                        "method": "demo.checksum",
                        "params": ["/usr/lib/python3"],
                        "cron": "0 2 * * *",
                        "timezone": "Europe/Berlin",
                    }
                ],
            ),
            Example(
                "every ten minutes, never late",
                [
                    {
                        "name": "often",
                        "method": "demo.sleep",
                        "params": [5],
                        "interval": 600,
                        "missed": "skip",
                    }
                ],
            ),
        ],
    )
    async def create(ctx: Context, data: ScheduleCreate) -> ScheduleItem:
        """Make a schedule and return it.

        Needs the rights that calling the method needs. Its jobs belong to the caller
        and run with the rights that the caller then has, as far as this login has them.
        """
        made = draft(ctx, caller_of(ctx), data)
        return (await ctx.get(Schedules).create(made)).item

    @plugin.method(
        authenticated=True, examples=[Example("pause it", [3, {"enabled": False}])]
    )
    async def update(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
        data: ScheduleUpdate,
    ) -> ScheduleItem:
        """Change a schedule of one's own, any for full admins, and return it.

        What is not given stays. A job that runs or waits is not changed.
        """
        entry = find_own(ctx, id)
        async with entry.lock:
            find_own(ctx, id)  # it may have been removed meanwhile
            change = partial(redraft, ctx, caller_of(ctx), data=data)
            await ctx.get(Schedules).change(entry, change)
        return entry.item

    @plugin.method(authenticated=True, examples=[Example("schedule 3", [3], None)])
    async def delete(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
    ) -> None:
        """Remove a schedule of one's own, any for full admins; its jobs stay."""
        entry = find_own(ctx, id)
        async with entry.lock:
            find_own(ctx, id)  # it may have been removed meanwhile
            await ctx.get(Schedules).remove(entry)

    @plugin.method(authenticated=True, examples=[Example("schedule 3", [3], 27)])
    async def run(
        ctx: Context,
        id: int,  # noqa: A002 - the wire's word
    ) -> int:
        """Start a job of a schedule now, also of a disabled one, and return its id.

        The job belongs to the owner of the schedule. Needs the rights that calling the
        method needs. When the schedule is due next does not change.
        """
        entry = find_own(ctx, id)
        find_method(ctx, entry.schedule.method, caller_of(ctx))
        return (await ctx.get(Clockwork).run_now(entry)).id
