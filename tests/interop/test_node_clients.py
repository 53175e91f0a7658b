"""JSON-RPC clients of the npm registry, unmodified, against a real server.

Each has a file of its own, which Node's own runner runs.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from node_packages import install_packages
from node_runner import restart_control, run_file
from server_process import ServerProcess

HERE = Path(__file__).parent
FILES = sorted(path.name for path in HERE.glob("*.test.mjs"))

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the clients installed."""
    install_packages(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run one server for all clients: starting takes long."""
    with ServerProcess(tmp_path_factory.mktemp("interop") / "data") as server:
        yield server


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("file", FILES)
def test_client(file: str, server: ServerProcess) -> None:
    """It calls, is told of errors and events, and comes back after a restart."""
    with restart_control(server) as control:
        run_file(HERE / file, server, control)
