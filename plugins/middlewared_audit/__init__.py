"""The audit log: logins, and calls that change something."""

from middlewared_audit import (  # noqa: F401 - importing them declares what they have
    querying,
    start,
)
from middlewared_audit.declaration import AuditSettings, plugin

__all__ = ["AuditSettings", "plugin"]
