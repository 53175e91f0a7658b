"""Programs that some tests need and that a machine may lack."""

import importlib.util
import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Find Chromium or Chrome."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def missing_programs() -> dict[str, str]:
    """Name, by marker, what is not installed here."""
    found = {
        "browser": find_browser() is not None,
        "node": shutil.which("node") is not None and shutil.which("npm") is not None,
        "truenas": importlib.util.find_spec("truenas_api_client") is not None,
    }
    names = {
        "browser": "Chromium",
        "node": "Node.js",
        "truenas": "truenas_api_client",
    }
    return {marker: names[marker] for marker, here in found.items() if not here}
