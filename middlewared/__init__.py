"""A WebSocket JSON-RPC 2.0 job server that hosts plugins.

What a plugin imports is here; everything else is internal.
"""

from middlewared.access import (
    FULL_ADMIN,
    READONLY_ADMIN,
    Access,
    Audience,
    Credentials,
    Origin,
)
from middlewared.context import Context
from middlewared.ejson import Date, Secret
from middlewared.errors import (
    CallError,
    InvalidParams,
    PluginError,
    ValidationError,
    ValidationErrors,
)
from middlewared.events import Event
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
