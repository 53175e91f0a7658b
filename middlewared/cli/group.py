"""The group of all commands."""

from importlib import import_module
from typing import Any

import click

from middlewared.cli.target import connection_options

__all__ = ["LazyGroup", "program"]


class LazyGroup(click.Group):
    """A group that imports a command when it is used.

    Args:
        lazy: for each command the module and the name in it, ``module:name``.
        attributes: as for `click.Group`.
    """

    def __init__(
        self, *args: Any, lazy: dict[str, str] | None = None, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self._lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of the commands, in the order of the table."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, name = self._lazy[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{name} is no command")
        return command


@click.group(
    cls=LazyGroup,
    lazy={
        "serve": "middlewared.cli.serve:serve",
        "call": "middlewared.cli.call:call",
        "job": "middlewared.cli.job:job",
        "watch": "middlewared.cli.watch:watch",
        "subscribe": "middlewared.cli.server:subscribe",
        "methods": "middlewared.cli.server:methods",
        "ping": "middlewared.cli.server:ping",
        "user": "middlewared.cli.accounts:user",
        "key": "middlewared.cli.accounts:key",
        "completion": "middlewared.cli.completion:completion",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@connection_options()
@click.version_option(package_name="middlewared", message="%(prog)s %(version)s")
def program() -> None:
    """Long-running work, live on every screen.

    Commands talk to the server on this host, through the socket in its data directory,
    unless --url or MIDDLEWARED_URL says otherwise.
    """
