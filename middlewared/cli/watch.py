"""``middlewared watch``: all jobs, live."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from middlewared.cli.output import describe, print_json
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client

__all__ = ["watch"]


@click.command(short_help="Watch all jobs, live.")
@click.option(
    "-n", "count", type=click.IntRange(1), help="Stop after this many events."
)
@connection_options()
@click.pass_obj
def watch(target: Target, count: int | None) -> None:
    """Watch all jobs, live, until Ctrl-C.

    On a terminal it is a table; elsewhere a line per event, with --json a line of JSON
    per event. A lost connection is made again.
    """

    async def body(client: "Client") -> None:
        if target.as_json:
            await _print_events(client, count, print_json)
        elif sys.stdout.isatty():
            from middlewared.cli.board import show_board  # noqa: PLC0415 - lazy

            await show_board(client, count)
        else:
            await _print_events(client, count, _print_line)

    target.run(body, reconnect=True)


async def _print_events(client: "Client", count: int | None, show: Any) -> None:
    """Print the events of jobs, up to *count*."""
    from middlewared.client import RESUMED  # noqa: PLC0415 - lazy

    printed = 0
    async with client.subscribe("core.get_jobs") as events:
        async for event in events:
            if event["msg"] == RESUMED:
                continue
            show(event)
            printed += 1
            if printed == count:
                break


def _print_line(event: Mapping[str, Any]) -> None:
    item = event.get("fields")
    text = describe(item) if item else f"job {event['id']}"
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    click.echo(f"{now} {event['msg']:<7} {text}")
