"""``middlewared drain``: the server ends by itself, and what waited runs afterwards."""

from server_process import STOP_SECONDS, ServerProcess

from middlewared.client.sync import Client


def test_drain_and_exit(server_process: ServerProcess) -> None:
    """What runs ends first, the exit code is 0, and undrain takes it back before."""
    with Client(server_process.socket_path) as client:
        running = client.start("demo.sleep", 1)
        assert "drained: " in server_process.command("drain").stdout
        refused = server_process.command("call", "demo.sleep", "0", check=False)
        assert (refused.returncode, "drained" in refused.stderr) == (1, True)
        shown = server_process.command("undrain").stdout
        assert shown.startswith("accepts jobs: ")
        shown = server_process.command("drain", "--wait", "--exit").stdout
        assert shown == "drained: 0 running, 0 waiting\n"
    process = server_process.process
    assert process is not None
    assert process.wait(STOP_SECONDS) == 0
    server_process.start()
    with Client(server_process.socket_path) as client:
        assert client.call("job.get", running.id)["state"] == "SUCCESS"
