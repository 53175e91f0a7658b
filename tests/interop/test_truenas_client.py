"""The official TrueNAS client, unmodified, against the real server.

It is in no registry; docs/interop.md says how to install it beside. Without it these
tests are deselected, and the run ends with a line that says so.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from server_process import ServerProcess

pytestmark = pytest.mark.truenas

JOBS = 10_000 if os.environ.get("SOAK") else 300


@pytest.fixture
def client(server_process: ServerProcess) -> Iterator[Any]:
    """Connect over TCP and log in with a password."""
    from truenas_api_client import Client  # noqa: PLC0415 - where it is installed

    assert server_process.admin_password is not None
    with Client(server_process.ws_url) as connected:
        connected.login_with_password("admin", server_process.admin_password)
        yield connected


def test_calls_are_answered(client: Any) -> None:
    """A call returns its result, a job call without waiting the job's id."""
    assert client.ping() == "pong"
    assert client.call("auth.me")["pw_name"] == "admin"
    assert isinstance(client.call("demo.noop", 7), int)


def test_a_job_returns_its_result_and_reports_progress(client: Any) -> None:
    """A job that is waited for returns its result; the callback sees its progress."""
    seen: list[int] = []

    def progress(job: dict[str, Any]) -> None:
        seen.append(job["progress"]["percent"])

    slept = client.call("demo.sleep", 1.5, 5, job=True, callback=progress)
    assert slept >= 1.5
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert len(set(seen)) >= 3


def test_errors_are_its_own_exceptions(client: Any) -> None:
    """Call errors, validation errors and failed jobs raise the client's own classes."""
    from truenas_api_client import ClientException, ValidationErrors  # noqa: PLC0415 - where it is installed

    with pytest.raises(ClientException, match="Method does not exist"):
        client.call("no.such_method")
    with pytest.raises(ValidationErrors) as invalid:
        client.call("demo.sleep", "long", job=True)
    assert invalid.value.errors[0].attribute == "seconds"
    with pytest.raises(ValidationErrors, match="unknown operator"):
        client.call("core.get_jobs", [["id", "resembles", 1]])
    with pytest.raises(ClientException, match="no tape in the drive"):
        client.call("demo.fail", "no tape in the drive", 5, job=True)


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


def test_a_subscription_sees_jobs(client: Any) -> None:
    """A subscription's callback gets ADDED and CHANGED messages with whole items."""
    seen: list[tuple[str, str]] = []

    def watch(message: str, **event: Any) -> None:
        seen.append((message.lower(), event["fields"]["state"]))

    client.subscribe("core.get_jobs", watch)
    client.call("demo.sleep", 0.5, job=True)
    assert seen[0] == ("added", "WAITING")
    assert ("changed", "RUNNING") in seen


def test_many_jobs_are_never_confused(client: Any) -> None:
    """No job that is waited for hangs, and none takes a result for an id."""
    for number in range(JOBS):
        assert client.call("demo.noop", f"value {number}", job=True) == (
            f"value {number}"
        )
