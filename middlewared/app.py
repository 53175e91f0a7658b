"""The composition root: what starts in which order, and stops in the other."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import anyio
import msgspec

from middlewared.audit import Trail
from middlewared.clock import Clock, SystemClock
from middlewared.collector import collect_in_proportion
from middlewared.context import Announcements, Caller, Context, Services
from middlewared.database import Database
from middlewared.datadir import locked_data_dir
from middlewared.dispatch import Dispatcher
from middlewared.errors import MiddlewareError, PluginError, SettingsError
from middlewared.events import EventBus
from middlewared.feeds import Feeds
from middlewared.http import build_http
from middlewared.loader import find_plugins, in_start_order
from middlewared.openfiles import raise_limit
from middlewared.plugin import Plugin
from middlewared.proxies import Proxies
from middlewared.quotas import Quotas
from middlewared.registry import Registry
from middlewared.server import Server
from middlewared.sessions import Sessions
from middlewared.settings import Settings, decode_table
from middlewared.shutdown import Shutdown
from middlewared.startup import Startup
from middlewared.tasks import Tasks
from middlewared.tls import Tls
from middlewared.unloading import Unloading

__all__ = ["App", "loop_options", "offline", "print_ready", "run"]

logger = logging.getLogger("middlewared")

EXIT_START_FAILED = 2
#: Seconds for the tasks of the kernel to end once nothing needs them.
TASKS_GRACE = 1.0


class App:
    """A server: plugins, database and listeners.

    Attributes:
        settings: the kernel's settings.
        services: what plugins provide.
        shutdown: stops it.
        server: the listeners, once it runs.
        clean: False when something did not end in time.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        plugins: Sequence[Plugin] | None = None,
    ) -> None:
        self.settings = settings
        self.services = Services()
        self.clean = True
        self._clock = clock or SystemClock()
        self._plugins = plugins
        self.shutdown = Shutdown()
        self._unloading = Unloading()
        self._owns_process = False

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[Context]:
        """Run everything but the listeners: database, plugins, dispatcher.

        Raises:
            MiddlewareError: it cannot start; one clear sentence.
        """
        with _unwrapped(), locked_data_dir(self.settings.data_path) as data_dir:
            plugins = in_start_order(self._find_plugins())
            self._check_tables(plugins)
            plugins = [self._build(plugin) for plugin in plugins]
            registry = Registry(plugins)
            async with contextlib.AsyncExitStack() as stack:
                stack.callback(self._unloading.end)
                database = await stack.enter_async_context(
                    Database.open(data_dir / "middlewared.db")
                )
                self._provide(registry, database)
                stack.push_async_callback(self._end_tasks)
                stack.callback(self._unloading.at, None)
                context = Context(self.services)
                for plugin in plugins:
                    await self._start_plugin(plugin, context, database, stack)
                yield context

    def _find_plugins(self) -> Iterable[Plugin]:
        folder = self.settings.plugins_dir
        found = find_plugins(Path(folder).expanduser() if folder else None)
        return [*found, *(self._plugins or ())]

    def _check_tables(self, plugins: Iterable[Plugin]) -> None:
        known = sorted(p.name for p in plugins if p.settings or p.build)
        for name in self.settings.tables:
            if name not in known:
                raise SettingsError(
                    f"settings have a table {name!r}, expected one of "
                    f"{', '.join(known)}"
                )

    def _build(self, plugin: Plugin) -> Plugin:
        """Give the plugin that this server gets, see `Plugin.from_table`."""
        if plugin.build is None:
            return plugin
        return plugin.build(self.settings.tables.get(plugin.name, {}))

    def _provide(self, registry: Registry, database: Database) -> None:
        services = self.services
        services.provide(Settings, self.settings)
        services.provide(Clock, self._clock)  # type: ignore[type-abstract]  # by protocol
        services.provide(Registry, registry)
        services.provide(Database, database)
        services.provide(Tasks, Tasks())
        services.provide(Sessions, Sessions())
        services.provide(Trail, Trail(self._clock))
        services.provide(Proxies, Proxies(self.settings))
        services.provide(Quotas, Quotas(self.settings))
        services.provide(Startup, Startup())
        services.provide(Shutdown, self.shutdown)
        services.provide(Announcements, Announcements())
        bus = EventBus()
        for plugin in registry.plugins:
            bus.collections |= {c.name: c for c in plugin.collections}
            bus.sources |= {s.name: s for s in plugin.sources}
        services.provide(EventBus, bus)
        services.provide(Feeds, Feeds(bus, database.epoch))
        dispatcher = Dispatcher(services)
        services.provide(Dispatcher, dispatcher)
        services.provide(Caller, dispatcher)  # type: ignore[type-abstract]  # by protocol

    async def _start_plugin(
        self,
        plugin: Plugin,
        context: Context,
        database: Database,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        if plugin.settings is not None:
            table = self.settings.tables.get(plugin.name, {})
            decoded: msgspec.Struct = decode_table(
                table, plugin.settings, name=f"table {plugin.name!r}"
            )
            self.services.provide(plugin.settings, decoded)
        if plugin.migrations is not None:
            await database.migrate(plugin.name, plugin.migrations)
        if plugin.start is not None:
            try:
                await stack.enter_async_context(plugin.start(context))
            except MiddlewareError:
                raise
            except Exception as exc:
                raise PluginError(
                    f"plugin {plugin.name!r} failed to start: {exc!r}"
                ) from exc
            stack.callback(self._unloading.at, plugin.name)

    async def _end_tasks(self) -> None:
        with anyio.CancelScope(shield=True):
            left = await self.services.get(Tasks).close(deadline=TASKS_GRACE)
        self.clean = self.clean and not left

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Server]:
        """Run the whole server; leaving it stops in the order of design section 5."""
        # First of all: a bad certificate leaves nothing behind.
        paths = self.settings.tls_paths
        tls = None if paths is None else Tls(*paths)
        async with self.started() as context:
            registry = context.get(Registry)
            await context.get(Startup).run()
            http = build_http(registry, self.settings, context.get(Proxies))
            server = Server(self.services, context.get(Dispatcher), http, tls)
            self.services.provide(Server, server)
            async with server.listening():
                try:
                    yield server
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._stop(server)

    async def _stop(self, server: Server) -> None:
        server.stop_listening()
        self.shutdown.request(self.settings.interrupt_grace)
        self.clean = await self.shutdown.drain()
        await server.close_connections()
        if self._owns_process:
            self._unloading.begin(self.settings.unload_grace)

    async def serve(self, ready: Callable[[Server], None]) -> None:
        """Serve until SIGTERM or SIGINT; a second signal ends the process at once.

        So does a plugin that does not end, after ``unload_grace`` seconds.
        """
        self._owns_process = True
        with _unwrapped():
            async with anyio.create_task_group() as group:
                group.start_soon(self._wait_signals, name="signals")
                async with self.serving() as server:
                    group.start_soon(self._wait_hangup, server, name="hangup")
                    ready(server)
                    group.start_soon(collect_in_proportion, name="collector")
                    await self.shutdown.requested.wait()
                    logger.info("stopping, jobs have %g s to end", self.shutdown.grace)
                group.cancel_scope.cancel()

    async def _wait_signals(self) -> None:
        graces = {
            signal.SIGTERM: self.settings.shutdown_grace,
            signal.SIGINT: self.settings.interrupt_grace,
        }
        with anyio.open_signal_receiver(*graces) as signals:
            async for number in signals:
                if self.shutdown.requested.is_set():
                    os._exit(128 + number)
                self.shutdown.request(graces[number])

    async def _wait_hangup(self, server: Server) -> None:
        """Read the certificate again at each SIGHUP."""
        if self.settings.tls_paths is None:
            return  # SIGHUP ends the server, as when its terminal is closed
        with anyio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                await server.reload_certificate()


