"""``middlewared watch``: all jobs, or some, live."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from middlewared.cli.conditions import parse_conditions
from middlewared.cli.job import make_filters
from middlewared.cli.output import describe, print_json
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client

__all__ = ["watch"]


@click.command(short_help="Watch jobs, live.")
@click.option(
    "-n", "count", type=click.IntRange(1), help="Stop after this many events."
)
@click.option("--method", metavar="NAME", help="Only this method; demo.* for several.")
@click.option(
    "--filter",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Only jobs that match, such as state=RUNNING; may be repeated.",
)
@click.option(
    "--rate", type=click.FloatRange(0.001, 1000), help="Updates a second about one job."
)
@connection_options()
@click.pass_obj
def watch(
    target: Target,
    count: int | None,
    method: str | None,
    conditions: tuple[str, ...],
    rate: float | None,
) -> None:
    """Watch all jobs, or some, live, until Ctrl-C.

    On a terminal it is a table; elsewhere a line per event, with --json a line of JSON
    per event. A lost connection is made again, and what was missed is told.
    """
    filters = [*make_filters((), method), *parse_conditions(conditions)]
    options: dict[str, Any] = {"filters": filters, "max_rate": rate, "removed": True}

    async def body(client: "Client") -> None:
        if target.as_json:
            await _print_events(client, options, count, print_json)
        elif sys.stdout.isatty():
            from middlewared.cli.board import show_board  # noqa: PLC0415 - lazy

            await show_board(client, options, count)
        else:
            await _print_events(client, options, count, _print_line)

    target.run(body, reconnect=True)


async def _print_events(
    client: "Client", options: dict[str, Any], count: int | None, show: Any
) -> None:
    """Print the events of jobs, up to *count*."""
    from middlewared.client import RESUMED  # noqa: PLC0415 - lazy

    printed = 0
    async with client.subscribe("core.get_jobs", **options) as events:
        async for event in events:
            if event["msg"] == RESUMED:
                if not event["recovered"]:
                    click.echo("middlewared: some events were lost", err=True)
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
