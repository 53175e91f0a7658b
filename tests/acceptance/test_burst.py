"""A burst of jobs: nothing is lost, memory is bounded, and others are answered."""

import json
import os
import threading
import time
from typing import Any

import psutil
import pytest
from benchmarks.pinger import pinging
from server_process import ServerProcess
from websockets.sync.client import unix_connect

SOAK = bool(os.environ.get("SOAK"))
JOBS = 10_000 if SOAK else 1500
SUBSCRIBERS = 3
#: Goal for ``core.ping``, and the slack of a machine that others use, too.
PING_P99_SECONDS = 0.1 * (1 if SOAK else 10)
#: What the server may grow by: jobs in memory, and queues of clients that keep up.
GROWTH_BYTES = 300 * 2**20
FINAL = ("SUCCESS", "FAILED", "ABORTED")


class Watcher(threading.Thread):
    """A subscriber that reads all it gets and keeps the final states."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.final: dict[int, str] = {}
        self.added: set[int] = set()
        self.ready = threading.Event()
        self._path = path

    def run(self) -> None:
        """Read until every job has ended."""
        with connect(self._path) as socket:
            send(socket, "core.subscribe", "core.get_jobs")
            while len(self.final) < JOBS:
                message = json.loads(socket.recv(timeout=120))
                self.ready.set()
                if "method" in message:
                    self._note(message["params"])

    def _note(self, event: dict[str, Any]) -> None:
        if event["msg"] == "added":
            self.added.add(event["id"])
        state = event["fields"]["state"]
        if state in FINAL:
            assert event["id"] not in self.final, "a second final event"
            self.final[event["id"]] = state


def connect(path: str) -> Any:
    """Connect over the unix socket, where this process is a full admin."""
    return unix_connect(
        path, "ws://localhost/api/current", max_size=None, compression=None
    )


def send(socket: Any, method: str, *params: Any, number: int = 0) -> None:
    """Send one request."""
    request = {"jsonrpc": "2.0", "id": number, "method": method}
    socket.send(json.dumps(request | {"params": list(params)}))


@pytest.mark.timeout(600)
def test_a_burst_reaches_every_subscriber(server_process: ServerProcess) -> None:
    """Every final event arrives once, memory is bounded, ping answers meanwhile."""
    assert server_process.process is not None
    path = str(server_process.socket_path)
    memory = psutil.Process(server_process.process.pid)
    before = memory.memory_info().rss
    watchers = [Watcher(path) for _ in range(SUBSCRIBERS)]
    for watcher in watchers:
        watcher.start()
    assert all(watcher.ready.wait(30) for watcher in watchers)
    with pinging(server_process.socket_path) as pings:
        ids = _submit(path)
        peak = _join(watchers, memory)
    for watcher in watchers:
        assert watcher.final.keys() == ids
        assert watcher.added == ids
        assert set(watcher.final.values()) == {"SUCCESS"}
    assert peak - before < GROWTH_BYTES
    assert pings.percentile(0.99) < PING_P99_SECONDS * 1000


def _submit(path: str) -> set[int]:
    """Submit the burst on one connection and give the ids that were answered."""
    with connect(path) as socket:
        sender = threading.Thread(target=_send_all, args=(socket,), daemon=True)
        sender.start()
        ids = {json.loads(socket.recv(timeout=60))["result"] for _ in range(JOBS)}
        sender.join(60)
    return ids


def _send_all(socket: Any) -> None:
    for number in range(1, JOBS + 1):
        send(socket, "demo.noop", number, number=number)


def _join(watchers: list[Watcher], memory: psutil.Process) -> int:
    """Wait for the watchers and give the server's peak memory meanwhile."""
    peak = 0
    deadline = time.monotonic() + 120
    while any(watcher.is_alive() for watcher in watchers):
        assert time.monotonic() < deadline, "final events are missing"
        peak = max(peak, memory.memory_info().rss)
        watchers[0].join(0.05)
        watchers[-1].join(0.05)
    return peak