def print_ready(services: Services, server: Server) -> None:
    """Print where the server listens, and what plugins announce."""
    lines = [
        f"Listening on {server.base_url}{server.settings.base_path}",
        f"Unix socket {server.settings.socket_path}",
        *services.get(Announcements).texts(server.base_url),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def run(
    settings: Settings, ready: Callable[[Services, Server], None] = print_ready
) -> int:
    """Serve until told to stop.

    Args:
        settings: the kernel's settings.
        ready: called once the server listens.

    Returns:
        The exit code: 0 after a clean stop. When a thread of a job still runs after
        its time, the process ends at once, with 1, after the database is closed.

    Raises:
        MiddlewareError: it cannot start; one clear sentence.
    """
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    raise_limit(settings)
    app = App(settings)
    serve = partial(app.serve, partial(ready, app.services))
    anyio.run(serve, backend="asyncio", backend_options=loop_options())
    if not app.clean:
        logger.error("a job did not end in time; leaving it behind")
        logging.shutdown()
        os._exit(1)
    return 0


def loop_options() -> dict[str, bool]:
    """Give the options of the event loop: uvloop where it installs."""
    try:
        import uvloop  # noqa: F401, PLC0415 - where it installs
    except ImportError:  # pragma: no cover - it does on every tested platform
        return {}
    return {"use_uvloop": True}


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """Take a lone exception out of the groups that task groups put it in."""
    try:
        yield
    except BaseExceptionGroup as group:
        lone: BaseException = group
        while isinstance(lone, BaseExceptionGroup) and len(lone.exceptions) == 1:
            lone = lone.exceptions[0]
        if lone is group:
            raise
        raise lone from lone.__cause__


@contextlib.asynccontextmanager
async def offline(settings: Settings) -> AsyncIterator[Context]:
    """Open a stopped server's data as the system: for commands, without listeners.

    Raises:
        StartError: a server runs on the data directory.
        MiddlewareError: it cannot be opened.
    """
    async with App(settings).started() as context:
        yield context
