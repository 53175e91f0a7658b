"""The plugin in a running server, seen from its sockets."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from wire_client import WireClient

from middlewared.client import LoginFailed, RemoteError, connect
from middlewared.context import Announcements
from middlewared.testing import RunningServer, running_server

FAST = {"auth": {"failure_delay": 0.05}}


@contextlib.asynccontextmanager
async def serve(data_dir: Path, **settings: Any) -> AsyncIterator[RunningServer]:
    """Run a server with two accounts: root, who may do everything, and ann."""
    async with running_server(data_dir=data_dir, tables=FAST, **settings) as server:
        async with server.client() as admin:
            if not await admin.call("user.query", [], {"count": True}):
                for name, role in (("root", "FULL_ADMIN"), ("ann", "JOB_USER")):
                    await admin.call(
                        "user.create",
                        {"username": name, "password": "pw", "roles": [role]},
                    )
        yield server


@contextlib.asynccontextmanager
async def wire(server: RunningServer) -> AsyncIterator[WireClient]:
    """Connect to the port, without logging in."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    client = await WireClient.open((host, int(port)))
    try:
        yield client
    finally:
        client.sock.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with serve(tmp_path / "data") as running:
        yield running


def error_of(response: dict[str, Any]) -> tuple[int, int, str]:
    """Give code, errno and reason of an error answer."""
    error = response["error"]
    return error["code"], error["data"]["error"], error["data"]["reason"]


async def test_protected_method_before_login(server: RunningServer) -> None:
    """Without a login every method that is not public answers error 207."""
    async with wire(server) as client:
        for method in ("auth.me", "user.query", "auth.generate_token"):
            assert error_of(await client.request(method)) == (
                -32001,
                207,
                "[ENOTAUTHENTICATED] Not authenticated",
            )
        assert "PASSWORD_PLAIN" in await client.call("auth.mechanism_choices")


async def test_login_frames_are_those_of_the_protocol(server: RunningServer) -> None:
    """The answers of login_ex have the keys that clients read, byte for byte roles."""
    async with wire(server) as client:
        login = {"mechanism": "PASSWORD_PLAIN", "username": "ann", "password": "no"}
        assert await client.call("auth.login_ex", login) == {
            "response_type": "AUTH_ERR"
        }
        login["password"] = "pw"
        answer = await client.call("auth.login_ex", login)
        assert answer["response_type"] == "SUCCESS"
        assert answer["authenticator"] == "LEVEL_1"
        assert answer["reconnect_token"] is None
        assert answer["user_info"]["privilege"]["roles"] == {"$set": ["JOB_USER"]}
        assert answer["user_info"] == await client.call("auth.me")


@pytest.mark.parametrize(
    ("params", "attribute"),
    [
        ([], "login_data"),
        ([5], "login_data"),
        ([{}], "login_data"),
        ([{"mechanism": "MAGIC"}], "login_data.mechanism"),
        ([{"mechanism": "PASSWORD_PLAIN", "username": "x"}], "login_data"),
        (
            [{"mechanism": "PASSWORD_PLAIN", "username": 5, "password": "s3cret"}],
            "login_data.username",
        ),
        (
            [{"mechanism": "TOKEN_PLAIN", "token": "s3cret", "password": "s3cret"}],
            "login_data",
        ),
    ],
)
async def test_bad_login_params_are_named(
    server: RunningServer, params: list[Any], attribute: str
) -> None:
    """Params that do not fit are -32602 with the place, and never show a secret."""
    async with wire(server) as client:
        response = await client.request("auth.login_ex", params)
        assert response["error"]["code"] == -32602
        assert response["error"]["data"]["extra"][0][0] == attribute
        assert "s3cret" not in str(response)


async def test_logout_is_complete(server: RunningServer) -> None:
    """After logging out the same connection may do nothing, and may log in again."""
    async with wire(server) as client:
        await client.login("ann", "pw")
        assert await client.call("auth.logout") is True
        assert error_of(await client.request("auth.me"))[1] == 207
        await client.login("root", "pw")
        assert await client.call("user.query", [], {"count": True}) == 2


async def test_limited_user_is_refused_with_eacces(server: RunningServer) -> None:
    """A login without the role gets EACCES, not 207, and no traceback."""
    async with wire(server) as client:
        await client.login("ann", "pw")
        response = await client.request("user.query")
        assert error_of(response) == (-32001, 13, "[EACCES] Not authorized")
        shown = response["error"]["data"]["trace"]["formatted"]
        assert shown == "CallError: [EACCES] Not authorized"


