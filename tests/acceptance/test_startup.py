"""Starting and stopping the real program: what it says, its exit codes, its files."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import CONFIG, ServerProcess
from wire_client import TEXT, WireClient, client_frame
from wire_starts import Done, Starts

from middlewared.testing import running_server

#: Seconds a stop may take on a busy machine; alone it takes far less than one, and
#: what it must not wait for takes longer.
PROMPT = 15.0


class Serve:
    """Runs ``middlewared serve``, which is expected to fail."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts

    def __call__(
        self,
        data_dir: Path | None,
        *arguments: str,
        environment: dict[str, str] | None = None,
    ) -> Done:
        where = () if data_dir is None else ("--data-dir", str(data_dir))
        listen = () if "--config" in arguments else ("--listen", "127.0.0.1:0")
        return self._starts.run(
            "serve", *where, *listen, *arguments, environment=environment
        )


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    with Starts() as starts:
        yield Serve(starts)


def check_refused(done: Done, *words: str, code: int = 2) -> None:
    """One line on stderr that has the words, nothing on stdout, the exit code."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("middlewared: ")
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that other starts collide with."""
    folder = tmp_path_factory.mktemp("running") / "data"
    with ServerProcess(folder, admin_password=None) as server:
        yield server


# What keeps it from starting.


def test_port_in_use_is_named(
    serve: Serve, running: ServerProcess, data_dir: Path
) -> None:
    """With the reason, in the words of a person."""
    listen = f"127.0.0.1:{running.port}"
    done = serve(data_dir, "--listen", listen)
    check_refused(done, listen, "the port is in use")


def test_served_data_directory_is_named(serve: Serve, running: ServerProcess) -> None:
    """Two servers never share their data."""
    done = serve(running.data_dir)
    check_refused(done, str(running.data_dir), "already served")


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/middlewared-test"])
def test_data_directory_that_cannot_be_written_is_named(
    serve: Serve, tmp_path: Path, where: str
) -> None:
    """Whatever the reason is."""
    (tmp_path / "file").write_text("")
    path = tmp_path / where
    check_refused(serve(path), "data directory", str(path), "cannot be written")


async def test_newer_schema_is_refused_and_left_alone(
    serve: Serve, data_dir: Path
) -> None:
    """A downgrade loses nothing: the program says who should open the database."""
    async with running_server(data_dir=data_dir):
        pass
    path = data_dir / "middlewared.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE schema_version SET version = 99")
        database.commit()
    before = path.read_bytes()
    check_refused(serve(data_dir), str(path), "version 99", "install a newer one")
    assert path.read_bytes() == before


def test_file_that_is_no_database_is_refused_and_left_alone(
    serve: Serve, data_dir: Path
) -> None:
    """Never silently replaced by an empty one."""
    data_dir.mkdir()
    path = data_dir / "middlewared.db"
    path.write_bytes(b"this is no database\n" * 1000)
    before = path.read_bytes()
    check_refused(serve(data_dir), str(path), "not a database")
    assert path.read_bytes() == before


def test_unix_path_over_the_limit_names_the_limit(serve: Serve, data_dir: Path) -> None:
    """The system allows 107 bytes."""
    path = f"/tmp/{'x' * 110}"  # noqa: S108 - never made
    check_refused(serve(data_dir, "--unix", path), path, "107")


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_public_address_without_tls_is_refused(
    serve: Serve, data_dir: Path, listen: str
) -> None:
    """And the line says which settings would allow it."""
    done = serve(data_dir, "--listen", listen)
    check_refused(done, listen, "insecure", "behind_proxy")


@pytest.mark.parametrize("name", ["missing.pem", "empty.pem"])
def test_unfit_certificate_is_refused(
    serve: Serve, tmp_path: Path, data_dir: Path, name: str
) -> None:
    """Before anything is made."""
    (tmp_path / "empty.pem").write_text("")
    path = str(tmp_path / name)
    done = serve(data_dir, "--listen", "0.0.0.0:0", "--tls-certificate", path)
    check_refused(done, "tls_certificate", path)
    assert not data_dir.exists()


def test_address_of_another_machine_is_named(serve: Serve, data_dir: Path) -> None:
    """Also when it is allowed to be public."""
    done = serve(data_dir, "--listen", "192.0.2.1:0", "--insecure")
    check_refused(done, "192.0.2.1:0")


# Settings.

