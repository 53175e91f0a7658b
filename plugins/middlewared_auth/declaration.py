"""The plugin's declaration and its settings."""

import importlib.resources
from typing import Annotated

import msgspec
from msgspec import Meta

from middlewared import Plugin

__all__ = ["AuthSettings", "plugin"]


class AuthSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What the plugin can be told, in table ``[auth]``."""

    failure_delay: Annotated[
        float, Meta(ge=0, description="Seconds before a failed login is answered.")
    ] = 1.0
    lockout_failures: Annotated[
        int,
        Meta(
            ge=0,
            description="Wrong passwords that lock a name out for a while; 0 for none.",
        ),
    ] = 10
    lockout_seconds: Annotated[
        float, Meta(gt=0, description="Seconds that a name is locked out.")
    ] = 900.0
    password_days: Annotated[
        int,
        Meta(
            ge=0,
            description="Days after which a password has to be changed; 0 for never.",
        ),
    ] = 0
    reconnect_ttl: Annotated[
        int,
        Meta(gt=0, le=2_592_000, description="Seconds a reconnect token is good for."),
    ] = 86_400
    max_tokens: Annotated[
        int, Meta(gt=0, description="Tokens kept in memory; the oldest give way.")
    ] = 10_000


plugin = Plugin(
    "auth",
    namespaces=("auth", "user", "api_key", "privilege"),
    settings=AuthSettings,
    migrations=importlib.resources.files(__package__) / "migrations",
)
