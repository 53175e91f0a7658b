"""Clients of the original services, unmodified but for the address."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Pair, make_pair
from node_packages import install_packages
from server_process import CONFIG, ServerProcess

HERE = Path(__file__).parent
SFCC = HERE.parent / "node" / "node_modules" / ".bin" / "sfcc-ci"


@pytest.fixture
def key(server_process: ServerProcess) -> str:
    """Make an account that may run the demo's jobs, and a key of its."""
    return make_key(server_process)


def make_key(server: ServerProcess) -> str:
    """Make an account and give its API key."""
    user = ("user", "add", "ann", "--role", "JOB_USER", "--password-stdin")
    server.command(*user, input_text="correct horse battery")
    account = json.dumps({"username": "ann", "name": "k"})
    made = server.command("call", "--json", "api_key.create", account)
    found: str = json.loads(made.stdout)["key"]
    return found


def test_wxc_sdk(server_process: ServerProcess, key: str) -> None:
    """The SDK starts, follows, lists and reads errors, and parses all of it."""
    done = subprocess.run(
        [sys.executable, str(HERE / "webex_client.py"), server_process.url, key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "name": "moveusers",
        "status": "COMPLETED",
        "exit": "COMPLETED_WITH_ERRORS",
        "moved": 1,
        "failed": 1,
        "steps": ["moveusersvalidateAndMove", "moveusersreport"],
        "listed": [True],
        "errors": ["bad"],
        "pause": 409,
        "unknown": "There is no job 'nothing'",
    }


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Make a certificate."""
    return make_pair(tmp_path)


@pytest.fixture
def secure_server(tmp_path: Path, pair: Pair) -> Iterator[ServerProcess]:
    """Run the program with the certificate of `pair`; sfcc-ci insists on one."""
    with ServerProcess(
        tmp_path / "data",
        config=CONFIG,
        arguments=pair.arguments,
        environment={"SSL_CERT_FILE": str(pair.certificate)},
    ) as running:
        yield running


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Install what package.json names, unless it is there."""
    install_packages(tmp_path_factory.getbasetemp().parent)


@pytest.mark.node
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("packages")
def test_sfcc_ci(secure_server: ServerProcess, pair: Pair, tmp_path: Path) -> None:
    """The command line tool logs in, runs a job, waits for it, asks for its status."""
    key = make_key(secure_server)
    host = secure_server.url.removeprefix("https://")
    environment = os.environ | {
        "HOME": str(tmp_path),
        "SFCC_LOGIN_URL": host,
        "NODE_EXTRA_CA_CERTS": str(pair.certificate),
        "SFCC_IGNORE_WARNINGS": "1",
    }

    def sfcc(*arguments: str) -> str:
        done = subprocess.run(
            [str(SFCC), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    sfcc("client:auth", "ann", key)
    started = sfcc("job:run", "CustomerImportJob", "-i", host, "--sync", "--json")
    execution = json.loads(started[started.index("{") :])
    assert execution["execution_status"] == "finished", execution
    assert execution["exit_status"]["code"] == "OK"
    shown = sfcc("job:status", "CustomerImportJob", execution["id"], "-i", host, "-j")
    status = json.loads(shown[shown.index("{") :])
    assert (status["id"], status["status"]) == (execution["id"], "OK")
