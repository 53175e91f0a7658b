"""The path that everything is served under, behind a proxy that serves others too."""

import re

from middlewared.errors import SettingsError

__all__ = ["check_base_path", "with_base", "without_base"]

_FORM = re.compile(r"(/[A-Za-z0-9._~-]+)*")


def check_base_path(base: str) -> None:
    """Accept ``""`` and paths such as ``/tools/jobs``.

    Raises:
        SettingsError: it has another form.
    """
    parts = base.split("/")
    if not _FORM.fullmatch(base) or "." in parts or ".." in parts:
        raise SettingsError(
            f"base_path is {base!r}, expected a path such as '/jobs', with a slash in "
            "front and none at the end"
        )


def with_base(path: str, base: str) -> str:
    """Put the base in front of a path that a proxy may have cut it off from."""
    if path == base:
        return f"{base}/"
    return path if path.startswith(f"{base}/") else f"{base}{path}"


def without_base(path: str, base: str) -> str:
    """Cut the base off a path; one that does not have it stays as it is."""
    return path.removeprefix(base) if path.startswith(f"{base}/") else path
