"""Which paths the demo's jobs may touch."""

import sysconfig
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from middlewared import Context, ValidationError, ValidationErrors

__all__ = ["DemoSettings", "allowed_path"]


def _default_paths() -> tuple[str, ...]:
    """The standard library, where Debian keeps its Python packages, and a folder."""
    return (sysconfig.get_paths()["stdlib"], "/usr/lib/python3", "~/middlewared-demo")


class DemoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the demo may read and write, table ``demo``."""

    allowed_paths: Annotated[
        tuple[str, ...], Meta(description="Folders that demo jobs read and write.")
    ] = msgspec.field(default_factory=_default_paths)


def allowed_path(ctx: Context, path: str, attribute: str) -> Path:
    """Resolve a path, links and all, and let it pass if it is in an allowed folder.

    Raises:
        ValidationErrors: it is outside.
    """
    found = Path(path).expanduser().resolve()
    allowed = [
        Path(folder).expanduser().resolve()
        for folder in ctx.get(DemoSettings).allowed_paths
    ]
    if not any(found.is_relative_to(folder) for folder in allowed):
        raise ValidationErrors(
            [
                ValidationError(
                    attribute,
                    f"{path!r} is outside of demo.allowed_paths, "
                    f"expected a path in {', '.join(map(str, allowed))}",
                )
            ]
        )
    return found
