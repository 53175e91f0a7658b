"""Jobs that start by themselves: by a cron expression or an interval."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from middlewared_schedules.declaration import plugin
    from middlewared_schedules.schedule import ScheduleItem
    from middlewared_schedules.schedules import Schedules

__all__ = ["ScheduleItem", "Schedules", "plugin"]

_MODULES = {
    "plugin": "declaration",
    "ScheduleItem": "schedule",
    "Schedules": "schedules",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the command needs nothing of the server."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
