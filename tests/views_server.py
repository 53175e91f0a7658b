"""The real program with jobs in all dialects, and somebody who may run them."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from server_process import CONFIG, ServerProcess

__all__ = ["Views", "make_key", "running_views"]

_PLUGIN = Path(__file__).parent / "middlewared_views.py"
#: Families of Webex that only the settings file gives a method.
_FAMILIES = {
    "line_keys": "devices/applyLineKeyTemplate",
    "phones": "devices/rebuildPhones",
    "dynamic": "devices/dynamicDeviceSettings",
    "prefix": "updateRoutingPrefix",
    "recording": "callRecording",
    "invites": "sendActivationEmails",
}
_PUBLISHED = "".join(
    f'"views.{name}" = {{ family = "{family}", body = "body" }}\n'
    for name, family in _FAMILIES.items()
)


def make_key(server: ServerProcess, name: str = "ann") -> str:
    """Make an account that may run jobs, and give an API key of its."""
    user = ("user", "add", name, "--role", "JOB_USER", "--password-stdin")
    server.command(*user, input_text="correct horse battery")
    account = json.dumps({"username": name, "name": "k"})
    made = server.command("call", "--json", "api_key.create", account)
    found: str = json.loads(made.stdout)["key"]
    return found


class Views:
    """A server, the key of an account, and a folder for files that jobs wait for."""

    def __init__(self, server: ServerProcess, key: str, folder: Path) -> None:
        self.server = server
        self.key = key
        self.folder = folder

    @property
    def headers(self) -> dict[str, str]:
        """What all dialects take for a login."""
        return {"Authorization": f"Bearer {self.key}"}


@contextlib.contextmanager
def running_views(
    folder: Path, settings: str = "", arguments: tuple[str, ...] = ()
) -> Iterator[Views]:
    """Run the program.

    Args:
        folder: for everything.
        settings: more for the settings file; it may end in a table.
        arguments: more for the program.
    """
    plugins, gates = folder / "plugins", folder / "gates"
    for made in (plugins, gates):
        made.mkdir(parents=True)
    shutil.copy(_PLUGIN, plugins)
    config = f"{CONFIG}{settings}\n[dialects.webex]\n{_PUBLISHED}"
    with ServerProcess(
        folder / "data",
        config=config,
        arguments=("--plugins-dir", str(plugins), *arguments),
    ) as server:
        yield Views(server, make_key(server), gates)
