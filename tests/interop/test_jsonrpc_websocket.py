"""The PyPI package jsonrpc-websocket, unmodified, against a real server.

It is built on aiohttp: another WebSocket implementation than the server's own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import jsonrpc_base
import jsonrpc_websocket
import pytest
from server_process import ADMIN_PASSWORD, ServerProcess

PATIENCE = 30.0
LOGIN = {
    "mechanism": "PASSWORD_PLAIN",
    "username": "admin",
    "password": ADMIN_PASSWORD,
}

Updates = list[dict[str, Any]]


class Seen:
    """The job events that a client got."""

    def __init__(self, client: jsonrpc_websocket.Server) -> None:
        self.updates: Updates = []
        self._more = anyio.Event()
        client.collection_update = self._take

    def _take(self, **update: Any) -> None:
        self.updates.append(update)
        self._more.set()

    async def wait(self, true: Callable[[Updates], bool]) -> None:
        """Wait until what was seen is enough."""
        with anyio.fail_after(PATIENCE):
            while not true(self.updates):
                self._more = anyio.Event()
                await self._more.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run the real program once for all tests here."""
    with ServerProcess(tmp_path_factory.mktemp("jsonrpc") / "data") as running:
        yield running


async def dial(client: jsonrpc_websocket.Server) -> "asyncio.Task[None]":
    """Connect, log in, and have job calls answered when the job has ended."""
    reader: asyncio.Task[None] = await client.ws_connect()
    answer = await client.auth.login_ex(LOGIN)
    assert answer["response_type"] == "SUCCESS"
    await client.core.set_options({"legacy_jobs": False})
    return reader


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[jsonrpc_websocket.Server]:
    """Connect, and log in."""
    connected = jsonrpc_websocket.Server(server.ws_url)
    reader = await dial(connected)
    yield connected
    await connected.close()
    await reader


async def test_calls_by_position_and_by_name(client: jsonrpc_websocket.Server) -> None:
    """Without params it leaves the member out."""
    assert await client.core.ping() == "pong"
    assert await client.demo.noop([1, "two"]) == [1, "two"]
    assert await client.demo.noop(value={"a": None}) == {"a": None}


async def test_errors_are_protocol_errors(client: jsonrpc_websocket.Server) -> None:
    """With code, message and the whole response."""
    for call, code in (
        (client.no.such.method(), -32601),
        (client.demo.fail("no luck", 28), -32001),
        (client.demo.sleep("long"), -32602),
    ):
        with pytest.raises(jsonrpc_base.ProtocolError) as caught:
            await call
        assert caught.value.args[0] == code
    with pytest.raises(jsonrpc_base.ProtocolError, match="Method call error") as caught:
        await client.demo.fail("no luck", 28)
    assert caught.value.args[2]["error"]["data"]["reason"] == "[ENOSPC] no luck"


async def test_notifications_go_both_ways(client: jsonrpc_websocket.Server) -> None:
    """The server's are methods of the client, with the params by name."""
    seen = Seen(client)
    await client.core.subscribe("core.get_jobs")
    assert await client.demo.noop("seen", _notification=True) is None
    await seen.wait(
        lambda updates: any(
            update["fields"]["arguments"] == ["seen"]
            and update["fields"]["state"] == "SUCCESS"
            for update in updates
        )
    )


async def test_restart_is_an_end_that_can_be_come_back_from(
    server: ServerProcess,
) -> None:
    """A call in flight fails, the close code is 1012, and it connects again."""
    client = jsonrpc_websocket.Server(server.ws_url)
    reader = await dial(client)
    socket = client._client
    assert socket is not None
    assert await client.demo.noop("before") == "before"
    await asyncio.to_thread(server.restart)
    await reader
    assert socket.close_code == 1012
    assert not client.connected
    again = await dial(client)
    jobs = await client.core.get_jobs([["arguments", "rin", "before"]])
    assert [job["state"] for job in jobs] == ["SUCCESS"]
    await client.close()
    await again
