"""Commands about the server itself: ``ping`` and ``methods``."""

import time
from typing import TYPE_CHECKING, Any

import click

from middlewared.cli.output import print_json, print_table
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client

__all__ = ["methods", "ping"]


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
