"""A second client for the tests of the page: somebody else who starts jobs."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect


class Rpc:
    """Speaks JSON-RPC to a server over its own WebSocket."""

    def __init__(self, url: str, password: str) -> None:
        self._socket = connect(url, proxy=None)
        self._last_id = 0
        login = {"mechanism": "PASSWORD_PLAIN", "username": "admin"}
        answer = self.call("auth.login_ex", {**login, "password": password})
        assert answer["response_type"] == "SUCCESS", answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

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
