"""Commands about the server itself: ``ping``, ``methods``, ``subscribe``."""

import time
from typing import TYPE_CHECKING, Any

import click

from middlewared.cli.exits import Exit
from middlewared.cli.output import print_json, print_table
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client, Subscription

__all__ = ["methods", "ping", "subscribe"]


@click.command(short_help="Ask the server for a sign of life.")
@connection_options()
@click.pass_obj
def ping(target: Target) -> None:
    """Ask the server for a sign of life, and say how long it took."""

    async def body(client: "Client") -> None:
        start = time.perf_counter()
        answer = await client.call("core.ping")
        took = (time.perf_counter() - start) * 1000
        if target.as_json:
            print_json({"answer": answer, "milliseconds": round(took, 3)})
        else:
            click.echo(f"{answer} ({took:.1f} ms)")

    target.run(body)


@click.command(short_help="List the methods that can be called.")
@click.argument("prefix", default="")
@connection_options()
@click.pass_obj
def methods(target: Target, prefix: str) -> None:
    """List the methods whose names start with PREFIX, marking job methods."""

    async def body(client: "Client") -> None:
        table = await client.call("core.get_methods")
        found = {name: table[name] for name in sorted(table) if name.startswith(prefix)}
        if target.as_json:
            print_json(found)
        else:
            print_table(["METHOD", "JOB", "WHAT IT DOES"], map(_row, found.items()))

    target.run(body)


def _row(method: tuple[str, dict[str, Any]]) -> list[str]:
    name, about = method
    lines = (about.get("description") or "").strip().splitlines()
    return [name, "job" if about.get("job") else "", lines[0] if lines else ""]


@click.command(short_help="Print the notifications of a collection.")
@click.argument("event")
@click.option("-n", "count", type=click.IntRange(1), help="Stop after this many.")
@click.option(
    "-t", "timeout", type=click.FloatRange(0, min_open=True), help="Stop after seconds."
)
@connection_options()
@click.pass_obj
def subscribe(
    target: Target, event: str, count: int | None, timeout: float | None
) -> None:
    """Subscribe to EVENT and print each notification as a line of JSON.

    Ends after -n notifications, or when the server ends the subscription. After -t
    seconds it ends too; with -n that is a failure (exit code 1).
    """

    async def body(client: "Client") -> int:
        import anyio  # noqa: PLC0415 - lazy

        printed = 0
        async with client.subscribe(event) as notifications:
            with anyio.move_on_after(timeout) as scope:
                printed = await _print_notifications(notifications, count)
        if scope.cancelled_caught and count is not None:
            click.echo(
                f"middlewared: fewer than {count} notifications in {timeout:g} s",
                err=True,
            )
            return Exit.FAILED
        return Exit.SUCCESS if count is None or printed >= count else Exit.FAILED

    target.run(body)


async def _print_notifications(notifications: "Subscription", count: int | None) -> int:
    """Print up to *count* notifications and return how many there were."""
    printed = 0
    async for notification in notifications:
        print_json(notification)
        printed += 1
        if printed == count:
            break
    return printed
