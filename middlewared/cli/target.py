"""Which server a command talks to, as whom, and the one place where it runs."""

import logging
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from middlewared.client import Client

__all__ = ["Target", "connection_options", "json_option", "log_in", "run_async"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Target:
    """What the connection options say; those nearest to the command win.

    Attributes:
        url: address of the server.
        data_dir: data directory of a server on this host, whose socket is used.
        user: account to log in as, with a password.
        password_stdin: read the password from standard input.
        api_key: API key to log in with; with `user`, that account's.
        token: token to log in with.
        json: machine output.
    """

    url: str | None = None
    data_dir: Path | None = None
    user: str | None = None
    password_stdin: bool | None = None
    api_key: str | None = None
    token: str | None = None
    json: bool | None = None

    @property
    def as_json(self) -> bool:
        """Whether the output is for programs."""
        return bool(self.json)

    def data_path(self) -> Path:
        """The data directory: the option, the environment, or the default."""
        from middlewared.settings import default_data_dir  # noqa: PLC0415 - lazy

        named = self.data_dir or os.environ.get("MIDDLEWARED_DATA_DIR")
        return Path(named).expanduser() if named else default_data_dir()

    def remote_address(self) -> str | None:
        """Give the address that was asked for; None means the socket on this host."""
        if self.url is not None:
            return self.url
        return None if self.data_dir else os.environ.get("MIDDLEWARED_URL") or None

    def address(self) -> str:
        """Give the address to connect to."""
        from middlewared.datadir import served_at  # noqa: PLC0415 - lazy

        return self.remote_address() or str(served_at(self.data_path()))

    def credentials(self) -> dict[str, str]:
        """Find what to log in with: options first, then the environment.

        Returns:
            Arguments of a login: ``{username, password}``, ``{key}``,
            ``{key, username}`` or ``{token}``; empty to stay as the socket made us.

        Raises:
            click.UsageError: a user without a password.
        """
        if self.token is not None:
            return {"token": self.token}
        if self.api_key is not None:
            return _key(self.api_key, self.user)
        if self.user is not None:
            return {"username": self.user, "password": self._password(self.user)}
        if self.password_stdin:
            raise click.UsageError("--password-stdin needs --user")
        return _environment_credentials()

    def _password(self, user: str) -> str:
        if self.password_stdin:
            return sys.stdin.readline().rstrip("\r\n")
        password = os.environ.get("MIDDLEWARED_PASSWORD")
        if password is not None:
            return password
        if not sys.stdin.isatty():
            raise click.UsageError(
                "no password: use --password-stdin or MIDDLEWARED_PASSWORD"
            )
        prompted: str = click.prompt(f"Password of {user}", hide_input=True, err=True)
        return prompted

    def run(
        self,
        body: Callable[["Client"], Awaitable[int | None]],
        *,
        on_interrupt: Callable[[], str | None] = lambda: None,
        **options: Any,
    ) -> NoReturn:
        """Connect, log in, run a command's body and leave with its exit code.

        Args:
            body: the command; its return value is the exit code, None is success.
            on_interrupt: says what to tell after Ctrl-C.
            options: for `middlewared.client.connect`.
        """
        address, credentials = self.address(), self.credentials()
        if self.as_json:
            # What is on standard error is then for programs, too.
            logging.disable(logging.WARNING)

        async def main() -> int | None:
            from middlewared.client import connect  # noqa: PLC0415 - lazy

            async with connect(address, **options) as client:
                await log_in(client, credentials)
                return await body(client)

        run_async(main, as_json=self.as_json, on_interrupt=on_interrupt)


def _environment_credentials() -> dict[str, str]:
    env = os.environ.get
    user, password = env("MIDDLEWARED_USER"), env("MIDDLEWARED_PASSWORD")
    if key := env("MIDDLEWARED_API_KEY"):
        return _key(key, user)
    if token := env("MIDDLEWARED_TOKEN"):
        return {"token": token}
    if user and password is not None:
        return {"username": user, "password": password}
    return {}


def _key(key: str, user: str | None) -> dict[str, str]:
    return {"key": key, "username": user} if user else {"key": key}


async def log_in(client: "Client", credentials: dict[str, str]) -> None:
    """Log in with what `Target.credentials` found, if anything."""
    if "token" in credentials:
        await client.login_token(**credentials)
    elif "key" in credentials:
        await client.login_api_key(**credentials)
    elif credentials:
        await client.login(**credentials)


def run_async(
    main: Callable[[], Awaitable[int | None]],
    *,
    as_json: bool,
    on_interrupt: Callable[[], str | None] = lambda: None,
) -> NoReturn:
    """Run a command to its end; its errors become a message and an exit code.

    Args:
        main: the command; its return value is the exit code, None is success.
        as_json: print errors for programs.
        on_interrupt: says what to tell after Ctrl-C.
    """
    import anyio  # noqa: PLC0415 - lazy

    from middlewared.cli.exits import Exit, exit_code  # noqa: PLC0415 - lazy
    from middlewared.cli.output import print_error  # noqa: PLC0415 - lazy
    from middlewared.errors import MiddlewareError  # noqa: PLC0415 - lazy

    try:
        code = anyio.run(main)
    except KeyboardInterrupt:
        words = on_interrupt()
        if words:
            click.echo(words, err=True)
        code = Exit.INTERRUPTED
    except MiddlewareError as error:
        print_error(error, as_json=as_json)
        code = exit_code(error)
    except BrokenPipeError:
        # Who reads our output has read enough (`... | head`). That is no error, but
        # the interpreter would complain when it flushes what is left at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.SUCCESS
    sys.exit(int(code or 0))


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Note an option that was given; a parent's stays where it was not."""
    target = ctx.ensure_object(Target)
    if value is not None and param.name in {field.name for field in fields(Target)}:
        setattr(target, param.name, value)


def _option(*names: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*names, expose_value=False, callback=_keep, **attributes)


def json_option(command: F) -> F:
    """Add ``--json`` to a command."""
    return _option(
        "--json",
        is_flag=True,
        default=None,
        help="Machine output: a JSON document, or one per line; errors too.",
    )(command)


def connection_options(*, password: bool = True) -> Callable[[F], F]:
    """Add the options that say which server, and as whom; they end up in `Target`.

    Args:
        password: with ``--password-stdin``, the password to log in with.
    """
    options = [
        _option("--url", metavar="URL", help="Server: URL, HOST:PORT or socket path."),
        _option(
            "--data-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="Data directory of a server on this host.",
        ),
        _option("--user", metavar="NAME", help="Log in as this account."),
        _option("--api-key", metavar="KEY", help="Log in with an API key."),
        _option("--token", metavar="TOKEN", help="Log in with a token."),
    ]
    if password:
        options.append(
            _option(
                "--password-stdin",
                is_flag=True,
                default=None,
                help="Read the password from standard input.",
            )
        )

    def decorate(command: F) -> F:
        command = json_option(command)
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
