"""The group of all commands."""

import os
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from middlewared.cli.target import connection_options
from middlewared.settings import PREFIX

__all__ = ["LazyGroup", "Program", "program"]


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


class Program(LazyGroup):
    """Our commands and those of plugins; these are imported for help and strange names.

    Plugins are those that are installed, and those in the folder that
    ``MIDDLEWARED_PLUGINS_DIR`` names. A command of ours wins over one of the same name.
    One that an entry point of the group ``middlewared.commands`` names is found without
    loading any plugin.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List our commands, then those of plugins."""
        ours = super().list_commands(ctx)
        return [*ours, *sorted(set(self._added) - set(ours))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, ours or a plugin's."""
        ours = super().get_command(ctx, cmd_name) or _find_apart(cmd_name)
        return ours or self._added.get(cmd_name)

    @cached_property
    def _added(self) -> dict[str, click.Command]:
        from middlewared.errors import PluginError  # noqa: PLC0415 - lazy
        from middlewared.loader import find_plugins  # noqa: PLC0415 - lazy

        folder = os.environ.get(f"{PREFIX}PLUGINS_DIR")
        try:
            plugins = find_plugins(Path(folder).expanduser() if folder else None)
        except PluginError as error:
            # Ours work all the same, and help is what one needs now.
            click.echo(f"middlewared: {error}", err=True)
            return {}
        return {
            command.name: command
            for plugin in plugins
            for command in plugin.commands
            if command.name
        }


def _find_apart(name: str) -> click.Command | None:
    """Import a command that its plugin names as an entry point, and nothing else."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - lazy

    for point in entry_points(group="middlewared.commands", name=name):
        command = point.load()
        if isinstance(command, click.Command):
            return command
    return None


@click.group(
    cls=Program,
    lazy={
        "serve": "middlewared.cli.serve:serve",
        "call": "middlewared.cli.call:call",
        "upload": "middlewared.cli.files:upload",
        "download": "middlewared.cli.files:download",
        "job": "middlewared.cli.control:job",
        "watch": "middlewared.cli.watch:watch",
        "subscribe": "middlewared.cli.subscribe:subscribe",
        "methods": "middlewared.cli.server:methods",
        "ping": "middlewared.cli.server:ping",
        "user": "middlewared.cli.accounts:user",
        "key": "middlewared.cli.keys:key",
        "privilege": "middlewared.cli.privileges:privilege",
        "session": "middlewared.cli.sessions:session",
        "audit": "middlewared.cli.audit:audit",
        "drain": "middlewared.cli.drain:drain",
        "undrain": "middlewared.cli.drain:undrain",
        "doctor": "middlewared.cli.doctor:doctor",
        "backup": "middlewared.cli.backup:backup",
        "restore": "middlewared.cli.backup:restore",
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
