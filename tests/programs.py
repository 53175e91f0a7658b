"""Programs that some tests need and that a machine may lack."""

import importlib.util
import shutil
from pathlib import Path

#: Where Debian puts it, which is not on everybody's path.
SBIN = "/usr/sbin"
NODE_PACKAGES = Path(__file__).parent / "node" / "node_modules"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Find Chromium or Chrome."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def find_nginx() -> str | None:
    """Find nginx."""
    return shutil.which("nginx") or shutil.which("nginx", path=SBIN)


def find_caddy() -> str | None:
    """Find Caddy."""
    return shutil.which("caddy")


def missing_programs() -> dict[str, str]:
    """Name, by marker, what is not installed here."""
    found = {
        "browser": find_browser() is not None,
        "caddy": find_caddy() is not None,
        "curl": shutil.which("curl") is not None,
        "nginx": find_nginx() is not None,
        "node": shutil.which("node") is not None and shutil.which("npm") is not None,
        "truenas": importlib.util.find_spec("truenas_api_client") is not None,
        "truenas_ts": (NODE_PACKAGES / "@truenas" / "api-client").exists(),
    }
    names = {
        "browser": "Chromium",
        "caddy": "Caddy",
        "curl": "curl",
        "nginx": "nginx",
        "node": "Node.js",
        "truenas": "truenas_api_client",
        "truenas_ts": "@truenas/api-client",
    }
    return {marker: names[marker] for marker, here in found.items() if not here}
