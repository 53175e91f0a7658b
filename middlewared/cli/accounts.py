"""``middlewared user``: who may use the server."""

import datetime as dt
from typing import Any

import click
from msgspec import to_builtins

from middlewared.cli.administration import (
    MOMENT,
    Call,
    NoMoment,
    changed_set,
    find_one,
    new_password,
    roles_text,
    run_administration,
)
from middlewared.cli.output import print_json, print_table
from middlewared.cli.target import Target, connection_options

__all__ = ["user"]


@click.group(short_help="List, add, change and remove accounts.")
@connection_options()
def user() -> None:
    """List, add, change and remove accounts; the server may run or not."""


@user.command("add", short_help="Add an account.")
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="Give a role; may be repeated.")
@click.option(
    "--privilege",
    "privileges",
    multiple=True,
    help="Give a privilege; may be repeated.",
)
@click.option("--full-name", metavar="TEXT", help="The name of the person.")
@click.option("--expires", type=MOMENT, help="When it ends; never by default.")
@click.option(
    "--must-change-password",
    is_flag=True,
    help="The password is only good for setting a new one.",
)
@click.option("--password-stdin", is_flag=True, help="Read its password from stdin.")
@click.option("--no-password", is_flag=True, help="Keys and links only.")
@connection_options(password=False)
@click.pass_obj
def user_add(
    target: Target,
    name: str,
    roles: tuple[str, ...],
    privileges: tuple[str, ...],
    full_name: str | None,
    expires: dt.datetime | NoMoment | None,
    *,
    must_change_password: bool,
    password_stdin: bool,
    no_password: bool,
) -> None:
    """Add account NAME."""
    account: dict[str, Any] = {
        "username": name,
        "password": None if no_password else new_password(from_stdin=password_stdin),
        "roles": list(roles),
    }
    if privileges:
        account["privileges"] = list(privileges)
    if full_name is not None:
        account["full_name"] = full_name
    if isinstance(expires, dt.datetime):
        account["expires"] = expires
    if must_change_password:
        account["must_change_password"] = True

    async def body(call: Call) -> None:
        created = await call("user.create", account)
        if target.as_json:
            print_json(to_builtins(created))
        else:
            click.echo(f"added user {name}")

    run_administration(target, body)


@user.command("ls", short_help="List accounts.")
@connection_options()
@click.pass_obj
def user_ls(target: Target) -> None:
    """List accounts."""

    async def body(call: Call) -> None:
        accounts = to_builtins(await call("user.query", [], {}))
        if target.as_json:
            print_json(accounts)
        else:
            print_table(
                ["ID", "NAME", "ROLES", "PRIVILEGES", "STATE", "FULL NAME"],
                [
                    [
                        str(account["id"]),
                        account["username"],
                        roles_text(account["roles"]),
                        ", ".join(account["privileges"]),
                        _state(account),
                        account.get("full_name") or "",
                    ]
                    for account in accounts
                ],
            )

    run_administration(target, body)


def _state(account: dict[str, Any]) -> str:
    """Say in a word why an account cannot log in; empty when it can."""
    for state in ("locked", "expired", "locked_out"):
        if account[state]:
            return state.replace("_", " ")
    return "must change password" if account["must_change_password"] else ""


@user.command("set", short_help="Change an account.")
@click.argument("name")
@click.option("--rename", metavar="NAME", help="Give it another name.")
@click.option("--full-name", metavar="TEXT", help="The name of the person.")
@click.option("--add-role", "add", multiple=True, help="Give a role.")
@click.option("--remove-role", "remove", multiple=True, help="Take a role.")
@click.option("--add-privilege", "grant", multiple=True, help="Give a privilege.")
@click.option("--remove-privilege", "revoke", multiple=True, help="Take a privilege.")
@click.option("--expires", type=MOMENT, help="When it ends, or never.")
@click.option("--lock/--unlock", default=None, help="Let it log in or not.")
@click.option(
    "--must-change-password",
    is_flag=True,
    help="Its password is only good for setting a new one.",
)
@connection_options()
@click.pass_obj
def user_set(
    target: Target,
    name: str,
    rename: str | None,
    full_name: str | None,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    grant: tuple[str, ...],
    revoke: tuple[str, ...],
    expires: dt.datetime | NoMoment | None,
    *,
    lock: bool | None,
    must_change_password: bool,
) -> None:
    """Change account NAME. Who loses a role or gets locked is logged out."""
    changes: dict[str, Any] = {
        key: value
        for key, value in {
            "username": rename,
            "full_name": full_name,
            "locked": lock,
            "must_change_password": must_change_password or None,
        }.items()
        if value is not None
    }
    if expires is not None:
        changes["expires"] = None if isinstance(expires, NoMoment) else expires

    async def body(call: Call) -> None:
        found = await find_one(call, "user", "username", name)
        if add or remove:
            changes["roles"] = changed_set(found["roles"], add, remove)
        if grant or revoke:
            changes["privileges"] = changed_set(found["privileges"], grant, revoke)
        changed = to_builtins(await call("user.update", found["id"], changes))
        if target.as_json:
            print_json(changed)
        else:
            click.echo(f"changed user {changed['username']}")

    run_administration(target, body)


@user.command("passwd", short_help="Set a password.")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the new one from stdin.")
@connection_options(password=False)
@click.pass_obj
def user_passwd(target: Target, name: str, *, password_stdin: bool) -> None:
    """Set the password of account NAME; its other sessions and tokens end.

    As NAME itself (--user NAME, or MIDDLEWARED_USER and MIDDLEWARED_PASSWORD) the old
    password is sent along; it may be over by then.
    """
    credentials = target.credentials()
    change = {"username": name, "new_password": new_password(from_stdin=password_stdin)}
    if credentials.get("username") == name and "password" in credentials:
        # Not logged in: an old password that is over does not log in any more.
        change["old_password"] = credentials.pop("password")
        credentials = {}

    async def body(call: Call) -> None:
        await call("user.set_password", change)
        if target.as_json:
            print_json({"username": name})
        else:
            click.echo(f"set the password of user {name}")

    run_administration(target, body, credentials=credentials)


@user.command("rm", short_help="Remove an account.")
@click.argument("name")
@connection_options()
@click.pass_obj
def user_rm(target: Target, name: str) -> None:
    """Remove account NAME, with its API keys."""

    async def body(call: Call) -> None:
        found = await find_one(call, "user", "username", name)
        await call("user.delete", found["id"])
        if target.as_json:
            print_json(found)
        else:
            click.echo(f"removed user {name}")

    run_administration(target, body)
