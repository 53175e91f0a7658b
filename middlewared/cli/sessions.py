"""``middlewared session``: who is logged in."""

from typing import TYPE_CHECKING

import click

from middlewared.cli.exits import Exit
from middlewared.cli.output import clock, print_json, print_table
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client

__all__ = ["session"]


@click.group(short_help="List and end logins.")
@connection_options()
def session() -> None:
    """List and end the logins on open connections."""


@session.command("ls", short_help="List logins.")
@connection_options()
@click.pass_obj
def session_ls(target: Target) -> None:
    """List who is logged in, since when, from where and how; the own one has a star."""

    async def body(client: "Client") -> None:
        found = await client.call("auth.sessions", [], {})
        if target.as_json:
            print_json(found)
        else:
            print_table(
                ["", "ID", "USER", "SINCE", "FROM", "HOW"],
                [
                    [
                        "*" if item["current"] else " ",
                        item["id"],
                        item["credentials_data"]["username"],
                        clock(item["created_at"]),
                        item["origin"],
                        item["credentials"],
                    ]
                    for item in found
                ],
            )

    target.run(body)


@session.command("end", short_help="Log somebody out.")
@click.argument("session_id", metavar="ID", required=False)
@click.option("--others", is_flag=True, help="All but this one and the unix socket's.")
@connection_options()
@click.pass_obj
def session_end(target: Target, session_id: str | None, *, others: bool) -> None:
    """Log session ID out, and end the tokens that it made."""
    if others is (session_id is not None):
        raise click.UsageError("give either an ID or --others")

    async def body(client: "Client") -> int:
        if session_id is None:
            ended = await client.call("auth.terminate_other_sessions")
        else:
            ended = await client.call("auth.terminate_session", session_id)
        if target.as_json:
            print_json({"ended": ended})
        elif not ended:
            click.echo(f"middlewared: there is no session {session_id}", err=True)
        return int(Exit.SUCCESS if ended else Exit.FAILED)

    target.run(body)
