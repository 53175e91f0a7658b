"""``python -m middlewared_demo``: a server that runs three real jobs on real files."""

import signal
import sys
import sysconfig
from pathlib import Path

import anyio

from middlewared import CallError
from middlewared.app import print_ready, run
from middlewared.context import Announcements, Context, Services
from middlewared.errors import MiddlewareError, PortInUse
from middlewared.server import Server
from middlewared.settings import Settings, load_settings
from middlewared.tasks import Tasks
from middlewared_jobs import ServerStopped

DATA_DIR = "demo-data"
LINK = "#token="


def _jobs() -> dict[str, tuple[str, ...]]:
    """Name the demo's jobs and their params."""
    library = sysconfig.get_paths()["stdlib"]
    return {
        "demo.checksum": (library,),
        "demo.archive": (str(Path(library, "email")), "email.tar.gz"),
        "demo.disk_usage": (library,),
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _run_job(context: Context, method: str, params: tuple[str, ...]) -> None:
    try:
        result = await context.call(method, *params)
    except (CallError, ServerStopped) as exc:
        _say(f"{method} failed: {exc}")
        return
    if isinstance(result, list):
        result = f"{len(result)} folders, largest first: {result[:2]} ..."
    _say(f"{method} ended: {result}")


async def _tour(services: Services, server: Server) -> None:
    """Show where to log in and what to try, and run the jobs."""
    context = Context(services)
    if not any(LINK in text for text in services.get(Announcements).texts("")):
        link = await context.call("auth.login_link", "admin")
        _say(f"Log in once as admin at {server.base_url}{link}")
    _say(_hints(server.settings))
    async with anyio.create_task_group() as jobs:
        for method, params in _jobs().items():
            jobs.start_soon(_run_job, context, method, params)


def _ready(services: Services, server: Server) -> None:
    print_ready(services, server)
    services.get(Tasks).start(_tour(services, server), name="tour of the demo")


def _hints(settings: Settings) -> str:
    program = Path(sys.executable).with_name("middlewared")
    return f"""
In a second terminal:

  export MIDDLEWARED_DATA_DIR={settings.data_path}
  {program} call -j demo.checksum /usr/lib/python3
  {program} watch
  {program} job ls
  {program} job logs 1
  {program} call -j demo.sleep 20

Ctrl-C ends the server.
"""


def _run(listen: str | None) -> int:
    settings = load_settings(overrides={"data_dir": DATA_DIR, "listen": listen})
    return run(settings, ready=_ready)


def main() -> int:
    """Run the demo until Ctrl-C; on another port when the usual one is taken."""
    # Until the server takes the signal over, Ctrl-C ends the process at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        try:
            return _run(None)
        except PortInUse:
            _say("The usual port is taken, trying another one")
            return _run("127.0.0.1:0")
    except MiddlewareError as exc:
        sys.stderr.write(f"middlewared: {exc}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
