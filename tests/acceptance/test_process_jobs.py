"""Process jobs in the real program: killed, stopped, started again, under load."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from process_table import (
    children_of,
    is_running,
    state_of,
    wait_ended,
    wait_until,
)
from server_process import ServerProcess

from middlewared.client.sync import Client

#: Ten times what core.ping may take beside process jobs, 99 of 100 times, seconds.
PING_SECONDS = 0.2

PLUGIN = '''
"""Jobs with processes of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path

from middlewared import Plugin
from middlewared_jobs import Job, job

plugin = Plugin("kin", requires=("jobs",))


@plugin.method
@job(process=True, abortable=True, lock="kin")
def family(job: Job, path: str) -> None:
    """Start processes that ignore signals, note their numbers, go on for ever."""
    script = "trap '' TERM HUP INT; echo $$; while :; do sleep 1; done"
    found = [os.getpid()]
    for group in (None, 0):
        process = subprocess.Popen(
            ["sh", "-c", script], stdout=subprocess.PIPE, text=True, process_group=group
        )
        found.append(int(process.stdout.readline()))
    Path(path + ".part").write_text(" ".join(map(str, found)))
    Path(path + ".part").rename(path)
    while True:
        time.sleep(1)


@plugin.method
@job(process=True)
def say(job: Job, text: str) -> None:
    """Print."""
    print(text)
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the program with the plugin above; on the unix socket all may be done."""
    folder = tmp_path_factory.mktemp("kin")
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "middlewared_kin.py").write_text(PLUGIN)
    with ServerProcess(
        folder / "data",
        admin_password=None,
        arguments=("--plugins-dir", str(plugins)),
        config='log_level = "info"\nshutdown_grace = 0.2\n[jobs]\nabort_grace = 0.5\n',
    ) as running:
        yield running


def start_family(server: ServerProcess, path: Path) -> tuple[int, list[int]]:
    """Start a job with a family; give its id and the numbers of its processes."""
    with Client(server.data_dir / "middlewared.sock") as client:
        number = client.start("kin.family", str(path)).id
    assert wait_until(path.exists, 30)
    return number, [int(text) for text in path.read_text().split()]


def record_of(server: ServerProcess, number: int) -> dict[str, Any]:
    """Give the record of a job."""
    with Client(server.data_dir / "middlewared.sock") as client:
        found: dict[str, Any] = client.call("job.get", number)
    return found


def below(pid: int) -> set[int]:
    """Give every process below a process."""
    found = set(children_of(pid))
    return found.union(*map(below, found))


def test_a_killed_server_leaves_no_process(
    server: ServerProcess, tmp_path: Path
) -> None:
    """After kill -9 children die at once, and the next start kills what they left.

    The job is FAILED then, its lock free.
    """
    number, family = start_family(server, tmp_path / "family")
    assert server.process is not None
    everybody = below(server.process.pid)
    assert everybody >= set(family)
    server.kill()
    assert wait_ended(everybody - set(family[1:]))
    server.start()
    record = record_of(server, number)
    assert (record["state"], record["exc_info"]["type"]) == ("FAILED", "WorkerLost")
    assert (record["child_pid"], record["child_started"]) == (None, None)
    assert not any(map(is_running, everybody))


@pytest.mark.parametrize("all_of_them", [False, True])
def test_a_stop_leaves_no_process(
    server: ServerProcess, tmp_path: Path, *, all_of_them: bool
) -> None:
    """SIGTERM ends the family with the job, in time, and the exit code is 0.

    Also when every process gets it, as systemd does by default: no job is ABORTED then.
    """
    number, family = start_family(server, tmp_path / "family")
    assert server.process is not None
    everybody = below(server.process.pid) | set(family)
    started = time.monotonic()
    for pid in everybody if all_of_them else ():
        os.kill(pid, signal.SIGTERM)
    assert server.stop() == 0
    assert time.monotonic() - started < 15
    assert wait_ended(everybody)
    server.start()
    record = record_of(server, number)
    assert record["state"] == "FAILED"
    assert all_of_them or record["exc_info"]["type"] == "ServerStopped"


def test_abort_from_the_terminal_ends_the_family(
    server: ServerProcess, tmp_path: Path
) -> None:
    """``middlewared job abort`` ends the job and everything that it started."""
    number, family = start_family(server, tmp_path / "family")
    done = subprocess.run(
        [sys.executable, "-m", "middlewared.cli", "job", "abort", str(number)],
        env=os.environ | {"MIDDLEWARED_DATA_DIR": str(server.data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert wait_until(lambda: record_of(server, number)["state"] == "ABORTED")
    assert not any(map(is_running, family))


def test_busy_children_do_not_slow_the_server(server: ServerProcess) -> None:
    """While every core is kept busy by jobs, core.ping is answered as fast as ever."""
    with Client(server.data_dir / "middlewared.sock") as client:
        cores = len(os.sched_getaffinity(0))
        jobs = [client.start("demo.burn", 60).id for _ in range(cores)]
        for number in jobs:
            assert wait_until(partial(progress_of, client, number), 30)
        times = []
        for _ in range(200):
            started = time.perf_counter()
            assert client.call("core.ping") == "pong"
            times.append(time.perf_counter() - started)
        assert sorted(times)[197] < PING_SECONDS
        for number in jobs:
            client.call("core.job_abort", number)
        for number in jobs:
            assert wait_until(partial(is_aborted, client, number))
    assert server.process is not None
    program = server.process.pid
    assert wait_until(lambda: "Z" not in set(map(state_of, below(program))))


def progress_of(client: Client, number: int) -> float:
    """Give the percent of a job."""
    return float(client.call("job.get", number)["progress"]["percent"] or 0)


def is_aborted(client: Client, number: int) -> bool:
    """Tell whether a job was aborted."""
    return bool(client.call("job.get", number)["state"] == "ABORTED")


def test_output_of_jobs_without_a_log_is_in_the_server_log(
    server: ServerProcess,
) -> None:
    """What a body prints goes where the server writes, when its job has no log."""
    with Client(server.data_dir / "middlewared.sock") as client:
        client.call("kin.say", "said by a child")
        assert server.wait_line("^said by a child$")
