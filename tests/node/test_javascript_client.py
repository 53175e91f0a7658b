"""Drives the JavaScript client in Node against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from node_packages import install_packages
from node_runner import restart_control, run_file
from server_process import ServerProcess

HERE = Path(__file__).parent
MODULES = sorted(path.name for path in HERE.glob("*.test.mjs"))

# A whole file of tests runs inside one of pytest's.
pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have what the tests in Node import."""
    install_packages(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run one server for all files: starting takes long."""
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("module", MODULES)
def test_client_in_node(module: str, server: ServerProcess) -> None:
    """Every promise of the client holds in Node, file by file."""
    with restart_control(server) as control:
        run_file(HERE / module, server, control)
