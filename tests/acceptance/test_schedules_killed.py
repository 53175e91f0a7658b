"""``kill -9`` over the jobs of schedules: no time runs twice, and none is lost."""

import collections
import datetime as dt
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from server_process import CONFIG, ServerProcess

from middlewared.client.sync import Client

KILLS = 20 if os.environ.get("SOAK") else 1
HERE = Path(__file__).parent
SECONDS = 30.0
#: Where the server dies: before the job of a time is on disk; after that, before its
#: schedule is; and after that.
POINTS = ("before", "between", "after")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the plugin."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    source = (HERE / "middlewared_deadly.py").read_text()
    (plugins / "middlewared_deadly.py").write_text(source)
    return tmp_path


def call(server: ServerProcess, method: str, *params: Any) -> Any:
    """Call a method over the unix socket as a full admin."""
    with Client(str(server.socket_path)) as client:
        return client.call(method, *params)


def wait_for_more(server: ServerProcess) -> None:
    """Wait until another job of a schedule has succeeded."""
    done = [["state", "=", "SUCCESS"]]
    count = call(server, "job.query", done, {"count": True})
    deadline = time.monotonic() + SECONDS
    while call(server, "job.query", done, {"count": True}) <= count:
        assert time.monotonic() < deadline, "no schedule starts jobs"
        time.sleep(0.05)


@pytest.mark.timeout(1800)
def test_every_time_has_one_job(folder: Path) -> None:
    """Whenever the server is killed, each time of each schedule has exactly one job."""
    chance = random.Random(7)  # noqa: S311 - no secret
    arguments = ("--plugins-dir", str(folder / "plugins"))
    with ServerProcess(folder / "data", config=CONFIG, arguments=arguments) as server:
        numbers = [
            call(
                server,
                "schedule.create",
                {
                    "name": f"every second {n}",
                    "method": f"deadly.{kind}",
                    "params": [str(folder / "ran")],
                    "interval": 1,
                    "missed": "all",
                },
            )["id"]
            for n, kind in enumerate(("quick", "threaded", "quick"))
        ]
        for point in POINTS:
            wait_for_more(server)
            (folder / f"die-{point}").touch()
            assert server.process is not None
            assert server.process.wait(SECONDS) == -9
            server.start()
        for _ in range(KILLS):
            wait_for_more(server)
            time.sleep(chance.uniform(0.0, 1.0))
            server.kill()
            server.start()
        wait_for_more(server)
        for number in numbers:
            call(server, "schedule.update", number, {"enabled": False})
            check_times(server, number)
        check_bodies(server, folder / "ran")


def check_times(server: ServerProcess, number: int) -> None:
    """The jobs of a schedule are one for each second, from the first to the last."""
    asked = [["schedule", "=", number]]
    keys = call(server, "job.query", asked, {"select": ["key"], "order_by": ["id"]})
    times = [moment(item["key"]) for item in keys]
    assert len(times) > len(POINTS)
    first = times[0]
    expected = [first + dt.timedelta(seconds=n) for n in range(len(times))]
    assert times == expected
    shown = call(server, "schedule.get", number)
    assert (shown["last_skipped"], shown["last_error"]) == (None, None)


def moment(key: str) -> dt.datetime:
    """Give the time in the key of a job."""
    return dt.datetime.fromisoformat(key.split(":", 2)[2])


def check_bodies(server: ServerProcess, ran: Path) -> None:
    """No body ran twice, and each one that ended well did run."""
    bodies = collections.Counter(ran.read_text().split("\n")[:-1])
    assert set(bodies.values()) == {1}
    ids = {int(line.split()[0]) for line in bodies}
    ended = call(server, "job.query", [["state", "=", "SUCCESS"]], {"select": ["id"]})
    assert {item["id"] for item in ended} <= ids
