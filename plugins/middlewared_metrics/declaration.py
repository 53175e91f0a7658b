"""The plugin's declaration and its settings."""

from typing import Annotated

import msgspec
from msgspec import Meta

from middlewared import Plugin

__all__ = ["METRICS_READ", "MetricsSettings", "plugin"]

#: May read the figures, which speak of methods, never of owners or params.
METRICS_READ = "METRICS_READ"


class MetricsSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Who may read the figures, in table ``[metrics]``."""

    open_to_loopback: Annotated[
        bool,
        Meta(
            description="Programs of this machine need no login; what a proxy forwards "
            "still does."
        ),
    ] = False


plugin = Plugin("metrics", requires=("auth", "jobs"), settings=MetricsSettings)
