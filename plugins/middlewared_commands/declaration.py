"""The plugin: in each server it has the methods that the settings declare."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from middlewared import Context, Plugin
from middlewared_commands.command import compile_command
from middlewared_commands.handler import declare
from middlewared_commands.private import remove_leftovers
from middlewared_commands.table import read_tables

__all__ = ["plugin"]

logger = logging.getLogger(__name__)

plugin = Plugin("commands", requires=("jobs",))


@plugin.from_table
def build(table: Mapping[str, Any]) -> Plugin:
    """Declare a method for each command of the settings.

    Raises:
        SettingsError: a mistake in them, with table and key.
    """
    commands = [compile_command(name, found) for name, found in read_tables(table)]
    made = Plugin("commands", requires=plugin.requires, namespaces=tuple(table))
    for command in commands:
        declare(made, command)
    made.lifespan(_start)
    return made


@asynccontextmanager
async def _start(ctx: Context) -> AsyncIterator[None]:
    """Remove the private files that a server left here when it died."""
    count = remove_leftovers(ctx.settings.data_path)
    if count:
        logger.warning("removed %d folders with secrets of an earlier start", count)
    yield
