"""Clients of the original services, unmodified but for the address."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Pair, make_pair
from node_packages import install_packages
from server_process import CONFIG, ServerProcess
from views_server import make_key, running_views

HERE = Path(__file__).parent
WITH_ERRORS = "COMPLETED_WITH_ERRORS"
SEEN_BY_SDK = {
    "move_users": {
        "checked": [["bad", 1]],
        "name": "moveusers",
        "status": "COMPLETED",
        "exit": WITH_ERRORS,
        "counts": [2, 1, 1],
        "steps": ["moveusersvalidateAndMove", "moveusersreport"],
        "listed": [True],
        "errors": ["bad"],
        "pause": 409,
        "wrong": 400,
        "unknown": "There is no job 'nothing'",
    },
    "manage_numbers": {
        "second": 409,
        "paused": ["COMPLETED"],
        "resumed": ["COMPLETED", WITH_ERRORS],
        "counts": [2, 1],
        "operation": "MOVE",
        "errors": [["12", "400", "LOC"]],
        "abandoned": "STOPPED",
        "again": ["ABANDONED", "COMPLETED"],
        "listed": 3,
    },
    "locations": [WITH_ERRORS, ["row 1"], [True]],
    "device_settings": ["COMPLETED", "LOCATION", [True], []],
    "devices": [
        ["applyphonelinekeytemplates", WITH_ERRORS, 100, [True], ["one"]],
        ["rebuildphones", WITH_ERRORS, 100, [True], ["one"]],
        ["dynamicdevicesettings", WITH_ERRORS, 100, [True], ["one"]],
    ],
    "invites": [WITH_ERRORS, 1, True, ["one"]],
    "elsewhere": [
        *("updateroutingprefix", 1, ["one"]),
        *("managecallrecordingprovider", 1, ["one"]),
    ],
}
SFCC = HERE.parent / "node" / "node_modules" / ".bin" / "sfcc-ci"


def test_wxc_sdk(tmp_path: Path) -> None:
    """The SDK uses every family: it starts, follows, lists, pauses, resumes, abandons.

    It reads errors, and parses all of it into its own types.
    """
    with running_views(tmp_path) as views:
        as_ann = ("--url", views.server.url, "--api-key", views.key, "--json")
        for method in ("views.prefix", "views.recording"):
            views.server.command(*as_ann, "call", "-j", method)
        mine = '[["method", "=", "views.recording"]]'
        listed = views.server.command(*as_ann, "call", "core.get_jobs", mine)
        (recording,) = json.loads(listed.stdout)
        done = subprocess.run(
            [
                *(sys.executable, str(HERE / "webex_client.py")),
                *(views.server.url, views.key, str(views.folder), str(recording["id"])),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == SEEN_BY_SDK


#: The form that the mission catalog of Esri's package sends for a title alone.
MISSION = {
    "title": "Flood",
    "snippet": "",
    "description": "",
    "licenseInfo": "",
    "capabilities": "",
    "async": "true",
    "tags": "",
    "extent": "-180,-90,180,90",
    "locale": "en",
    "baseMap": "",
    "appId": "",
    "f": "json",
}


def test_esri_requests(server_process: ServerProcess) -> None:
    """What Esri's package sends for a mission and its job, see docs/interop.md."""
    rest = f"{server_process.url}/arcgis/rest"
    login = {"f": "json", "username": "ann", "password": make_key(server_process)}
    with httpx.Client(
        trust_env=False, headers={"referer": "http"}, timeout=30.0
    ) as http:
        token = http.post(f"{rest}/generateToken", data=login).json()["token"]
        http.headers["X-Esri-Authorization"] = f"Bearer {token}"

        def get(url: str) -> Any:
            return http.get(url, params={"f": "json"}).json()

        assert get(rest)["authInfo"]["isTokenBasedSecurity"] is True
        made = http.post(f"{rest}/services/createMission", data=MISSION).json()
        job = f"{rest}/jobs/{made['jobId']}"
        deadline = time.monotonic() + 20
        while get(job)["status"].upper() != "COMPLETED":
            assert time.monotonic() < deadline
        assert [f"{rest}/jobs/{one}" for one in get(f"{rest}/jobs")["asyncJobs"]] == [
            job
        ]
        by_post = http.post(job, data={"f": "json"}).json()
        assert by_post["type"] == "addMission"
        assert len(by_post["customAttributes"]["missionId"]) == 32


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
