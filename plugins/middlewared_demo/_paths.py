"""Which paths the demo's jobs may touch."""

import sysconfig
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from middlewared import Context, ValidationError, ValidationErrors

__all__ = ["DemoSettings", "allowed_path", "demo_folder"]


def _default_paths() -> tuple[str, ...]:
    """Name the standard library, and where Debian keeps its Python packages."""
    return (sysconfig.get_paths()["stdlib"], "/usr/lib/python3")


def demo_folder(ctx: Context) -> Path:
    """Give the demo's own folder, where relative paths are; always allowed."""
    return ctx.settings.data_path / "demo"


class DemoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the demo may read and write, table ``demo``."""

    allowed_paths: Annotated[
        tuple[str, ...], Meta(description="Folders that demo jobs read and write.")
    ] = msgspec.field(default_factory=_default_paths)


def allowed_path(ctx: Context, path: str, attribute: str) -> Path:
    """Resolve a path, links and all, and let it pass if it is in an allowed folder.

    Relative paths are in the demo's own folder.

    Raises:
        ValidationErrors: it is outside.
    """
    own = demo_folder(ctx)
    found = (own / Path(path).expanduser()).resolve()
    folders = (*ctx.get(DemoSettings).allowed_paths, str(own))
    allowed = [Path(folder).expanduser().resolve() for folder in folders]
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
