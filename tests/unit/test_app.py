"""The composition: what starts in which order, stops in the other, and why not."""

import contextlib
import errno
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio.abc import TaskStatus

from middlewared import CallError, Context, Plugin, PluginError
from middlewared.app import App, loop_options, offline, print_ready
from middlewared.client import CannotConnect, Client, ConnectionLost, connect
from middlewared.context import Announcements
from middlewared.errors import SettingsError, StartError, StoreError
from middlewared.registry import Registry
from middlewared.server import Server
from middlewared.settings import Settings
from middlewared.tasks import Tasks
from middlewared.testing import running_server

CREATE = "CREATE TABLE kept (text TEXT) STRICT;"
INSERT = "INSERT INTO kept VALUES (?)"


class Table(msgspec.Struct, forbid_unknown_fields=True):
    """Settings of a plugin of these tests."""

    size: int = 1


def made(data_dir: Path, *plugins: Plugin, **settings: object) -> App:
    values = {"listen": "127.0.0.1:0", "data_dir": str(data_dir), **settings}
    return App(msgspec.convert(values, Settings), plugins=plugins)


def noting(name: str, notes: list[str], *requires: str) -> Plugin:
    """Declare a plugin that notes when it starts and ends."""
    plugin = Plugin(name, requires=requires)

    @plugin.lifespan
    @contextlib.asynccontextmanager
    async def start(ctx: Context) -> AsyncIterator[None]:
        notes.append(f"start {name}")
        try:
            yield
        finally:
            notes.append(f"end {name}")

    return plugin


def failing(name: str, exc: Exception, *requires: str) -> Plugin:
    """Declare a plugin that cannot start."""
    plugin = Plugin(name, requires=requires)

    @plugin.lifespan
    @contextlib.asynccontextmanager
    async def start(ctx: Context) -> AsyncIterator[None]:
        raise exc
        yield

    return plugin