BAD_SETTINGS = {
    "unknown": ("max_cals = 5", ["max_cals"]),
    "wrong type": ('max_calls = "many"', ["max_calls", "int", "str"]),
    "out of range": ("max_calls = 0", ["max_calls"]),
    "unknown in a table": ("[auth]\nfailure_delai = 1.0", ["auth", "failure_delai"]),
    "wrong type in a table": ('[jobs]\nasync_jobs = "x"', ["jobs", "async_jobs"]),
    "table of no plugin": ("[nothing]\nx = 1", ["nothing"]),
    "no TOML": ("max_calls = ", ["settings file"]),
    "bad address": ('listen = "nonsense"', ["listen", "nonsense", "HOST:PORT"]),
    "bad port": ('listen = "127.0.0.1:99999"', ["listen", "99999", "HOST:PORT"]),
    "bad level": ('log_level = "loud"', ["log_level"]),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_file_names_what_is_wrong(
    serve: Serve, tmp_path: Path, name: str
) -> None:
    """Each mistake in one line that names the file and the setting."""
    text, words = BAD_SETTINGS[name]
    config = tmp_path / "settings.toml"
    config.write_text(text + "\n")
    check_refused(serve(tmp_path / "data", "--config", str(config)), *words)


@pytest.mark.parametrize("kind", ["missing", "folder", "no text"])
def test_settings_file_that_cannot_be_read_is_named(
    serve: Serve, tmp_path: Path, data_dir: Path, kind: str
) -> None:
    """A typo in the path never starts a server with other settings."""
    config = tmp_path / "settings.toml"
    if kind == "folder":
        config.mkdir()
    elif kind == "no text":
        config.write_bytes(b"\xff\xfe")
    done = serve(data_dir, "--config", str(config))
    assert done.returncode == 2
    assert str(config) in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_variable_is_named(serve: Serve, data_dir: Path) -> None:
    """Settings of the environment are checked alike."""
    done = serve(data_dir, environment={"MIDDLEWARED_MAX_CALLS": "many"})
    check_refused(done, "max_calls")


def test_unknown_flag_is_refused(serve: Serve, data_dir: Path) -> None:
    """With the usage, as every command line does."""
    done = serve(data_dir, "--nothing")
    assert done.returncode == 2
    assert "--nothing" in done.stderr


# Plugins.

DECLARED = "from middlewared import Plugin\nplugin = Plugin('broken'{})\n"
METHOD = DECLARED.format("") + "@plugin.method\n"
LIFESPAN = """
from contextlib import asynccontextmanager
@plugin.lifespan
@asynccontextmanager
async def start(ctx):
    raise ValueError('no disk')
    yield
"""
BROKEN_PLUGINS = {
    "syntax": ("def broken(:\n", ["middlewared_broken.py:1", "SyntaxError"]),
    "import": ("x = 1\nraise RuntimeError('boom')\n", [":2", "RuntimeError: boom"]),
    "missing module": ("import nowhere_at_all\n", [":1", "nowhere_at_all"]),
    "no plugin": ("x = 1\n", ["middlewared_broken", "expected a Plugin"]),
    "missing requires": (
        DECLARED.format(", requires=['gone']"),
        ["'broken'", "'gone'", "not installed"],
    ),
    "its own": (DECLARED.format(", requires=['broken']"), ["broken -> broken"]),
    "name taken": (
        DECLARED.replace("broken", "jobs").format(""),
        ["two plugins", "'jobs'"],
    ),
    "method taken": (
        DECLARED.format(", namespaces=['core']")
        + "@plugin.method\nasync def ping(ctx) -> None:\n    'Again.'\n",
        ["middlewared_broken.py:3", "core.ping", "twice"],
    ),
    "no docstring": (
        METHOD + "async def x(ctx) -> None: ...\n",
        ["middlewared_broken.py:3", "broken.x", "docstring"],
    ),
    "no type": (
        METHOD + "async def x(ctx, a) -> None:\n    'Do.'\n",
        ["middlewared_broken.py:3", "'a'", "no type"],
    ),
    "fails to start": (DECLARED.format("") + LIFESPAN, ["'broken'", "no disk"]),
}


@pytest.mark.parametrize("name", BROKEN_PLUGINS)
def test_broken_plugin_names_itself_and_the_line(
    serve: Serve, tmp_path: Path, data_dir: Path, name: str
) -> None:
    """Its author finds the place from one line."""
    text, words = BROKEN_PLUGINS[name]
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "middlewared_broken.py").write_text(text)
    check_refused(serve(data_dir, "--plugins-dir", str(folder)), *words)


def test_plugins_that_require_each_other_are_named(
    serve: Serve, tmp_path: Path, data_dir: Path
) -> None:
    """The whole circle."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name, needed in (("one", "two"), ("two", "three"), ("three", "one")):
        (folder / f"middlewared_{name}.py").write_text(
            "from middlewared import Plugin\n"
            f"plugin = Plugin({name!r}, requires=[{needed!r}])\n"
        )
    done = serve(data_dir, "--plugins-dir", str(folder))
    check_refused(done, "one", "two", "three", "->")


def test_missing_plugins_folder_is_named(serve: Serve, data_dir: Path) -> None:
    """A typo is no empty folder."""
    done = serve(data_dir, "--plugins-dir", "/nowhere/at/all")
    check_refused(done, "/nowhere/at/all")


def test_failed_start_leaves_the_data_directory_usable(
    serve: Serve, tmp_path: Path, data_dir: Path
) -> None:
    """After the mistake is mended, the same command works."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "middlewared_broken.py").write_text("raise RuntimeError\n")
    assert serve(data_dir, "--plugins-dir", str(folder)).returncode == 2
    shutil.rmtree(folder)
    with ServerProcess(data_dir, admin_password=None) as server:
        assert server.stop() == 0


