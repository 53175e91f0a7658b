"""A WebSocket JSON-RPC 2.0 job server that hosts plugins.

What a plugin imports is here; everything else is internal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from middlewared.access import (
    FULL_ADMIN,
    READONLY_ADMIN,
    Access,
    Audience,
    Credentials,
    Origin,
)
from middlewared.ejson import Date, Secret
from middlewared.errors import (
    CallError,
    InvalidParams,
    PluginError,
    ValidationError,
    ValidationErrors,
)
from middlewared.events import Event

if TYPE_CHECKING:
    from middlewared.context import Context
    from middlewared.plugin import Example, Plugin

__all__ = [
    "FULL_ADMIN",
    "READONLY_ADMIN",
    "Access",
    "Audience",
    "CallError",
    "Context",
    "Credentials",
    "Date",
    "Event",
    "Example",
    "InvalidParams",
    "Origin",
    "Plugin",
    "PluginError",
    "Secret",
    "ValidationError",
    "ValidationErrors",
]

#: Names whose modules are imported when they are first asked for: every command
#: imports this package, and few need a database and a web framework.
_LATE = {"Context": "context", "Example": "plugin", "Plugin": "plugin"}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    globals()[name] = value
    return value
