"""``middlewared doctor``, as an administrator runs it."""

import json

from server_process import ServerProcess


def test_doctor(server_process: ServerProcess) -> None:
    """All is well while the server runs; a problem is the exit code, with advice."""
    done = server_process.command("doctor")
    assert "problem" not in done.stdout
    assert "server     one runs" in done.stdout
    server_process.data_dir.chmod(0o755)
    done = server_process.command("doctor", check=False)
    assert done.returncode == 1
    assert f"-> chmod 700 {server_process.data_dir}" in done.stdout
    done = server_process.command("doctor", "--json", "--full", check=False)
    levels = [finding["level"] for finding in json.loads(done.stdout)]
    assert (done.returncode, levels.count("problem")) == (1, 1)
