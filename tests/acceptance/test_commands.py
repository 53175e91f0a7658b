"""Commands in the real program: killed, started again, flooded, seen from outside."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from process_table import children_of, is_running, wait_ended, wait_until
from server_process import ServerProcess

from middlewared.client.sync import Client

MEGABYTE = 1 << 20
FLOOD_LINES = 1_000_000 if os.environ.get("SOAK") else 60_000
#: What a flood may add to the memory of the server, kB.
MAX_GROWTH = 40 * 1024

CONFIG = """
log_level = "info"
shutdown_grace = 0.2
[jobs]
abort_grace = 0.5

[commands.kin.family]
doc = "Start processes that ignore signals, one in a group of its own, and go on."
argv = ["PYTHON", "-I", "-S", "-c", '''
import os, subprocess, sys, time
folder = sys.argv[1]
script = "trap '' TERM HUP INT; echo $$; while :; do sleep 1; done"
found = []
for group in (None, 0):
    process = subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, text=True, process_group=group
    )
    found.append(int(process.stdout.readline()))
with open(folder + "/part", "w") as file:
    print(os.getpid(), *found, sys.argv[2], file=file)
os.rename(folder + "/part", folder + "/pids")
while True:
    time.sleep(1)
''', "{folder}", "{key}"]
lock = "kin"
[commands.kin.family.params]
folder = {type = "path"}
key = {type = "secret"}

[commands.kin.note]
doc = "Note who of the family lives while this has the lock."
script = '''
read -r pids < "$folder/pids"
for pid in ${pids% *}; do
    if grep -qs '^State:.[^ZX]' "/proc/$pid/status"; then echo "$pid lives"; fi
done
echo alone
'''
lock = "kin"
result = "text"
params.folder = {type = "path"}

[commands.kin.flood]
doc = "Write many lines with a secret and with progress, about 100 bytes each."
argv = ["PYTHON", "-I", "-S", "-c", '''
import os, sys
for number in range(int(sys.argv[1])):
    print("line", number, "of", sys.argv[1], os.environ["KEY"], "x" * 64)
''', "{lines}"]
max_log = 1048576
[[commands.kin.flood.progress]]
pattern = 'line (?P<done>\\\\d+) of (?P<total>\\\\d+)'
[commands.kin.flood.params]
lines = {type = "int"}
key = {type = "secret", env = "KEY"}
""".replace("PYTHON", sys.executable).replace("\\\\", "\\")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the program with the commands above."""
    data_dir = tmp_path_factory.mktemp("commands") / "data"
    with ServerProcess(data_dir, admin_password=None, config=CONFIG) as running:
        yield running


class Family:
    """What ``kin.family`` wrote of itself.

    Attributes:
        job: its number.
    """

    def __init__(self, job: int, folder: Path) -> None:
        self.job = job
        assert wait_until((folder / "pids").exists)
        leader, *others, path = (folder / "pids").read_text().split()
        self.leader = int(leader)
        self.others = [int(pid) for pid in others]
        self.key = Path(path)

    @property
    def pids(self) -> list[int]:
        return [self.leader, *self.others]


def begin(server: ServerProcess, folder: Path) -> Family:
    """Start the family."""
    started = server.command("call", "kin.family", str(folder), "hunter2")
    return Family(int(started.stdout), folder)


def test_survivors_of_a_crash_are_gone_before_the_lock_is_free(
    server: ServerProcess, tmp_path: Path
) -> None:
    """The program dies with the server; what it started is killed by the next start."""
    family = begin(server, tmp_path)
    note = int(server.command("call", "kin.note", str(tmp_path)).stdout)
    server.kill()
    assert wait_ended([family.leader])
    assert all(map(is_running, family.others))
    assert family.key.read_text() == "hunter2"
    server.start()
    with Client(str(server.socket_path)) as client:
        client.call("core.job_wait", note)
        ids = [family.job, note]
        first, second = client.call("core.get_jobs", [["id", "in", ids]])
    assert (first["state"], first["exc_info"]["type"]) == ("FAILED", "WorkerLost")
    assert (second["state"], second["result"]) == ("SUCCESS", "alone")
    assert not any(map(is_running, family.pids))
    assert not family.key.parent.exists()


def test_a_stop_leaves_nothing(server: ServerProcess, tmp_path: Path) -> None:
    """A stop ends all processes, and the job is FAILED with ServerStopped."""
    family = begin(server, tmp_path)
    assert server.stop() == 0
    assert not any(map(is_running, family.pids))
    assert not family.key.parent.exists()
    server.start()
    with Client(str(server.socket_path)) as client:
        (item,) = client.call("core.get_jobs", [["id", "=", family.job]])
    assert (item["state"], item["exc_info"]["type"]) == ("FAILED", "ServerStopped")


def test_no_process_shows_a_secret(server: ServerProcess, tmp_path: Path) -> None:
    """It is in no command line; in no environment when it goes by a file."""
    family = begin(server, tmp_path)
    assert server.process is not None
    for pid in (server.process.pid, *children_of(server.process.pid), *family.pids):
        assert b"hunter2" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
    server.command("job", "abort", str(family.job), "--wait")
    assert not family.key.parent.exists()
    assert not any(map(is_running, family.pids))


def memory(pid: int) -> int:
    """Give the most memory that a process ever had, kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@pytest.mark.timeout(600)
def test_a_flood_needs_no_memory(server: ServerProcess) -> None:
    """Output without end is masked, watched and limited, in constant memory."""
    assert server.process is not None
    with Client(str(server.socket_path)) as client:
        assert client.call("kin.flood", 100, "hunter2") is None
        before = memory(server.process.pid)
        assert client.call("kin.flood", FLOOD_LINES, "hunter2") is None
        item = client.call("core.get_jobs", [["method", "=", "kin.flood"]])[-1]
    assert item["progress"]["percent"] == 100
    log = Path(item["logs_path"]).read_bytes()
    assert b"hunter2" not in log
    assert MEGABYTE < len(log) < MEGABYTE + 70_000
    assert b"line %d of" % (FLOOD_LINES - 1) in log
    assert memory(server.process.pid) - before < MAX_GROWTH


def test_a_mistake_is_one_line_and_code_2(tmp_path: Path) -> None:
    """The program says which table and which key, and does not start."""
    file = tmp_path / "mw.toml"
    file.write_text("[commands.a.b]\nargv = ['x', '{y}']\n")
    server = ServerProcess(tmp_path / "data", admin_password=None)
    done = server.command("serve", "--config", str(file), check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "setting argv in table 'commands.a.b': 'y' is no param" in line
