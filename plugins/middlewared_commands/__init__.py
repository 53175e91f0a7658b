"""Programs that the settings declare, run as jobs."""

from middlewared_commands.declaration import plugin
from middlewared_commands.params import Param
from middlewared_commands.table import CommandTable, ExitTable, Pattern, Source

__all__ = ["CommandTable", "ExitTable", "Param", "Pattern", "Source", "plugin"]
