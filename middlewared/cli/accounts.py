"""``middlewared user`` and ``middlewared key``: who may use the server.

They talk to a running server. Is there none at the socket of the data directory, they
open its database themselves.
"""

import errno
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

import click
from msgspec import to_builtins

from middlewared.cli.output import clock, print_json, print_table
from middlewared.cli.target import Target, connection_options, log_in, run_async
from middlewared.errors import CallError

__all__ = ["key", "user"]

Call = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def administration(
    target: Target, credentials: dict[str, str]
) -> AsyncIterator[Call]:
    """Give a function that calls methods, with or without a running server."""
    from middlewared.client import CannotConnect, connect  # noqa: PLC0415 - lazy

    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(connect(target.address()))
        except CannotConnect as error:
            why = error.__cause__
            nobody = isinstance(why, FileNotFoundError | ConnectionRefusedError)
            if target.remote_address() is not None or not nobody:
                raise
        else:
            await log_in(client, credentials)
            yield client.call
            return
        from middlewared.app import offline  # noqa: PLC0415 - lazy
        from middlewared.settings import load_settings  # noqa: PLC0415 - lazy

        settings = load_settings(overrides={"data_dir": str(target.data_path())})
        yield (await stack.enter_async_context(offline(settings))).call


def _run(target: Target, body: Callable[[Call], Awaitable[None]]) -> NoReturn:
    credentials = target.credentials()

    async def main() -> None:
        async with administration(target, credentials) as call:
            await body(call)

    run_async(main, as_json=target.as_json)


def _new_password(*, from_stdin: bool) -> str:
    """Read the password of a new account; a terminal is asked twice."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("no password: use --password-stdin")
    password: str = click.prompt(
        "Password", hide_input=True, confirmation_prompt=True, err=True
    )
    return password


def _roles(roles: Iterable[str] | None) -> str:
    return " ".join(roles) if roles is not None else "all of the account"


@click.group(short_help="List, add and remove accounts.")
@connection_options()
def user() -> None:
    """List, add and remove accounts; works with the server running or stopped."""


@user.command("add", short_help="Add an account.")
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="Give a role; may be repeated.")
@click.option("--full-name", metavar="TEXT", help="The name of the person.")
@click.option("--password-stdin", is_flag=True, help="Read its password from stdin.")
@connection_options(password=False)
@click.pass_obj
def user_add(
    target: Target,
    name: str,
    roles: tuple[str, ...],
    full_name: str | None,
    *,
    password_stdin: bool,
) -> None:
    """Add account NAME."""
    account = {
        "username": name,
        "password": _new_password(from_stdin=password_stdin),
        "roles": list(roles),
    }
    if full_name is not None:
        account["full_name"] = full_name

    async def body(call: Call) -> None:
        created = await call("user.create", account)
        if target.as_json:
            print_json(to_builtins(created))
        else:
            click.echo(f"added user {name}")

    _run(target, body)


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
                ["ID", "NAME", "ROLES", "FULL NAME"],
                [
                    [
                        str(account["id"]),
                        account["username"],
                        _roles(account["roles"]),
                        account.get("full_name") or "",
                    ]
                    for account in accounts
                ],
            )

    _run(target, body)


@user.command("rm", short_help="Remove an account.")
@click.argument("name")
@connection_options()
@click.pass_obj
def user_rm(target: Target, name: str) -> None:
    """Remove account NAME, with its API keys."""

    async def body(call: Call) -> None:
        found = to_builtins(await call("user.query", [["username", "=", name]], {}))
        if not found:
            raise CallError(f"there is no user {name}", errno.ENOENT)
        await call("user.delete", found[0]["id"])
        if target.as_json:
            print_json(found[0])
        else:
            click.echo(f"removed user {name}")

    _run(target, body)


@click.group(short_help="List, add and remove API keys.")
@connection_options()
def key() -> None:
    """List, add and remove API keys; works with the server running or stopped."""


@key.command("add", short_help="Make an API key for an account.")
@click.argument("username")
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="Only this role; may be repeated.")
@connection_options()
@click.pass_obj
def key_add(target: Target, username: str, name: str, roles: tuple[str, ...]) -> None:
    """Make an API key called NAME for account USERNAME, and print it, this once."""
    wanted: dict[str, Any] = {"username": username, "name": name}
    if roles:
        wanted["roles"] = list(roles)

    async def body(call: Call) -> None:
        made = to_builtins(await call("api_key.create", wanted))
        if target.as_json:
            print_json(made)
        else:
            click.echo(made["key"])
            click.echo("Keep it: it cannot be shown again.", err=True)

    _run(target, body)


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
                ["ID", "USER", "CREATED", "ROLES", "NAME"],
                [
                    [
                        str(item["id"]),
                        item["username"],
                        clock(item.get("created")),
                        _roles(item.get("roles")),
                        item["name"],
                    ]
                    for item in keys
                ],
            )

    _run(target, body)


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

    _run(target, body)
