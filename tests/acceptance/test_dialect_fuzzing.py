"""The dialects under requests that a tool makes of their OpenAPI documents."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import CONFIG, ServerProcess

PATHS = [
    "/v1/openapi.json",
    "/arcgis/openapi.json",
    "/dw/openapi.json",
    "/api/v1/openapi.json",
]
#: Requests for each operation.
EXAMPLES = "200" if "SOAK" in os.environ else "3"
CHECKS = "not_a_server_error,status_code_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the program."""
    folder = tmp_path_factory.mktemp("fuzz")
    with ServerProcess(folder / "data", config=CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: ServerProcess) -> str:
    """Make an account that may run the demo's jobs, and a key of its."""
    user = ("user", "add", "ann", "--role", "JOB_USER", "--password-stdin")
    server.command(*user, input_text="correct horse battery")
    account = json.dumps({"username": "ann", "name": "k"})
    made = server.command("call", "--json", "api_key.create", account)
    found: str = json.loads(made.stdout)["key"]
    return found


@pytest.mark.timeout(3500 if "SOAK" in os.environ else 180)
@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_an_error_of_ours(
    server: ServerProcess, key: str, path: str, tmp_path: Path
) -> None:
    """Every answer has a documented status, and a document that fits its schema."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}{path}"),
            *("-H", f"Authorization: Bearer {key}", "--phases", "fuzzing"),
            *("--checks", CHECKS, "--max-examples", EXAMPLES, "--seed", "1"),
        ],
        capture_output=True,
        text=True,
        timeout=3400,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout[-6000:]
