"""The official TrueNAS client, unmodified, against the real server.

It is in no registry; docs/interop.md says how to install it beside. Without it these
tests are deselected, and the run ends with a line that says so.
"""

import concurrent.futures
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
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


def test_many_jobs_are_never_confused(client: Any) -> None:
    """No job that is waited for hangs, and none takes a result for an id.

    Several threads share the connection, as in programs that were written for it.
    """

    def run(number: int) -> Any:
        return client.call("demo.noop", f"value {number}", job=True)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(run, range(JOBS)))
    assert results == [f"value {number}" for number in range(JOBS)]


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
