"""What the commands for accounts, keys and privileges share.

They talk to a running server. Is there none at the socket of the data directory, they
open its database themselves.
"""

import datetime as dt
import errno
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

import click
from msgspec import to_builtins

from middlewared.cli.target import Target, log_in, run_async
from middlewared.errors import CallError

__all__ = [
    "MOMENT",
    "Call",
    "NoMoment",
    "changed_set",
    "find_one",
    "new_password",
    "roles_text",
    "run_administration",
]

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


def run_administration(
    target: Target,
    body: Callable[[Call], Awaitable[None]],
    *,
    credentials: dict[str, str] | None = None,
) -> NoReturn:
    """Run a command's body and leave with its exit code.

    Args:
        target: which server, or which database.
        body: the command; gets a function that calls methods.
        credentials: what to log in with, instead of what the target says.
    """
    found = target.credentials() if credentials is None else credentials

    async def main() -> None:
        async with administration(target, found) as call:
            await body(call)

    run_async(main, as_json=target.as_json)


def new_password(*, from_stdin: bool) -> str:
    """Read a new password; a terminal is asked twice.

    Raises:
        click.UsageError: there is no terminal to ask.
    """
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("no password: use --password-stdin")
    password: str = click.prompt(
        "Password", hide_input=True, confirmation_prompt=True, err=True
    )
    return password


async def find_one(call: Call, namespace: str, key: str, value: str) -> Any:
    """Find an account or a privilege by its name.

    Raises:
        CallError: ENOENT, there is none.
    """
    found = to_builtins(await call(f"{namespace}.query", [[key, "=", value]], {}))
    if not found:
        raise CallError(f"there is no {namespace} {value}", errno.ENOENT)
    return found[0]


def roles_text(roles: Iterable[str] | None) -> str:
    """Show roles on one line."""
    return " ".join(roles) if roles is not None else "all of the account"


def changed_set(
    now: Iterable[str], add: Iterable[str], remove: Iterable[str]
) -> list[str]:
    """Give what is left of names after adding and removing some."""
    return sorted((set(now) | set(add)) - set(remove))


class NoMoment:
    """What ``never`` is for an option that takes a moment."""


class _Moment(click.ParamType[dt.datetime | NoMoment]):
    """A date or a time of this host's zone, or ``never``."""

    name = "WHEN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime | NoMoment:
        """Read the option."""
        if value == "never":
            return NoMoment()
        try:
            return dt.datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f"{value!r} is no date, as in 2027-01-31 or 2027-01-31T18:00")


MOMENT = _Moment()
