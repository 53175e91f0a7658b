"""``middlewared backup`` and ``restore``, with the server running and without."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import anyio
from jobs_wire import open_wire
from server_process import ADMIN_PASSWORD, ServerProcess

from middlewared.client.sync import Client


def ended(client: Client, seconds: float = 0) -> int:
    """Run a job to its end and give its id."""
    job = client.start("demo.sleep", seconds)
    job.result()
    return int(job.id)


def test_backup_of_a_running_server(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    """The restored server has every job; ids go on; old positions are not taken up."""
    file = tmp_path / "b.tar"
    with Client(server_process.socket_path) as client:
        before = [ended(client) for _ in range(3)]
        running = client.start("demo.sleep", 60)
        shown = json.loads(
            server_process.command("backup", str(file), "--logs", "--json").stdout
        )
        names = {entry["name"] for entry in shown["files"]}
        assert {"middlewared.db", "jobs.key", "token.key"} <= names
        refused = server_process.command("backup", str(file), check=False)
        assert (refused.returncode, "already" in refused.stderr) == (1, True)
        after = ended(client)
        running.abort()
    anyio.run(refuse_over_the_port, server_process.ws_url, str(file))
    assert not Path(f"{file}.2").exists()
    epoch = anyio.run(take_up, server_process.socket_path, None)["epoch"]

    with restored(server_process, file, tmp_path / "new") as other:
        with Client(other.socket_path) as client:
            found = client.call("core.get_jobs")
            assert [job["id"] for job in found] == [*before, running.id]
            assert [job["state"] for job in found] == ["SUCCESS"] * 3 + ["FAILED"]
            assert found[-1]["exc_info"]["type"] == "WorkerLost"
            assert all(
                job["logs_path"] is None or str(other.data_dir) in job["logs_path"]
                for job in found
            )
            assert ended(client) > after + 90_000
        answer = anyio.run(take_up, other.socket_path, {"epoch": epoch, "seq": 1})
        assert (answer["recovered"], answer["epoch"] == epoch) == (False, False)
        wrong = other.command(
            "call",
            "core.ping",
            "--user",
            "admin",
            "--password-stdin",
            input_text=ADMIN_PASSWORD + "\n",
        )
        assert wrong.returncode == 0


def restored(old: ServerProcess, file: Path, data_dir: Path) -> ServerProcess:
    """Restore a backup, and give a server for it."""
    old.command("restore", str(file), "--data-dir", str(data_dir))
    return ServerProcess(data_dir)


async def take_up(socket: Path, since: Any) -> Any:
    """Subscribe with a position of before."""
    async with open_wire(socket) as wire:
        return await wire.call("core.subscribe", "core.get_jobs", {"since": since})


async def refuse_over_the_port(url: str, file: str) -> None:
    """Let the admin ask for a backup over TCP; that writes nothing."""
    async with open_wire(url, login=("admin", ADMIN_PASSWORD)) as wire:
        error = await wire.fail("core.backup", f"{file}.2")
        assert error.errno == errno.EPERM
    async with open_wire(url) as wire:
        assert (await wire.fail("core.backup", f"{file}.2")).errno == 207


def test_backup_of_a_stopped_server(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    """The command reads the directory itself; what cannot be done is one line."""
    server_process.stop()
    file = tmp_path / "b.tar"
    shown = server_process.command("backup", str(file)).stdout
    assert shown.startswith(f"wrote {file}: ")
    for arguments, words in (
        (("backup", str(file)), "cannot be written"),
        (("backup", str(tmp_path / "no" / "b")), "cannot be written"),
        (("restore", str(file), "--data-dir", str(tmp_path)), "is not empty"),
    ):
        done = server_process.command(*arguments, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    server_process.command("restore", str(file), "--data-dir", str(tmp_path / "new"))
    shutil.rmtree(server_process.data_dir)
    done = server_process.command("backup", str(tmp_path / "c.tar"), check=False)
    assert (done.returncode, "there is no database" in done.stderr) == (2, True)
    assert not server_process.data_dir.exists()
