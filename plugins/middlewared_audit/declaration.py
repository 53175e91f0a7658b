"""The plugin's declaration and its settings."""

import importlib.resources
from typing import Annotated

import msgspec
from msgspec import Meta

from middlewared import Plugin

__all__ = ["AuditSettings", "plugin"]


class AuditSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What the audit log can be told, in table ``[audit]``."""

    keep_days: Annotated[
        int, Meta(gt=0, description="Days that an entry is kept at most.")
    ] = 90
    keep_entries: Annotated[
        int, Meta(gt=0, description="Entries kept at most; the oldest give way.")
    ] = 1_000_000
    log: Annotated[
        bool,
        Meta(
            description="Write each entry to the server's log as well, as a line of "
            "JSON of the logger middlewared.audit."
        ),
    ] = False


plugin = Plugin(
    "audit",
    settings=AuditSettings,
    migrations=importlib.resources.files(__package__) / "migrations",
)
