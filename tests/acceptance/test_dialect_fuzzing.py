"""The dialects under requests that a tool makes of their OpenAPI documents."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from views_server import Views, running_views

from middlewared_dialects.spelling import webex_id

PATHS = [
    "/v1/openapi.json",
    "/arcgis/openapi.json",
    "/dw/openapi.json",
    "/api/v1/openapi.json",
]
SOAK = "SOAK" in os.environ
#: Requests for each operation.
EXAMPLES = 200 if SOAK else 3
PATIENCE = 3000 if SOAK else 170
CHECKS = "not_a_server_error,status_code_conformance,response_schema_conformance"
#: Ended jobs that requests may name.
ENDED = 20
#: Params that have a value that means something here, more often than not.
BOUND = {
    "path.jobId": "ids",
    "path.id": "ids",
    "query.jobId": "ids",
    "path.job_id": "ocapi_jobs",
    "path.operation": "operations",
    "query.appId": "apps",
    "body.appId": "apps",
    "body.operation.opName": "calls",
    "body.operation.opParams.scenario": "scenarios",
}


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Views]:
    """Run the program."""
    with running_views(tmp_path_factory.mktemp("fuzz")) as views:
        yield views


@pytest.fixture(scope="module")
def words(views: Views) -> dict[str, Sequence[Any]]:
    """Run some jobs, and give values by what they are."""
    with httpx.Client(
        base_url=views.server.url, headers=views.headers, timeout=30.0
    ) as http:

        def call(method: str, *params: Any) -> Any:
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return http.post("/api/current", json=request).json()["result"]

        number = 0
        for _ in range(ENDED):
            number = call("views.gated", {"locationId": "nowhere"})
        while call("job.get", number)["state"] != "SUCCESS":
            pass
        records = call("job.query", [["method", "=", "views.gated"]])
    uids = [record["uid"] for record in records]
    ids = [str(record["id"]) for record in records]
    return {
        "ids": [*ids, *uids, *(webex_id("JOB_ID", uid) for uid in uids)],
        "ocapi_jobs": ["Gated", "Alone", "CustomerImportJob"],
        "operations": ["gated", "alone", "createMission"],
        "apps": ["7"],
        "calls": ["RunScenario", "Gated", "Alone"],
        "scenarios": ["Main"],
    }


def settings_of(words: Mapping[str, Sequence[Any]]) -> str:
    """Write the tool's settings file."""
    lines = []
    for name, values in words.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(list(values))}"]
    lines.append("[parameters]")
    for name, words_name in BOUND.items():
        lines.append(f'"{name}" = {{ dictionary = "{words_name}", probability = 0.7 }}')
    return "\n".join(lines) + "\n"


@pytest.mark.timeout(PATIENCE + 30)
@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_an_error_of_ours(
    views: Views, words: dict[str, Sequence[Any]], path: str, tmp_path: Path
) -> None:
    """Every answer has a documented status, and a document that fits its schema."""
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(settings_of(words))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings)),
            *("run", f"{views.server.url}{path}"),
            *("-H", f"Authorization: Bearer {views.key}", "--phases", "fuzzing"),
            *("--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", "1"),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout[-6000:]