async def stay_connected(
    server: Server, *, task_status: TaskStatus[Client] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Connect, and stay until the server closes the connection."""
    async with connect(str(server.settings.socket_path)) as client:
        task_status.started(client)
        with contextlib.suppress(ConnectionLost):
            async with client.subscribe("core.get_jobs") as events:
                async for _ in events:
                    pass


class TestOrder:
    """Plugins start after those they require and end before them."""

    async def test_start_and_end(self, tmp_path: Path) -> None:
        """The ends come in reverse, whatever the order of the declarations."""
        notes: list[str] = []
        plugins = [
            noting("tc", notes, "tb"),
            noting("ta", notes),
            noting("tb", notes, "ta"),
        ]
        async with made(tmp_path, *plugins).started():
            assert notes == ["start ta", "start tb", "start tc"]
            notes.append("run")
        assert notes[3:] == ["run", "end tc", "end tb", "end ta"]

    async def test_everything_is_there_when_a_plugin_starts(
        self, tmp_path: Path
    ) -> None:
        """Its tables, its settings, and the plugins that it requires."""
        found: list[object] = []
        folder = tmp_path / "steps"
        folder.mkdir()
        (folder / "0001_kept.sql").write_text(CREATE)
        plugin = Plugin("tx", requires=("auth",), settings=Table, migrations=folder)

        @plugin.lifespan
        @contextlib.asynccontextmanager
        async def start(ctx: Context) -> AsyncIterator[None]:
            await ctx.database.execute((INSERT, ("x",)))
            found.extend(await ctx.database.read("SELECT text FROM kept"))
            found.append(ctx.get(Table))
            found.append(await ctx.call("user.query"))
            yield

        app = made(tmp_path / "data", plugin, tables={"tx": {"size": "5"}})
        async with app.started():
            assert found == [("x",), Table(size=5), []]

    async def test_plugin_made_of_its_table(self, tmp_path: Path) -> None:
        """Each server gets a plugin of its own, with the methods of its table."""
        plugin = Plugin("tx")

        @plugin.from_table
        def build(table: Mapping[str, Any]) -> Plugin:
            made = Plugin("tx")
            for key in table:

                async def handler(ctx: Context) -> None:
                    """Do nothing."""

                made.method(name=key)(handler)
            return made

        tables: list[dict[str, Any]] = [{"tx": {"a": 1, "b": 2}}, {"tx": {"c": 3}}, {}]
        for number, table in enumerate(tables):
            app = made(tmp_path / str(number), plugin, tables=table)
            async with app.started() as context:
                methods = context.get(Registry).methods
                found = {name for name in methods if name.startswith("tx.")}
                assert found == {f"tx.{key}" for key in table.get("tx", {})}
        assert plugin.methods == {}

    async def test_plugins_end_after_the_connections(self, tmp_path: Path) -> None:
        """While a plugin ends nobody is connected, and the port is closed."""
        left: list[int] = []
        plugin = Plugin("tx")

        @plugin.lifespan
        @contextlib.asynccontextmanager
        async def start(ctx: Context) -> AsyncIterator[None]:
            yield
            left.append(len(server.connections))
            with socket.socket() as late:
                left.append(late.connect_ex(("127.0.0.1", server.port)))

        async with (
            anyio.create_task_group() as group,
            made(tmp_path, plugin).serving() as server,
        ):
            await group.start(stay_connected, server)
        assert left == [0, errno.ECONNREFUSED]

    async def test_tasks_end_while_the_database_is_open(self, tmp_path: Path) -> None:
        """What a task writes while it is cancelled is kept."""
        async with made(tmp_path).started() as context:
            await context.database.execute((CREATE, ()))

            async def work() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    context.database.write([(INSERT, ("last",))])

            context.tasks.start(work(), name="work")
            await anyio.wait_all_tasks_blocked()
        async with made(tmp_path).started() as context:
            assert await context.database.read("SELECT text FROM kept") == [("last",)]

    async def test_jobs_end_before_the_connections(self, tmp_path: Path) -> None:
        """While plugins drain, clients stay connected but nobody new gets in."""
        seen: list[object] = []
        app = made(tmp_path)
        async with (
            anyio.create_task_group() as group,
            app.serving() as server,
        ):
            client = await group.start(stay_connected, server)

            async def drain(grace: float) -> bool:
                seen.append(grace)
                seen.append(await client.call("core.ping"))
                with pytest.raises(CannotConnect):
                    await connect(server.base_url).__aenter__()
                return True

            app.shutdown.add_drain(drain)
        assert seen == [app.settings.interrupt_grace, "pong"]
        assert app.clean

    async def test_what_did_not_end_is_remembered(self, tmp_path: Path) -> None:
        """A drain that did not make it makes the stop unclean."""
        app = made(tmp_path)
        async with app.serving():

            async def drain(grace: float) -> bool:
                return False

            app.shutdown.add_drain(drain)
        assert not app.clean


class TestFailingStart:
    """One clear sentence, and nothing left behind."""

    @pytest.mark.parametrize(
        ("exc", "kind", "text"),
        [
            (
                ValueError("bad"),
                PluginError,
                r"^plugin 'tx' failed to start: ValueError\('bad'\)$",
            ),
            (StartError("no room"), StartError, "^no room$"),
        ],
    )
    async def test_plugin(
        self, tmp_path: Path, exc: Exception, kind: type[Exception], text: str
    ) -> None:
        """The plugin is named, those that started are ended, the directory is free."""
        notes: list[str] = []
        plugins = [noting("ta", notes), failing("tx", exc, "ta")]
        with pytest.raises(kind, match=text):
            async with made(tmp_path, *plugins).started():
                pass
        assert notes == ["start ta", "end ta"]
        async with made(tmp_path).started():
            pass

    async def test_setting_of_a_plugin(self, tmp_path: Path) -> None:
        """The table and the value are named."""
        plugin = Plugin("tx", settings=Table)
        app = made(tmp_path, plugin, tables={"tx": {"size": "large"}})
        with pytest.raises(SettingsError, match="size in table 'tx' is 'large'"):
            async with app.started():
                pass

    async def test_tables_of_a_newer_program(self, tmp_path: Path) -> None:
        """A database that knows more is not touched."""
        async with made(tmp_path).started() as context:
            await context.database.execute(
                ("UPDATE schema_version SET version = 99 WHERE owner = 'jobs'", ())
            )
        with pytest.raises(StoreError, match="has version 99 of the tables of 'jobs'"):
            async with made(tmp_path).started():
                pass

    async def test_directory_in_use(self, tmp_path: Path) -> None:
        """Two servers on one directory are refused, the first one runs on."""
        async with made(tmp_path).started():
            with pytest.raises(StartError, match="already served by another process"):
                async with made(tmp_path).started():
                    pass

    async def test_plugin_that_is_installed_already(self, tmp_path: Path) -> None:
        """A plugin of a test does not silently replace an installed one."""
        with pytest.raises(PluginError, match="two plugins are called 'jobs'"):
            async with made(tmp_path, Plugin("jobs")).started():
                pass

    async def test_methods_of_two_plugins(self, tmp_path: Path) -> None:
        """One method has one plugin."""
        plugin = Plugin("tx", namespaces=("core",))

        @plugin.method
        async def ping(ctx: Context) -> str:
            """Answer, too."""
            return "pong"

        with pytest.raises(PluginError, match=r"core\.ping is declared twice"):
            async with made(tmp_path, plugin).started():
                pass


class TestInside:
    """Calls inside the server."""

    async def test_system_may_call_everything(self, tmp_path: Path) -> None:
        """A context of the server calls methods, and jobs to their end."""
        async with running_server(data_dir=tmp_path) as running:
            assert await running.context.call("core.ping") == "pong"
            assert await running.context.call("demo.noop", 5) == 5
            with pytest.raises(CallError, match="on purpose"):
                await running.context.call("demo.fail", "on purpose", 5)

    async def test_registry_has_every_plugin(self, tmp_path: Path) -> None:
        """Installed plugins and those given are there, in starting order."""
        async with made(tmp_path, Plugin("tx")).started() as context:
            names = [plugin.name for plugin in context.get(Registry).plugins]
        assert {"auth", "core", "jobs", "tx"} <= set(names)
        assert names.index("auth") < names.index("jobs") < names.index("dashboard")


class TestOffline:
    """The data of a stopped server."""

    async def test_calls_as_the_system(self, tmp_path: Path) -> None:
        """Commands of the machine's administrator work without a server."""
        settings = Settings(data_dir=str(tmp_path), listen="127.0.0.1:0")
        account = {"username": "ann", "password": "x" * 12, "roles": ["FULL_ADMIN"]}
        async with offline(settings) as context:
            await context.call("user.create", account)
        async with offline(settings) as context:
            users = await context.call("user.query", [["username", "=", "ann"]])
            assert [user["roles"] for user in users] == [["FULL_ADMIN"]]

    async def test_not_beside_a_server(self, tmp_path: Path) -> None:
        """While a server runs there, it says so."""
        async with running_server(data_dir=tmp_path) as running:
            with pytest.raises(StartError, match="already served"):
                async with offline(running.app.settings):
                    pass

    async def test_runs_no_jobs_of_the_server(self, tmp_path: Path) -> None:
        """Nothing listens there."""
        settings = Settings(data_dir=str(tmp_path), listen="127.0.0.1:0")
        async with offline(settings):
            assert not settings.socket_path.exists()


class TestServe:
    """Until a signal comes."""

    @pytest.mark.parametrize(
        ("number", "grace"), [(signal.SIGTERM, 7.0), (signal.SIGINT, 2.0)]
    )
    async def test_signal_ends_it(
        self, tmp_path: Path, number: signal.Signals, grace: float
    ) -> None:
        """Each signal has its own time for running jobs."""
        app = made(tmp_path, shutdown_grace=7.0, interrupt_grace=2.0)
        urls: list[str] = []

        def ready(server: Server) -> None:
            urls.append(server.base_url)
            os.kill(os.getpid(), number)

        with anyio.fail_after(20):
            await app.serve(ready)
        assert app.shutdown.grace == grace
        assert app.clean
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", urls[0])

    async def test_failing_start_comes_out_alone(self, tmp_path: Path) -> None:
        """The error of a plugin is no group of errors."""
        app = made(tmp_path, failing("tx", ValueError("bad")))
        with pytest.raises(PluginError, match="'tx' failed to start"):
            await app.serve(lambda server: None)

    async def test_two_errors_come_out_together(self, tmp_path: Path) -> None:
        """When a plugin fails while another error passes by, none of them is lost."""
        plugin = Plugin("tx")

        @plugin.lifespan
        @contextlib.asynccontextmanager
        async def start(ctx: Context) -> AsyncIterator[None]:
            async with anyio.create_task_group() as group:
                yield
                group.start_soon(fail, ValueError("one"))
                group.start_soon(fail, KeyError("two"))

        async def fail(exc: Exception) -> None:
            raise exc

        async def run() -> None:
            async with made(tmp_path, plugin).started():
                pass

        with pytest.raises(ExceptionGroup) as caught:
            await run()
        assert caught.group_contains(ValueError, match="one")
        assert caught.group_contains(KeyError, match="two")

    async def test_ready_lines(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where it listens, then what plugins announce."""
        async with running_server(data_dir=tmp_path) as running:
            running.context.get(Announcements).add(lambda url: f"Hello at {url}")
            capsys.readouterr()
            print_ready(running.app.services, running.server)
            lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"Listening on {running.url}"
        assert lines[1] == f"Unix socket {tmp_path}/middlewared.sock"
        assert lines[-1] == f"Hello at {running.url}"

    def test_loop(self) -> None:
        """The fast loop is used where it is installed."""
        assert loop_options() == {"use_uvloop": True}


async def test_port_in_use(tmp_path: Path) -> None:
    """The address is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app = made(tmp_path, listen=f"127.0.0.1:{port}")
        with pytest.raises(StartError) as caught:
            await app.serve(lambda server: None)
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: the port is in use"
    )


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
async def test_public_address_without_tls(tmp_path: Path, listen: str) -> None:
    """It is refused unless somebody says that it is meant."""
    with pytest.raises(StartError, match="a public address without TLS; set tls_cert"):
        await made(tmp_path, listen=listen).serve(lambda server: None)
    app = made(tmp_path, listen="0.0.0.0:0", behind_proxy=True)
    app.shutdown.request(1.0)
    await app.serve(lambda server: None)


async def test_shutdown_before_ready_is_kept(tmp_path: Path) -> None:
    """An order to stop that comes during the start is obeyed once it serves."""
    app = made(tmp_path)
    app.shutdown.request(1.0)
    with anyio.fail_after(20):
        await app.serve(lambda server: None)
    assert app.shutdown.grace == 1.0
    assert isinstance(app.services.get(Tasks), Tasks)
