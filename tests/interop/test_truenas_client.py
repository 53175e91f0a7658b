"""The official TrueNAS client, unmodified, against the real server.

It is in no registry; docs/interop.md says how to install it beside. Without it these
tests are deselected, and the run ends with a line that says so.
"""

import base64
import concurrent.futures
import contextlib
import gc
import hashlib
import hmac
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Pair, make_pair
from server_process import ADMIN_PASSWORD, ServerProcess

pytestmark = [pytest.mark.truenas, pytest.mark.timeout(240)]

SOAK = bool(os.environ.get("SOAK"))
JOBS = 10_000 if SOAK else 300
THREADS = 4
PATIENCE = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the real program once for all tests here."""
    with ServerProcess(tmp_path_factory.mktemp("truenas") / "data") as running:
        yield running


@pytest.fixture
def stranger(server: ServerProcess) -> Iterator[Any]:
    """Connect over TCP without a login."""
    from truenas_api_client import Client  # noqa: PLC0415 - where it is installed

    with Client(server.ws_url) as connected:
        yield connected


@pytest.fixture
def client(stranger: Any) -> Any:
    """Connect over TCP and log in with a password."""
    stranger.login_with_password("admin", ADMIN_PASSWORD)
    return stranger


class Seen:
    """What callbacks were told; the client runs each in a thread of its own."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._changed = threading.Condition()

    def add(self, item: Any) -> None:
        """Keep what a callback was told."""
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def wait(self, item: Any) -> None:
        """Wait until a callback was told this."""
        with self._changed:
            assert self._changed.wait_for(lambda: item in self.items, PATIENCE)


def test_calls_are_answered(client: Any) -> None:
    """A call returns its result, a job call without waiting the job's id."""
    assert client.ping() == "pong"
    assert client.call("auth.me")["pw_name"] == "admin"
    assert isinstance(client.call("demo.noop", 7), int)


def test_logins_are_checked(server: ServerProcess, stranger: Any) -> None:
    """Before login a call is error 207; a wrong password is refused, a key accepted."""
    from truenas_api_client import Client, ClientException  # noqa: PLC0415 - where it is installed
    from truenas_api_client.auth_api_key import APIKeyAuthMech  # noqa: PLC0415 - where it is installed

    with pytest.raises(ClientException) as refused:
        stranger.call("core.get_jobs")
    assert refused.value.errno == ClientException.ENOTAUTHENTICATED
    with pytest.raises((ClientException, ValueError)):
        stranger.login_with_password("admin", "wrong")
    stranger.login_with_password("admin", ADMIN_PASSWORD)
    made = stranger.call("api_key.create", {"username": "admin", "name": "interop"})
    with Client(server.ws_url) as by_key:
        by_key.login_with_api_key(
            "admin", made["key"], auth_mechanism=APIKeyAuthMech.PLAIN
        )
        assert by_key.call("demo.noop", "by key", job=True) == "by key"


def test_unix_socket_needs_no_login(server: ServerProcess) -> None:
    """Whoever runs the server is an administrator on its socket."""
    from truenas_api_client import Client  # noqa: PLC0415 - where it is installed

    with Client(f"ws+unix://{server.socket_path}") as local:
        assert local.call("demo.noop", [1, None], job=True) == [1, None]


def test_a_job_returns_its_result_and_reports_progress(client: Any) -> None:
    """A job that is waited for returns its result; the callback sees its progress."""
    seen = Seen()
    slept = client.call(
        *("demo.sleep", 1.5, 5),
        job=True,
        callback=lambda job: seen.add(job["progress"]["percent"]),
    )
    assert slept >= 1.5
    seen.wait(100)
    assert len(set(seen.items)) >= 3
    assert all(0 <= percent <= 100 for percent in seen.items)


