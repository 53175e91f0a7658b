"""``middlewared key``: what programs log in with."""

import datetime as dt
from typing import Any

import click
from msgspec import to_builtins

from middlewared.cli.administration import (
    MOMENT,
    Call,
    NoMoment,
    roles_text,
    run_administration,
)
from middlewared.cli.output import clock, print_json, print_table
from middlewared.cli.target import Target, connection_options

__all__ = ["key"]


@click.group(short_help="List, add, change and remove API keys.")
@connection_options()
def key() -> None:
    """List, add, change and remove API keys; the server may run or not."""


@key.command("add", short_help="Make an API key for an account.")
@click.argument("username")
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="Only this role; may be repeated.")
@click.option("--expires", type=MOMENT, help="When it ends; never by default.")
@connection_options()
@click.pass_obj
def key_add(
    target: Target,
    username: str,
    name: str,
    roles: tuple[str, ...],
    expires: dt.datetime | NoMoment | None,
) -> None:
    """Make an API key called NAME for account USERNAME, and print it, this once."""
    wanted: dict[str, Any] = {"username": username, "name": name}
    if roles:
        wanted["roles"] = list(roles)
    if isinstance(expires, dt.datetime):
        wanted["expires"] = expires

    async def body(call: Call) -> None:
        made = to_builtins(await call("api_key.create", wanted))
        if target.as_json:
            print_json(made)
        else:
            click.echo(made["key"])
            click.echo("Keep it: it cannot be shown again.", err=True)

    run_administration(target, body)


@key.command("ls", short_help="List API keys.")
@connection_options()
@click.pass_obj
def key_ls(target: Target) -> None:
    """List API keys; the keys themselves are not stored."""

    async def body(call: Call) -> None:
        keys = to_builtins(await call("api_key.query", [], {}))
        if target.as_json:
            print_json(keys)
        else:
            print_table(
                ["ID", "USER", "CREATED", "EXPIRES", "ROLES", "NAME"],
                [
                    [
                        str(item["id"]),
                        item["username"],
                        clock(item.get("created")),
                        clock(item.get("expires")) or "never",
                        roles_text(item.get("roles")),
                        item["name"],
                    ]
                    for item in keys
                ],
            )

    run_administration(target, body)


@key.command("set", short_help="Change an API key.")
@click.argument("key_id", metavar="ID", type=int)
@click.option("--name", metavar="TEXT", help="Give it another name.")
@click.option("--role", "roles", multiple=True, help="Only this role; may be repeated.")
@click.option("--all-roles", is_flag=True, help="All roles of the account.")
@click.option("--expires", type=MOMENT, help="When it ends, or never.")
@connection_options()
@click.pass_obj
def key_set(
    target: Target,
    key_id: int,
    name: str | None,
    roles: tuple[str, ...],
    expires: dt.datetime | NoMoment | None,
    *,
    all_roles: bool,
) -> None:
    """Change API key ID; sessions that came with it follow at once."""
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name
    if roles or all_roles:
        changes["roles"] = None if all_roles else list(roles)
    if expires is not None:
        changes["expires"] = None if isinstance(expires, NoMoment) else expires

    async def body(call: Call) -> None:
        changed = to_builtins(await call("api_key.update", key_id, changes))
        if target.as_json:
            print_json(changed)
        else:
            click.echo(f"changed key {key_id}")

    run_administration(target, body)


@key.command("rm", short_help="Remove an API key.")
@click.argument("key_id", metavar="ID", type=int)
@connection_options()
@click.pass_obj
def key_rm(target: Target, key_id: int) -> None:
    """Remove API key ID; it stops working at once."""

    async def body(call: Call) -> None:
        await call("api_key.delete", key_id)
        if target.as_json:
            print_json({"id": key_id})
        else:
            click.echo(f"removed key {key_id}")

    run_administration(target, body)
