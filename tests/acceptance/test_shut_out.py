"""Who may not come from where it is, and who calls too often: codes and texts."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from wire_http import http_client
from wire_server import WireServer, wire_server

from middlewared.client import ConnectionLost, connect

NOT_ALLOWED = "You are not allowed to access this resource"
FRIEND: dict[str, Any] = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
STRANGER = FRIEND | {"X-Forwarded-For": "198.51.100.7"}


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    """A server for one network and this machine, behind a proxy."""
    async with wire_server(
        trusted_proxies=("127.0.0.1",),
        allowed_clients=("192.0.2.0/24",),
        anonymous_calls=3,
        base_path="",
    ) as running:
        yield running


async def test_stranger_is_closed_with_1008(server: WireServer) -> None:
    """After the upgrade: clients take this code for final, and know the text."""
    client = await server.anonymous(headers=STRANGER)
    assert await client.receive_close() == (1008, NOT_ALLOWED)


async def test_nothing_of_a_stranger_is_handled(server: WireServer) -> None:
    """Not even what came in one piece with the upgrade."""
    client = await server.anonymous(headers=STRANGER)
    await client.send_json({"jsonrpc": "2.0", "id": 1, "method": "core.ping"})
    frame = await client.receive_frame()
    assert frame.opcode == 8


async def test_stranger_gets_403_over_http(server: WireServer) -> None:
    """Whatever it asks for."""
    async with http_client(server.tcp) as http:
        for path in ("/healthz", "/ui/", "/nothing"):
            answer = await http.ask(path, **STRANGER)
            assert (answer.status, answer.text) == (403, f"{NOT_ALLOWED}\n")
        assert (await http.ask("/healthz", **FRIEND)).status == 200
        assert (await http.ask("/healthz")).status == 200


async def test_own_client_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not dial again."""
    monkeypatch.setattr("middlewared.hosts.is_loopback", lambda address: False)
    async with wire_server(allowed_clients=("192.0.2.0/24",)) as server:
        with pytest.raises(ConnectionLost, match=NOT_ALLOWED) as caught:
            async with connect(server.running.url, reconnect=True) as client:
                await client.call("core.ping")
        assert caught.value.code == 1008


async def test_calls_before_login_are_limited_by_address_and_method(
    server: WireServer,
) -> None:
    """Others are not concerned, and neither is who has logged in."""
    client = await server.anonymous(headers=FRIEND)
    for _ in range(3):
        assert await client.call("core.ping") == "pong"
    error = (await client.request("core.ping"))["error"]
    assert error["code"] == -32001
    assert error["data"]["reason"] == "[EBUSY] Rate Limit Exceeded"
    assert await client.call("auth.mechanism_choices")
    other = await server.anonymous(headers=FRIEND | {"X-Forwarded-For": "192.0.2.8"})
    assert await other.call("core.ping") == "pong"
    account = {"username": "ann", "password": "correct horse battery"}
    await server.running.context.call("user.create", {**account, "roles": ["JOB_USER"]})
    await client.login(**account)
    for _ in range(5):
        assert await client.call("core.ping") == "pong"
    # Also over HTTP, and for every message of a batch.
    async with http_client(server.tcp) as http:
        answer = await http.ask(
            "/api/current",
            method="POST",
            body=b'[{"jsonrpc":"2.0","method":"core.ping","id":1}]',
            **{"Content-Type": "application/json"} | FRIEND,
        )
        assert "Rate Limit Exceeded" in answer.text
