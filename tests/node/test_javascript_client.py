"""Drives the JavaScript client in Node against a real server."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_packages import install_packages
from server_process import ADMIN_PASSWORD, ServerProcess

HERE = Path(__file__).parent
MODULES = sorted(path.name for path in HERE.glob("*.test.mjs"))

# A whole file of tests runs inside one of pytest's.
pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Install what package.json names, unless it is there."""
    install_packages(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run one server for all files: starting takes long."""
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture
def control(server: ServerProcess) -> Iterator[str]:
    """Let the tests in Node restart the server: POST /restart to this address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Do what the path says."""
            {"/restart": server.restart}[self.path]()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing: the output belongs to the tests in Node."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()
        thread.join()


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("module", MODULES)
def test_client_in_node(module: str, server: ServerProcess, control: str) -> None:
    """Every promise of the client holds in Node, file by file."""
    environment = {
        **os.environ,
        "MIDDLEWARED_WS_URL": server.ws_url,
        "MIDDLEWARED_PASSWORD": ADMIN_PASSWORD,
        "MIDDLEWARED_CONTROL": control,
    }
    command = ["node", "--test", "--test-reporter=spec", module]
    done = subprocess.run(
        command,
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
