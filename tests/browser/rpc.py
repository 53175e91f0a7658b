"""A second client for the tests of the page: somebody else who starts jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from server_process import ServerProcess
from websockets.sync.client import ClientConnection, connect


@contextmanager
def rpc_client(server: ServerProcess) -> Iterator[Rpc]:
    """Connect to a server and log in as admin."""
    with connect(server.ws_url, proxy=None) as socket:
        rpc = Rpc(socket)
        login = {"username": "admin", "password": server.admin_password}
        rpc.call("auth.login_ex", {"mechanism": "PASSWORD_PLAIN", **login})
        yield rpc


class Rpc:
    """Speaks JSON-RPC to a server over its own WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last_id = 0

    def call(self, method: str, *params: Any) -> Any:
        """Call a method; of a job method, return the id of the job at once."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method}
        self._socket.send(json.dumps({**request, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=20))
            if message.get("id") == self._last_id:
                assert "error" not in message, message["error"]
                return message["result"]

    def wait(self, job: int) -> dict[str, Any]:
        """Wait until a job has ended and return what the server says about it."""
        self.call("core.subscribe", "core.get_jobs")
        while True:
            item: dict[str, Any] = self.call("job.get", job)
            if item["time_finished"] is not None:
                return item
            self._socket.recv(timeout=20)  # the next event