def test_errors_are_its_own_exceptions(client: Any) -> None:
    """Call errors, validation errors and failed jobs raise the client's own classes."""
    from truenas_api_client import ClientException, ValidationErrors  # noqa: PLC0415 - where it is installed

    with pytest.raises(ClientException, match="Method does not exist"):
        client.call("no.such_method")
    for more in ({}, {"job": True}):
        with pytest.raises(ValidationErrors) as invalid:
            client.call("demo.sleep", "long", **more)
        (error,) = invalid.value.errors
        assert (error.attribute, error.errcode) == ("seconds", 22)
    with pytest.raises(ValidationErrors, match="unknown operator"):
        client.call("core.get_jobs", [["id", "resembles", 1]])
    with pytest.raises(ValidationErrors, match="Job with id 999999 does not exist"):
        client.call("core.job_abort", 999_999)
    with pytest.raises(ClientException, match="no tape in the drive") as failed:
        client.call("demo.fail", "no tape in the drive", 5, job=True)
    assert failed.value.trace["class"] == "CallError"
    with pytest.raises(ValidationErrors) as outside:
        client.call("demo.checksum", "/etc", job=True)
    assert outside.value.errors[0].attribute == "path"


def test_an_aborted_job_is_an_error(client: Any) -> None:
    """A job that is aborted while it is waited for raises, it does not return null."""
    from truenas_api_client import ClientException  # noqa: PLC0415 - where it is installed

    job = client.call("demo.sleep", 60, job="RETURN")
    client.call("core.job_abort", job.job_id)
    with pytest.raises(ClientException, match="ABORTED"):
        job.result()


def test_job_wait_returns_the_result_of_another_job(client: Any) -> None:
    """core.job_wait is a job itself and returns what the other one returned."""
    number = client.call("demo.noop", {"answer": 42})
    assert client.call("core.job_wait", number, job=True) == {"answer": 42}


def test_a_bulk_returns_an_entry_for_each_call(client: Any) -> None:
    """Jobs and plain methods, with the words of the progress in the callback."""
    seen = Seen()
    found = client.call(
        "core.bulk",
        "demo.noop",
        [[1], ["two"], [1, 2]],
        "say {0}",
        job=True,
        callback=lambda job: seen.add(job["progress"]["description"]),
    )
    assert [entry["result"] for entry in found] == [1, "two", None]
    assert [entry["job_id"] is None for entry in found] == [False, False, True]
    assert found[2]["error"]
    seen.wait("2 / 3: say 1")
    (entry,) = client.call("core.bulk", "core.ping", [[]], job=True)
    assert entry == {"job_id": None, "result": "pong", "error": None}


def test_files_pass_beside_the_connection(client: Any, server: ServerProcess) -> None:
    """As callers of the client do it: the path of a download, and the upload form."""
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as web:
        job, path = client.call("core.download", "demo.stream", [100_000], "s.bin")
        sent = web.get(path)
        assert sent.headers["Content-Disposition"] == 'attachment; filename="s.bin"'
        client.call("core.job_wait", job, job=True)
        data = json.dumps({"method": "demo.count_upload", "params": []})
        files = {"data": (None, data.encode()), "file": ("s.bin", sent.content)}
        basic = ("admin", ADMIN_PASSWORD)
        started = web.post("/_upload", files=files, auth=basic)
    counted = client.call("core.job_wait", started.json()["job_id"], job=True)
    assert counted[0]["sha256"] == hashlib.sha256(sent.content).hexdigest()


def test_a_transient_job_returns(client: Any) -> None:
    """A job that leaves no history is waited for like any other."""
    assert client.call("demo.transient", 0, job=True) is None


def test_a_subscription_sees_jobs(client: Any) -> None:
    """A subscription's callback gets ADDED and CHANGED messages with whole items."""
    seen: list[tuple[str, int, str]] = []
    ended = threading.Event()

    def watch(message: str, *, fields: dict[str, Any], **_: Any) -> None:
        seen.append((message, fields["id"], fields["state"]))
        if fields["state"] == "SUCCESS":
            ended.set()

    client.subscribe("core.get_jobs", watch, sync=True)
    number = client.call("demo.sleep", 0.1, job="RETURN").job_id
    assert ended.wait(PATIENCE)
    mine = [(message, state) for message, job, state in seen if job == number]
    assert mine[0] == ("ADDED", "WAITING")
    assert mine[1] == ("CHANGED", "RUNNING")
    assert mine[-1] == ("CHANGED", "SUCCESS")


