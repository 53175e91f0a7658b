"""``middlewared subscribe``: the notifications of any collection."""

from typing import TYPE_CHECKING, Any

import click

from middlewared.cli.conditions import (
    parse_conditions,
    parse_fields,
    parse_position,
)
from middlewared.cli.exits import Exit
from middlewared.cli.output import print_json
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client, Subscription

__all__ = ["subscribe"]


@click.command(short_help="Print the notifications of a collection.")
@click.argument("event")
@click.option("-n", "count", type=click.IntRange(1), help="Stop after this many.")
@click.option(
    "-t", "timeout", type=click.FloatRange(0, min_open=True), help="Stop after seconds."
)
@click.option(
    "--filter",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Only items that match, such as state=FAILED; may be repeated.",
)
@click.option(
    "--select",
    "fields",
    multiple=True,
    metavar="FIELD,...",
    help="Only these fields of the items.",
)
@click.option("--snapshot", is_flag=True, help="First the items that there are.")
@click.option(
    "--since", metavar="EPOCH:SEQ", help="What was missed since this position."
)
@click.option(
    "--rate",
    type=click.FloatRange(0.001, 1000),
    help="Updates a second about one item.",
)
@click.option("--removed", is_flag=True, help="Also items that are gone.")
@click.option(
    "-r", "--reconnect", is_flag=True, help="Make a lost connection again and go on."
)
@connection_options()
@click.pass_obj
def subscribe(
    target: Target,
    event: str,
    count: int | None,
    timeout: float | None,
    conditions: tuple[str, ...],
    fields: tuple[str, ...],
    since: str | None,
    rate: float | None,
    *,
    snapshot: bool,
    removed: bool,
    reconnect: bool,
) -> None:
    """Subscribe to EVENT and print each notification as a line of JSON.

    Ends after -n notifications, or when the server ends the subscription. After -t
    seconds it ends too; with -n that is a failure (exit code 1).
    """
    options: dict[str, Any] = {
        "filters": parse_conditions(conditions),
        "select": parse_fields(fields),
        "since": parse_position(since),
        "snapshot": snapshot,
        "max_rate": rate,
        "removed": removed or None,
    }

    async def body(client: "Client") -> int:
        import anyio  # noqa: PLC0415 - lazy

        printed = 0
        async with client.subscribe(event, **options) as notifications:
            if not notifications.recovered:
                click.echo(
                    "middlewared: what followed the position is not kept any more",
                    err=True,
                )
            with anyio.move_on_after(timeout) as scope:
                printed = await _print_notifications(notifications, count)
        if scope.cancelled_caught and count is not None:
            click.echo(
                f"middlewared: fewer than {count} notifications in {timeout:g} s",
                err=True,
            )
            return Exit.FAILED
        return Exit.SUCCESS if count is None or printed >= count else Exit.FAILED

    target.run(body, reconnect=reconnect)


async def _print_notifications(notifications: "Subscription", count: int | None) -> int:
    """Print up to *count* notifications and return how many there were."""
    printed = 0
    async for notification in notifications:
        print_json(notification)
        printed += 1
        if printed == count:
            break
    return printed
