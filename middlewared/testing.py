"""For tests of plugins: a running server, a client for it, a clock to drive.

The server is the real one, with a real database and real sockets on 127.0.0.1.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from middlewared.app import App
from middlewared.client import Client, connect
from middlewared.context import Context
from middlewared.plugin import Plugin
from middlewared.server import Server
from middlewared.settings import Settings

__all__ = ["ManualClock", "RunningServer", "running_server"]


class ManualClock:
    """A clock that stands still until it is told to go on.

    Args:
        time_ms: where it starts, milliseconds since 1970-01-01 UTC.
    """

    def __init__(self, time_ms: int = 1_800_000_000_000) -> None:
        self._time_ms = time_ms
        self._monotonic = 0.0

    def time_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return self._time_ms

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._time_ms += round(seconds * 1000)
        self._monotonic += seconds

    def set(self, time_ms: int) -> None:
        """Set the wall clock, forward or back; no time passes."""
        self._time_ms = time_ms


class RunningServer:
    """A server that runs in this process.

    Attributes:
        app: the server's composition.
        server: its listeners.
        context: reaches every service, with the system's rights.
    """

    def __init__(self, app: App, server: Server) -> None:
        self.app = app
        self.server = server
        self.context = Context(app.services)

    @property
    def url(self) -> str:
        """Base URL, ``http://127.0.0.1:PORT``."""
        return self.server.base_url

    @property
    def ws_url(self) -> str:
        """Where WebSocket clients connect."""
        return f"ws{self.url.removeprefix('http')}/api/current"

    @property
    def socket_path(self) -> Path:
        """The unix socket; this process is a full admin there."""
        return self.app.settings.socket_path

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Connect over the unix socket, as a full admin."""
        async with connect(str(self.socket_path)) as client:
            yield client


@contextlib.asynccontextmanager
async def running_server(
    *plugins: Plugin,
    clock: ManualClock | None = None,
    data_dir: Path | None = None,
    tables: dict[str, dict[str, Any]] | None = None,
    **settings: Any,
) -> AsyncIterator[RunningServer]:
    """Run a server with the installed plugins and *plugins*.

    Args:
        plugins: declared in the test.
        clock: what the server takes for the time.
        data_dir: a temporary folder by default.
        tables: settings of plugins.
        settings: settings of the kernel.
    """
    extra: Sequence[Plugin] = plugins
    with contextlib.ExitStack() as stack:
        if data_dir is None:
            data_dir = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="mw-"))
            )
        values: dict[str, Any] = {"listen": "127.0.0.1:0", **settings}
        app = App(
            Settings(data_dir=str(data_dir), tables=tables or {}, **values),
            clock=clock,
            plugins=extra,
        )
        async with app.serving() as server:
            yield RunningServer(app, server)
