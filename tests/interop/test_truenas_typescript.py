"""The official TypeScript client, unmodified, against the real server with TLS.

It is in no registry; docs/interop.md says how to install it beside.
"""

from pathlib import Path

import pytest
from certificates import make_pair
from node_runner import restart_control, run_file
from server_process import ServerProcess

FILE = Path(__file__).parent / "api-client-ts.tls.mjs"

pytestmark = [pytest.mark.truenas_ts, pytest.mark.timeout(180)]


def test_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls, follows jobs, logs in in its ways, and comes back after a restart."""
    pair = make_pair(tmp_path)
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(pair.certificate))
    with (
        ServerProcess(tmp_path / "data", arguments=pair.arguments) as server,
        restart_control(server) as control,
    ):
        run_file(FILE, server, control)