async def test_token_and_key_over_the_socket(server: RunningServer) -> None:
    """Tokens and keys made over one connection log in on others."""
    async with wire(server) as client:
        await client.login("root", "pw")
        token = await client.call("auth.generate_token")
        key = await client.call("api_key.create", {"username": "ann", "name": "k"})
    async with connect(server.url) as other:
        user = await other.login_token(token)
        assert user["pw_name"] == "root"
        user = await other.login_api_key(key["key"], "ann")
        assert user["pw_name"] == "ann"
        with pytest.raises(LoginFailed):
            await other.login_api_key(key["key"], "root")


async def test_removal_reaches_open_connections(server: RunningServer) -> None:
    """A removed account's open connection is logged out at once."""
    async with server.client() as admin, wire(server) as client:
        await client.login("ann", "pw")
        ident = (await admin.call("user.query", [["username", "=", "ann"]]))[0]["id"]
        await admin.call("user.delete", ident)
        assert error_of(await client.request("auth.me"))[1] == 207


async def test_lost_role_ends_subscriptions(server: RunningServer) -> None:
    """Who loses a role gets no more events that it allowed."""
    async with server.client() as admin, wire(server) as client:
        await client.login("ann", "pw")
        await client.call("core.subscribe", "core.get_jobs")
        ident = (await admin.call("user.query", [["username", "=", "ann"]]))[0]["id"]
        await admin.call("user.update", ident, {"roles": []})
        sessions = [c.session for c in server.server.connections]
        assert all(s is not None and not s.subscriptions for s in sessions)
        assert error_of(await client.request("core.get_jobs"))[1] == 207


async def test_restart_keeps_tokens(tmp_path: Path) -> None:
    """A client that was logged in comes back after a restart with its token."""
    async with serve(tmp_path / "data") as server, wire(server) as client:
        await client.login("ann", "pw")
        token = await client.call("auth.generate_token")
    async with serve(tmp_path / "data") as server, wire(server) as client:
        assert await client.call("auth.login_with_token", token) is True
        assert (await client.call("auth.me"))["pw_name"] == "ann"


async def test_failures_are_limited_by_address(tmp_path: Path) -> None:
    """Past the limit the port answers EBUSY; the unix socket still works."""
    async with serve(tmp_path / "data", login_attempts=3) as server:
        async with wire(server) as client:
            for _ in range(3):
                assert await client.call("auth.login", "ann", "no") is False
            response = await client.request("auth.login", ["ann", "pw"])
            assert error_of(response) == (-32001, 16, "[EBUSY] Rate Limit Exceeded")
        async with server.client() as local:
            assert await local.call("auth.login", "ann", "pw") is True


async def test_server_answers_while_passwords_are_checked(
    server: RunningServer,
) -> None:
    """Checking passwords does not keep other calls waiting."""
    outcomes: list[bool] = []

    async def guess() -> None:
        async with wire(server) as client:
            outcomes.append(await client.call("auth.login", "ann", "no"))

    async with wire(server) as client, anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(guess)
        while len(outcomes) < 6:
            with anyio.fail_after(1):
                assert await client.call("core.ping") == "pong"
    assert outcomes == [False] * 6


async def test_first_start_link_logs_in(tmp_path: Path) -> None:
    """The printed link opens the page, and its token logs in once as admin."""
    async with running_server(data_dir=tmp_path / "data", tables=FAST) as server:
        (line,) = server.context.get(Announcements).texts(server.url)
        link = line.rpartition(" ")[2]
        page, _, token = link.partition("#token=")
        async with httpx.AsyncClient() as web:
            assert (await web.get(page)).status_code == 200
        async with wire(server) as client:
            assert await client.call("auth.login_with_token", token) is True
            me = await client.call("auth.me")
            assert me["pw_name"] == "admin"
            assert me["privilege"]["webui_access"] is True
            assert await client.call("auth.login_with_token", token) is False


async def test_method_list_shows_what_is_public(server: RunningServer) -> None:
    """core.get_methods describes every method of the plugin."""
    async with server.client() as admin:
        methods = await admin.call("core.get_methods")
        assert methods["auth.login_ex"]["no_auth_required"] is True
        assert methods["auth.me"]["no_authz_required"] is True
        assert methods["user.create"]["roles"] == []
        assert methods["api_key.query"]["roles"] == ["API_KEY_READ", "API_KEY_WRITE"]


async def test_unknown_account_in_a_link_is_refused(server: RunningServer) -> None:
    """The command line hears which account does not exist."""
    async with server.client() as admin:
        with pytest.raises(RemoteError, match="there is no account 'bob'"):
            await admin.call("auth.login_link", "bob")
