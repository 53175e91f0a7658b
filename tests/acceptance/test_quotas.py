"""One address or account cannot have the whole server: what it is told instead."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from wire_client import WireClient, open_socket, upgrade_request
from wire_http import HttpAnswer, http_client
from wire_server import WireServer, wire_server

from middlewared.quotas import Quotas

USER = {"username": "ann", "password": "correct horse battery"}
PING = b'{"jsonrpc":"2.0","method":"core.ping","id":1}'


def elsewhere(number: int) -> dict[str, str]:
    """Come from another address, through the proxy."""
    return {"X-Forwarded-For": f"192.0.2.{number}", "X-Forwarded-Proto": "https"}


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    """A server with small quotas, and somebody who is no admin."""
    async with wire_server(
        trusted_proxies=("127.0.0.1",),
        max_address_connections=3,
        max_user_connections=2,
        max_address_subscriptions=3,
        max_user_subscriptions=2,
    ) as running:
        await running.running.context.call(
            "user.create", {**USER, "roles": ["JOB_USER"]}
        )
        yield running


async def upgrade(server: WireServer, headers: dict[str, str]) -> HttpAnswer:
    async with http_client(server.tcp) as http:
        await http.send(upgrade_request(headers=headers))
        return await http.answer()


async def ping(server: WireServer, headers: dict[str, str]) -> HttpAnswer:
    sent: dict[str, Any] = {"Content-Type": "application/json", **headers}
    async with http_client(server.tcp) as http:
        return await http.ask("/api/current", method="POST", body=PING, **sent)


async def test_address_has_so_many_connections(server: WireServer) -> None:
    """The next is 429, as WebSocket and as POST; when one is gone, it is let in."""
    clients = [await server.anonymous(headers=elsewhere(1)) for _ in range(3)]
    text = "192.0.2.1 has 3 connections already\n"
    answer = await upgrade(server, elsewhere(1))
    assert (answer.status, answer.text) == (429, text)
    answer = await ping(server, elsewhere(1))
    assert answer.status == 429
    reason = msgspec.json.decode(answer.body)["error"]["data"]["reason"]
    assert reason == f"[EDQUOT] {text.strip()}"
    assert (await upgrade(server, elsewhere(2))).status == 101
    assert (await ping(server, elsewhere(2))).status == 200
    for client in clients:
        assert await client.call("core.ping") == "pong"
    await leave(server, clients[0])
    await server.anonymous(headers=elsewhere(1))


async def leave(server: WireServer, client: WireClient) -> None:
    """Close a connection, and wait until the server knows."""
    count = len(server.connections)
    other = await server.unix()
    client.close()
    while len(server.connections) > count:
        await other.call("core.ping")


async def test_account_has_so_many_connections(server: WireServer) -> None:
    """The next login is an error that says so, and the connection stays nobody's."""
    login = [{"mechanism": "PASSWORD_PLAIN", **USER}]
    clients = [await server.anonymous(headers=elsewhere(n)) for n in range(2)]
    for client in clients:
        await client.login(**USER)
        await client.login(**USER)  # again on the same one: no further connection
    late = await server.anonymous(headers=elsewhere(9))
    error = (await late.request("auth.login_ex", login))["error"]
    assert error["data"]["reason"] == "[EDQUOT] 'ann' has 2 connections already"
    error = (await late.request("auth.me"))["error"]
    assert error["data"]["errname"] == "ENOTAUTHENTICATED"
    assert await clients[0].call("auth.logout")
    await late.login(**USER)


async def test_subscriptions_are_limited_across_connections(
    server: WireServer,
) -> None:
    """Of an account first; of an address whoever is logged in there."""
    clients = [await server.anonymous(headers=elsewhere(1)) for _ in range(3)]
    idents = []
    for client in clients[:2]:
        await client.login(**USER)
        idents.append(await client.call("core.subscribe", "core.get_jobs"))
    answer = await clients[0].request("core.subscribe", ["core.get_jobs"])
    reason = answer["error"]["data"]["reason"]
    assert reason == "[EDQUOT] This account has 2 subscriptions already"
    await clients[1].call("core.unsubscribe", idents[1])
    await clients[0].call("core.subscribe", "core.get_jobs")
    admin = clients[2]
    await server.running.context.call(
        "user.create",
        {"username": "root", "password": USER["password"], "roles": ["FULL_ADMIN"]},
    )
    await admin.login("root", USER["password"])
    await admin.call("core.subscribe", "core.get_jobs")
    answer = await admin.request("core.subscribe", ["core.get_jobs"])
    reason = answer["error"]["data"]["reason"]
    assert reason == "[EDQUOT] This address has 3 subscriptions already"


async def test_sockets_that_say_nothing_are_counted_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond twice the connections they are not even listened to."""
    monkeypatch.setattr("middlewared.quotas.is_loopback", lambda address: False)
    async with wire_server(max_address_connections=1) as server:
        quotas = server.running.context.get(Quotas)
        silent = [server.keep(WireClient(await open_socket(server.tcp)))]
        upgraded = await server.anonymous()
        third = server.keep(WireClient(await open_socket(server.tcp)))
        await third.wait_end()
        assert await upgraded.call("core.ping") == "pong"
        await leave(server, upgraded)
        silent[0].close()
        while quotas._sockets:
            async with http_client(server.running.socket_path) as http:
                await http.ask("/healthz")
        await server.anonymous()