def wait_over_a_restart(server: ServerProcess) -> int:
    """Wait for a job while the server restarts; give the job's id."""
    from truenas_api_client import Client, ClientException  # noqa: PLC0415 - where it is installed

    with Client(server.ws_url) as client:
        client.login_with_password("admin", ADMIN_PASSWORD)
        job = client.call("demo.sleep", 60, job="RETURN")
        server.restart()
        with pytest.raises(ClientException, match="the server stopped"):
            job.result()
        with pytest.raises(ClientException):
            client.call("core.ping")
        return int(job.job_id)


# The client leaves a socket that the server closed to the collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket")
def test_a_restart_ends_calls_and_a_new_client_finds_the_job(tmp_path: Path) -> None:
    """It does not reconnect: who waits is told, and connects anew."""
    from truenas_api_client import Client  # noqa: PLC0415 - where it is installed

    with ServerProcess(tmp_path / "data") as restarted:
        number = wait_over_a_restart(restarted)
        gc.collect()
        with Client(restarted.ws_url) as new:
            new.login_with_password("admin", ADMIN_PASSWORD)
            (item,) = new.call("core.get_jobs", [["id", "=", number]])
            assert item["exc_info"]["type"] == "ServerStopped"
            assert new.call("demo.noop", 2, job=True) == 2


def test_many_jobs_are_never_confused(client: Any) -> None:
    """No job that is waited for hangs, and none takes a result for an id.

    Several threads share the connection, as in programs that were written for it.
    """

    def run(number: int) -> Any:
        return client.call("demo.noop", f"value {number}", job=True)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(run, range(JOBS)))
    assert results == [f"value {number}" for number in range(JOBS)]


# Logging in with an API key.


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Make the certificate of the server with TLS."""
    return make_pair(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, pair: Pair
) -> Iterator[ServerProcess]:
    """Run the real program with TLS once for the tests that need it."""
    folder = tmp_path_factory.mktemp("secure")
    with ServerProcess(folder / "data", arguments=pair.arguments) as running:
        yield running


@pytest.fixture(scope="module")
def key(secure: ServerProcess) -> str:
    """Make a key of the administrator on the server with TLS."""
    return new_key(secure)


def new_key(server: ServerProcess) -> str:
    """Make a key of the administrator."""
    return server.command("key", "add", "admin", "interop").stdout.strip()


def log_in(address: str, key: str, **options: Any) -> Any:
    """Log in with a key and say how the server sees it."""
    from truenas_api_client import Client  # noqa: PLC0415 - where it is installed

    with Client(address, verify_ssl=False) as connected:
        connected.login_with_api_key("admin", key, **options)
        (login,) = connected.call("auth.sessions", [["current", "=", True]])
        return login


def test_key_is_proved_over_tls(secure: ServerProcess, key: str) -> None:
    """SCRAM bound to the certificate, which is what the client does by default."""
    login = log_in(secure.ws_url, key)
    assert (login["credentials"], login["secure_transport"]) == ("API_KEY", True)
    number = int(key.partition("-")[0])
    assert login["credentials_data"]["api_key"] == number


@pytest.mark.parametrize("options", [{"channel_binding": False}, {"plain": True}])
def test_key_logs_in_in_other_ways(
    secure: ServerProcess, key: str, options: dict[str, Any]
) -> None:
    """SCRAM that is not bound, and the key itself."""
    from truenas_api_client.auth_api_key import APIKeyAuthMech  # noqa: PLC0415 - where it is installed

    if "plain" in options:
        options = {"auth_mechanism": APIKeyAuthMech.PLAIN}
    assert log_in(secure.ws_url, key, **options)["credentials"] == "API_KEY"


def test_keys_from_files_and_computed_ahead(
    secure: ServerProcess, key: str, tmp_path: Path
) -> None:
    """A key may be in a file, as it is or as what SCRAM makes of it."""
    file = tmp_path / "key.json"
    file.write_text(json.dumps({"raw_key": key}))
    assert log_in(secure.ws_url, str(file))["credentials"] == "API_KEY"
    number, _, secret = key.partition("-")
    database = sqlite3.connect(secure.data_dir / "middlewared.db")
    with contextlib.closing(database):
        (salt, iterations), *_ = database.execute(
            "SELECT salt, iterations FROM api_keys WHERE id = ?", (number,)
        )
    salted = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha512")
    keys = {
        "client_key": client_key,
        "stored_key": hashlib.sha512(client_key).digest(),
        "server_key": hmac.digest(salted, b"Server Key", "sha512"),
    }
    encoded = {name: base64.b64encode(value).decode() for name, value in keys.items()}
    file.write_text(json.dumps({"api_key_id": int(number), **encoded}))
    assert log_in(secure.ws_url, str(file))["credentials"] == "API_KEY"


def test_wrong_keys_are_refused(secure: ServerProcess, key: str) -> None:
    """Another secret, another key's id and another user are all the same error."""
    with pytest.raises(ValueError, match="Failed to authenticate with API key"):
        log_in(secure.ws_url, key[:-1] + ("a" if key[-1] != "a" else "b"))
    with pytest.raises(ValueError, match="Failed to authenticate with API key"):
        log_in(secure.ws_url, f"99-{key.partition('-')[2]}")