# A start that works.


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Start with the worst umask there is."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes_in(folder: Path) -> dict[str, int]:
    """Give the permissions of a folder and of every file below it."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_dir())]
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in paths
    }


@pytest.mark.usefixtures("open_umask")
async def test_files_are_for_the_owner_only(data_dir: Path) -> None:
    """Whatever the umask: database, keys, logs and the socket."""
    with ServerProcess(data_dir, admin_password=None) as server:
        client = await WireClient.open(server.socket_path)
        await client.call("core.set_options", {"legacy_jobs": False})
        assert await client.call("demo.log", 100) == 100
        client.close()
        found = modes_in(data_dir)
    assert found.pop(".") == 0o700
    assert {"middlewared.db", "middlewared.sock"} <= set(found)
    assert any(name.endswith(".log") for name in found)
    assert any(name.endswith(".key") for name in found)
    assert {name: oct(mode) for name, mode in found.items() if mode != 0o600} == {}


def test_first_start_prints_where_it_is_and_a_way_in(data_dir: Path) -> None:
    """Address, unix socket and a one-time link."""
    with ServerProcess(data_dir, admin_password=None) as server:
        link = server.wait_line(r"http://\S+/ui/#token=\S+")
        assert server.url in link
        assert any(str(server.socket_path) in line for line in server.output)


def test_data_directory_comes_from_the_environment(serve: Serve) -> None:
    """``MIDDLEWARED_DATA_DIR`` when no flag says otherwise; a flag wins."""
    variable = {"MIDDLEWARED_DATA_DIR": "/proc/from-the-environment"}
    check_refused(serve(None, environment=variable), "/proc/from-the-environment")
    done = serve(Path("/proc/from-the-flag"), environment=variable)
    check_refused(done, "/proc/from-the-flag")


# Stopping.


def exit_code_after(server: ServerProcess, number: int) -> int:
    """Send a signal; give the exit code, which must come promptly."""
    start = time.monotonic()
    code = server.stop(number)
    assert time.monotonic() - start < PROMPT
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_server_with_0(data_dir: Path, number: int) -> None:
    """Promptly; the socket is gone, nothing was left open."""
    with ServerProcess(data_dir, admin_password=None) as server:
        assert exit_code_after(server, number) == 0
        assert not server.socket_path.exists()
        assert not [line for line in server.output if "Traceback" in line]
        assert not list(data_dir.glob("*.db-wal"))


async def start_sleeping(server: ServerProcess, seconds: float) -> WireClient:
    """Connect and start a job; return when it runs."""
    client = await WireClient.open(server.socket_path)
    await client.call("core.subscribe", "core.get_jobs")
    await client.send_json(
        {"jsonrpc": "2.0", "id": 0, "method": "demo.sleep", "params": [seconds, 1]}
    )
    await client.wait_event(lambda params: params["fields"]["state"] == "RUNNING")
    return client


async def test_second_signal_ends_at_once(data_dir: Path) -> None:
    """Who asks twice does not wait for jobs."""
    with ServerProcess(data_dir, admin_password=None) as server:
        client = await start_sleeping(server, 600)
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        server.wait_line("stopping")
        assert exit_code_after(server, signal.SIGTERM) == 128 + signal.SIGTERM
        client.close()


async def test_job_is_given_its_grace_and_its_end_is_kept(data_dir: Path) -> None:
    """A job that ends in time is a success, after the restart too."""
    with ServerProcess(data_dir, admin_password=None) as server:
        client = await start_sleeping(server, 1.0)
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        await client.wait_event(lambda params: params["fields"]["state"] == "SUCCESS")
        assert (await client.receive_close())[0] == 1012
        client.close()
        assert server.process.wait(PROMPT) == 0
        server.start()
        client = await WireClient.open(server.socket_path)
        (job,) = await client.call("core.get_jobs", [["method", "=", "demo.sleep"]])
        client.close()
        assert (job["state"], job["result"]) == ("SUCCESS", pytest.approx(1, abs=0.9))


async def test_stuck_clients_do_not_hold_up_the_end(data_dir: Path) -> None:
    """Whatever they do: not reading, not answering, half a request."""
    config = CONFIG.replace("[auth]", "close_timeout = 0.5\n[auth]")
    with ServerProcess(data_dir, admin_password=None, config=config) as server:
        address = ("127.0.0.1", server.port)
        plain = [socket.create_connection(address) for _ in range(5)]
        for sock in plain[:3]:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        silent = [await WireClient.open(address) for _ in range(5)]
        stuck = await WireClient.open(server.socket_path)
        methods = b'{"jsonrpc":"2.0","id":1,"method":"core.get_methods"}'
        await stuck.send_bytes(client_frame(TEXT, methods) * 100)
        assert exit_code_after(server, signal.SIGTERM) == 0
        for client in (*silent, stuck):
            client.close()
        for sock in plain:
            sock.close()


async def test_clients_are_told_1012(data_dir: Path) -> None:
    """A client knows that it may come back."""
    with ServerProcess(data_dir, admin_password=None) as server:
        client = await WireClient.open(("127.0.0.1", server.port))
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        assert (await client.receive_close())[0] == 1012
        client.close()
        assert server.process.wait(PROMPT) == 0
