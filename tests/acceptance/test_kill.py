"""``kill -9`` while clients submit jobs: nothing acknowledged is lost or runs twice."""

import contextlib
import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from server_process import CONFIG, ServerProcess
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import unix_connect

KILLS = 100 if os.environ.get("SOAK") else 4
#: Attempts that jobs of a method may have: retries, and one for each lost worker.
ATTEMPTS = {
    "tally.quick": 1,
    "tally.locked": 1,
    "tally.threaded": 1,
    "tally.apart": 1,
    "tally.retried": 2,
    "tally.requeued": 11,
    "tally.requeued_apart": 11,
    "tally.stepped": 11,
}
METHODS = tuple(ATTEMPTS)
HERE = Path(__file__).parent
SETTLE_SECONDS = 60.0


class Submitter(threading.Thread):
    """Submits jobs over the unix socket and notes every id that it was told.

    Attributes:
        known: ids that were answered or announced.
    """

    def __init__(self, server: ServerProcess, tally: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.known: set[int] = set()
        self.answered = threading.Event()
        self._server = server
        self._tally = str(tally)
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def run(self) -> None:
        """Submit until the server is gone."""
        with contextlib.suppress(ConnectionClosed, InvalidHandshake, OSError):
            path = str(self._server.socket_path)
            with unix_connect(path, "ws://localhost/api/current") as socket:
                self._submit(socket)

    def _submit(self, socket: Any) -> None:
        request = {"jsonrpc": "2.0", "id": 0, "method": "core.subscribe"}
        socket.send(json.dumps(request | {"params": ["core.get_jobs"]}))
        for number in range(1, 1_000_000):
            method = self._random.choice(METHODS)
            call = {"jsonrpc": "2.0", "id": number, "method": method}
            socket.send(json.dumps(call | {"params": [self._tally]}))
            if number % 8 == 0:
                while not self._note(json.loads(socket.recv()), number):
                    pass

    def _note(self, message: dict[str, Any], last: int) -> bool:
        """Note the id in a message; tell whether it answers the last call."""
        if "method" in message:
            self.known.add(message["params"]["id"])
            return False
        if message["id"]:
            self.known.add(message["result"])
            self.answered.set()
        return bool(message["id"] == last)


def call(server: ServerProcess, method: str, *params: Any) -> Any:
    """Call a method over the unix socket as a full admin."""
    path = str(server.socket_path)
    with unix_connect(path, "ws://localhost/api/current", max_size=None) as socket:
        request = {"jsonrpc": "2.0", "id": 1, "method": method}
        socket.send(json.dumps(request | {"params": list(params)}))
        answer = json.loads(socket.recv())
    assert "result" in answer, answer
    return answer["result"]


def wait_settled(server: ServerProcess) -> None:
    """Wait until no job waits or runs."""
    unfinished = [["state", "in", ["WAITING", "RUNNING"]]]
    deadline = time.monotonic() + SETTLE_SECONDS
    while call(server, "core.get_jobs", unfinished, {"count": True}):
        assert time.monotonic() < deadline, "jobs do not end"
        time.sleep(0.05)


def kill_while_starting(server: ServerProcess, seconds: float) -> None:
    """Start the server and kill it a moment later, wherever it is then."""
    server.begin()
    time.sleep(seconds)  # kill at a random moment
    server.kill()


@pytest.mark.timeout(3600)
def test_kill_under_load_loses_nothing(tmp_path: Path) -> None:
    """After a kill every known job is there, no attempt ran twice, all has ended."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    source = (HERE / "middlewared_tally.py").read_text()
    (plugins / "middlewared_tally.py").write_text(source)
    tally = tmp_path / "tally"
    known: set[int] = set()
    chance = random.Random(7)  # noqa: S311 - no secret
    with ServerProcess(
        tmp_path / "data",
        config=CONFIG,
        arguments=("--plugins-dir", str(plugins)),
    ) as server:
        timed = {"name": "each second", "method": "tally.apart", "interval": 1}
        call(server, "schedule.create", timed | {"params": [str(tally)]})
        for kill in range(KILLS):
            submitters = [Submitter(server, tally, 2 * kill + n) for n in range(2)]
            for submitter in submitters:
                submitter.start()
            for submitter in submitters:
                assert submitter.answered.wait(30)
            time.sleep(chance.uniform(0.02, 0.4))  # kill at a random moment
            server.kill()
            for submitter in submitters:
                submitter.join(30)
                assert not known & submitter.known, "an id was used again"
            known |= set().union(*(submitter.known for submitter in submitters))
            if kill % 2:
                kill_while_starting(server, chance.uniform(0.2, 1.5))
            server.start()
            wait_settled(server)
        _check(server, known, tally)


def _history(server: ServerProcess) -> dict[int, dict[str, Any]]:
    jobs: dict[int, dict[str, Any]] = {}
    select = ["id", "method", "state", "exc_info", "time_finished", "attempt"]
    select += ["steps", "schedule"]
    while True:
        above = max(jobs, default=0)
        options = {"select": select, "limit": 1000, "order_by": ["id"]}
        page = call(server, "job.query", [["id", ">", above]], options)
        if not page:
            return jobs
        jobs |= {job["id"]: job for job in page}


def _check(server: ServerProcess, known: set[int], tally: Path) -> None:
    jobs = _history(server)
    assert known
    assert known <= jobs.keys(), "an acknowledged job is missing"
    lines = tally.read_text().splitlines()
    assert len(lines) == len(set(lines)), "an attempt ran twice"
    ran: dict[int, set[int]] = {}
    for line in lines:
        name, attempt, _ = line.split()
        ran.setdefault(int(name), set()).add(int(attempt))
    assert ran.keys() <= jobs.keys(), "a job ran that is not in the history"
    assert any(job["schedule"] for job in jobs.values())
    for number, job in jobs.items():
        _check_one(job, ran.get(number, set()))
    methods = {job["method"] for job in jobs.values() if job["state"] == "SUCCESS"}
    assert methods == set(METHODS)


def _check_one(job: dict[str, Any], ran: set[int]) -> None:
    assert job["time_finished"], "a job is left without an end"
    assert job["state"] in ("SUCCESS", "FAILED")
    assert job["attempt"] <= ATTEMPTS[job["method"]]
    assert max(ran, default=0) <= job["attempt"], "an attempt is not on record"
    if job["state"] == "SUCCESS":
        assert job["attempt"] in ran
        assert {step["state"] for step in job["steps"]} <= {"SUCCESS"}
    else:
        assert job["exc_info"]["type"] == "WorkerLost"
        assert ATTEMPTS[job["method"]] in (1, 2), "it was to run again"