def test_key_is_proved_on_the_unix_socket(server: ServerProcess) -> None:
    """Where there is no certificate to bind to, and no need."""
    login = log_in(f"ws+unix://{server.socket_path}", new_key(server))
    assert (login["credentials"], login["internal"]) == ("API_KEY", True)


def test_without_tls_the_client_asks_for_consent(server: ServerProcess) -> None:
    """It does not log in on a plain connection unless told not to bind."""
    key = new_key(server)
    with pytest.raises(ValueError, match="channel binding is required"):
        log_in(server.ws_url, key)
    assert log_in(server.ws_url, key, channel_binding=False)["credentials"] == "API_KEY"


def test_a_token_logs_in(client: Any, server: ServerProcess) -> None:
    """A token of auth.generate_token is a login of its own."""
    from truenas_api_client import Client  # noqa: PLC0415 - where it is installed

    token = client.call("auth.generate_token", 60)
    with Client(server.ws_url) as other:
        answer = other.call(
            "auth.login_ex", {"mechanism": "TOKEN_PLAIN", "token": token}
        )
        assert answer["response_type"] == "SUCCESS"
        assert answer["user_info"]["privilege"]["roles"] == {"FULL_ADMIN"}
        assert other.call("auth.logout") is True


# Its command line.


class Midclt:
    """Runs ``midclt`` in this process.

    Attributes:
        code: exit code of the last run.
        out: what it printed.
        err: what it printed on standard error.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.code: Any = 0
        self.out = self.err = ""

    def __call__(self, *words: str) -> str:
        """Run it; give what it printed, without the space around."""
        from truenas_api_client import main  # noqa: PLC0415 - where it is installed

        self._monkeypatch.setattr(sys, "argv", ["midclt", *words])
        self.code = 0
        try:
            main()
        except SystemExit as exc:
            self.code = exc.code or 0
        self.out, self.err = self._capsys.readouterr()
        return self.out.strip()


@pytest.fixture
def midclt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Midclt:
    return Midclt(monkeypatch, capsys)


@pytest.mark.parametrize("options", [(), ("--no-channel-binding",), ("--plain",)])
def test_midclt_logs_in_with_a_key(
    midclt: Midclt, secure: ServerProcess, key: str, options: tuple[str, ...]
) -> None:
    """With -K over wss, in each of its ways."""
    words = ("-u", secure.ws_url, "--insecure", "-U", "admin", "-K", key, *options)
    assert midclt(*words, "call", "demo.noop", "3", "-j").endswith("3")
    me = json.loads(midclt(*words, "call", "auth.me"))
    assert (me["pw_name"], midclt.code) == ("admin", 0)


def test_midclt_says_why_it_cannot_log_in(
    midclt: Midclt, server: ServerProcess, secure: ServerProcess, key: str
) -> None:
    """A failed login ends with code 0, as in every release of it."""
    words = ("-u", secure.ws_url, "--insecure", "-U", "admin", "-K", f"{key}x")
    assert midclt(*words, "call", "auth.me").startswith("Failed to login:")
    plain = ("-u", server.ws_url, "-U", "admin", "-K", key)
    printed = midclt(*plain, "call", "auth.me")
    assert "channel binding is required" in printed
    assert midclt.code == 0
    midclt("-u", secure.ws_url, "call", "core.ping")
    assert (midclt.code, "verification failed" in midclt.err) == (1, True)
    midclt("-u", "ws://127.0.0.1:1/api/current", "call", "core.ping")
    assert (midclt.code, "Daemon not running?" in midclt.err) == (1, True)


def test_midclt_prints_results_and_errors(
    midclt: Midclt, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and texts bare, all else as JSON; errors with their details."""
    words = ("-u", server.ws_url, "-U", "admin", "-P", ADMIN_PASSWORD, "call")
    assert midclt("-u", server.ws_url, "ping") == "pong"
    assert midclt(*words, "demo.noop", "1").isdecimal()
    assert midclt(*words, "-j", "demo.noop", "text").endswith("text")
    assert midclt(*words, "-j", "demo.noop", '{"answer": 42}').endswith(
        '{"answer": 42}'
    )
    described = midclt(*words, "-j", "-jp", "description", "demo.sleep", "0.3", "3")
    assert float(described) >= 0.3
    assert "step" in midclt.err
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"from": "stdin"}'))
    assert midclt(*words, "-j", "demo.noop", "-").endswith('{"from": "stdin"}')
    midclt(*words, "-j", "demo.fail", "no luck")
    assert (midclt.code, "no luck" in midclt.err) == (1, True)
    midclt(*words, "demo.sleep", "long")
    assert (midclt.code, "seconds" in midclt.err) == (1, True)
    midclt(*words, "-q", "core.job_abort", "999999")
    assert (midclt.code, midclt.err) == (1, "")


