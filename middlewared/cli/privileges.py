"""``middlewared privilege``: groups of roles."""

from typing import Any

import click
from msgspec import to_builtins

from middlewared.cli.administration import (
    Call,
    changed_set,
    find_one,
    roles_text,
    run_administration,
)
from middlewared.cli.output import print_json, print_table
from middlewared.cli.target import Target, connection_options

__all__ = ["privilege"]


@click.group(short_help="List, add, change and remove groups of roles.")
@connection_options()
def privilege() -> None:
    """List, add, change and remove groups of roles; the server may run or not."""


@privilege.command("add", short_help="Add a privilege.")
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="Give a role; may be repeated.")
@connection_options()
@click.pass_obj
def privilege_add(target: Target, name: str, roles: tuple[str, ...]) -> None:
    """Add privilege NAME; `user set --add-privilege` gives it to accounts."""

    async def body(call: Call) -> None:
        data = {"name": name, "roles": list(roles)}
        made = to_builtins(await call("privilege.create", data))
        if target.as_json:
            print_json(made)
        else:
            click.echo(f"added privilege {name}")

    run_administration(target, body)


@privilege.command("ls", short_help="List privileges.")
@connection_options()
@click.pass_obj
def privilege_ls(target: Target) -> None:
    """List privileges, and who holds them."""

    async def body(call: Call) -> None:
        found = to_builtins(await call("privilege.query", [], {}))
        if target.as_json:
            print_json(found)
        else:
            print_table(
                ["ID", "NAME", "ROLES", "USERS"],
                [
                    [
                        str(item["id"]),
                        item["name"],
                        roles_text(item["roles"]),
                        " ".join(item["users"]),
                    ]
                    for item in found
                ],
            )

    run_administration(target, body)


@privilege.command("set", short_help="Change a privilege.")
@click.argument("name")
@click.option("--rename", metavar="NAME", help="Give it another name.")
@click.option("--add-role", "add", multiple=True, help="Put a role in.")
@click.option("--remove-role", "remove", multiple=True, help="Take a role out.")
@connection_options()
@click.pass_obj
def privilege_set(
    target: Target,
    name: str,
    rename: str | None,
    add: tuple[str, ...],
    remove: tuple[str, ...],
) -> None:
    """Change privilege NAME; whoever holds it gains and loses the roles at once."""

    async def body(call: Call) -> None:
        found = await find_one(call, "privilege", "name", name)
        changes: dict[str, Any] = {} if rename is None else {"name": rename}
        if add or remove:
            changes["roles"] = changed_set(found["roles"], add, remove)
        changed = to_builtins(await call("privilege.update", found["id"], changes))
        if target.as_json:
            print_json(changed)
        else:
            click.echo(f"changed privilege {changed['name']}")

    run_administration(target, body)


@privilege.command("rm", short_help="Remove a privilege.")
@click.argument("name")
@connection_options()
@click.pass_obj
def privilege_rm(target: Target, name: str) -> None:
    """Remove privilege NAME; whoever holds it loses its roles."""

    async def body(call: Call) -> None:
        found = await find_one(call, "privilege", "name", name)
        await call("privilege.delete", found["id"])
        if target.as_json:
            print_json(found)
        else:
            click.echo(f"removed privilege {name}")

    run_administration(target, body)