def test_midclt_prints_events(
    midclt: Midclt, server: ServerProcess, client: Any
) -> None:
    """Each notification's params, until there were enough or the time is over."""
    words = ("-u", f"ws+unix://{server.socket_path}", "subscribe")
    enough = threading.Event()

    def work() -> None:
        while not enough.wait(0.05):
            client.call("demo.noop", 1)

    worker = threading.Thread(target=work)
    worker.start()
    printed = midclt(*words, "-n", "1", "-t", "20", "core.get_jobs")
    enough.set()
    worker.join()
    seen = json.loads(printed.splitlines()[0])
    assert (seen["collection"], seen["fields"]["method"]) == (
        "core.get_jobs",
        "demo.noop",
    )
    midclt(*words, "-n", "1", "-t", "1", "nothing.happens")
    assert midclt.code == 1


def test_its_command_line_runs_a_job(server: ServerProcess) -> None:
    """``midclt call -j`` prints the result of a job, or its error."""
    midclt = "from truenas_api_client import main; main()"
    command = [sys.executable, "-c", midclt, "-u", server.ws_url]
    command += ["-U", "admin", "-P", ADMIN_PASSWORD, "call", "-j"]
    done = subprocess.run(
        [*command, "demo.noop", '{"answer": 42}'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()[-14:]) == (0, '{"answer": 42}')
    done = subprocess.run(
        [*command, "demo.fail", "no luck"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no luck" in done.stderr
