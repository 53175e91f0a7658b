"""Behind a proxy, as its headers tell: addresses, schemes, paths, links."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from wire_client import upgrade_request
from wire_http import http_client
from wire_server import WireServer, wire_server

from middlewared import Context, Origin, Plugin
from middlewared.sessions import Sessions

ADMIN = {"username": "admin", "password": "correct horse battery"}
CLIENT = "192.0.2.7"
TLS: dict[str, Any] = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https"}
PLAIN: dict[str, Any] = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "http"}

wire = Plugin("wire")


@wire.method(public=True)
async def whence(ctx: Context) -> list[Any]:
    """Say where the caller is."""
    assert ctx.session is not None
    return _tell(ctx.session.origin)


def _tell(origin: Origin) -> list[Any]:
    return [origin.address, origin.secure, origin.remote_user]


async def whence_http(request: Request) -> PlainTextResponse:
    client = request.client.host if request.client else None
    return PlainTextResponse(
        f"{_tell(request.state.origin)} {client} {request.url_for('whence')}"
    )


wire.routes.append(Route("/wire/whence", whence_http, name="whence"))


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    """A server that trusts every proxy on this machine, and has a path in front."""
    async with wire_server(
        wire,
        trusted_proxies=("127.0.0.0/8",),
        remote_user_header="Remote-User",
        base_path="/tools/jobs",
        allowed_hosts=("jobs.example",),
        login_attempts=3,
        tables={"auth": {"failure_delay": 0.01}},
    ) as running:
        await running.running.context.call(
            "user.create", {**ADMIN, "roles": ["FULL_ADMIN"]}
        )
        yield running


@pytest.fixture
async def strict() -> AsyncIterator[WireServer]:
    """A server that trusts nobody."""
    async with wire_server(wire, tables={"auth": {"failure_delay": 0.01}}) as running:
        yield running


@pytest.mark.parametrize("path", ["/tools/jobs/api/current", "/api/v26.0.0"])
async def test_client_is_who_the_proxy_says(server: WireServer, path: str) -> None:
    """Whether the proxy cuts the base path off or not."""
    client = await server.anonymous(path=path, headers=TLS | {"Remote-User": "ann"})
    assert await client.call("wire.whence") == [CLIENT, True, "ann"]
    client = await server.anonymous(path=path, headers=PLAIN)
    assert await client.call("wire.whence") == [CLIENT, False, None]
    client = await server.anonymous(path=path)
    assert await client.call("wire.whence") == ["127.0.0.1", True, None]


@pytest.mark.parametrize("path", ["/tools/jobs/wire/whence", "/wire/whence"])
async def test_routes_see_the_client_too(server: WireServer, path: str) -> None:
    """In their scope, as everything that is written for ASGI expects."""
    async with http_client(server.tcp) as http:
        answer = await http.ask(path, **TLS, Host="jobs.example")
        url = "https://jobs.example/tools/jobs/wire/whence"
        assert answer.text == f"['{CLIENT}', True, None] {CLIENT} {url}"
        answer = await http.ask(path, X_Forwarded_For=CLIENT, Host="jobs.example")
        url = "http://jobs.example/tools/jobs/wire/whence"
        assert answer.text == f"['{CLIENT}', False, None] {CLIENT} {url}"
        # Who is at the proxy itself came with what it says, and is secure all the same.
        near: dict[str, Any] = {
            "X-Forwarded-For": "127.0.0.1",
            "X-Forwarded-Proto": "http",
        }
        answer = await http.ask(path, **near, Host="jobs.example")
        assert answer.text == f"['127.0.0.1', True, None] 127.0.0.1 {url}"
        answer = await http.ask(path, Host="jobs.example")
        assert answer.text == f"['127.0.0.1', True, None] 127.0.0.1 {url}"


async def test_strangers_are_not_believed(strict: WireServer) -> None:
    """Their headers are as if they were not there."""
    client = await strict.anonymous(headers=PLAIN | {"Remote-User": "admin"})
    assert await client.call("wire.whence") == ["127.0.0.1", True, None]
    async with http_client(strict.tcp) as http:
        answer = await http.ask("/wire/whence", **PLAIN)
        assert answer.text.startswith("['127.0.0.1', True, None] 127.0.0.1 http://")


async def test_unix_socket_is_not_for_proxies(strict: WireServer) -> None:
    """Everybody behind one would be a full admin."""
    path = strict.running.socket_path
    refusal = "The unix socket is not for proxies; use the port\n"
    async with http_client(path) as http:
        answer = await http.ask("/healthz", **PLAIN)
        assert (answer.status, answer.text) == (403, refusal)
        await http.send(upgrade_request(headers=PLAIN))
        answer = await http.answer()
        assert (answer.status, answer.text) == (403, refusal)
    client = await strict.unix()
    assert (await client.call("auth.me"))["pw_name"]


async def test_base_path_is_in_front_of_every_link(server: WireServer) -> None:
    """Redirects, links to log in with, and downloads."""
    async with http_client(server.tcp) as http:
        for path in ("/tools/jobs", "/tools/jobs/", "/"):
            answer = await http.ask(path)
            assert (answer.status, answer.headers["location"]) == (
                307,
                "/tools/jobs/ui/",
            )
        for path in ("/tools/jobs/ui", "/ui"):
            answer = await http.ask(path, Host="jobs.example", **TLS)
            where = "https://jobs.example/tools/jobs/ui/"
            assert (answer.status, answer.headers["location"]) == (307, where)
        for path in ("/tools/jobs/ui/", "/tools/jobs/healthz", "/tools/jobs/ui/app.js"):
            assert (await http.ask(path)).status == 200
        assert (await http.ask("/tools/jobsy/healthz")).status == 404
    peer = await server.unix()
    link = await peer.call("auth.login_link", "admin")
    assert link.startswith("/tools/jobs/ui/#token=")


async def test_refused_paths_are_named_with_the_base(server: WireServer) -> None:
    """So that one sees what is missing."""
    async with http_client(server.tcp) as http:
        await http.send(upgrade_request("/nothing"))
        answer = await http.answer()
        expected = "No WebSocket at /nothing, expected /tools/jobs/api/current\n"
        assert (answer.status, answer.text) == (404, expected)


# Logins over plain HTTP.


REFUSED = "[EPERM] Logins over plain HTTP are refused; use TLS, "


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("auth.login_ex", [{"mechanism": "PASSWORD_PLAIN", **ADMIN}]),
        ("auth.login_ex", [{"mechanism": "TOKEN_PLAIN", "token": "x"}]),
        ("auth.login", [*ADMIN.values()]),
        ("auth.login_with_api_key", ["1-x"]),
        ("auth.login_with_token", ["x"]),
    ],
)
async def test_nobody_logs_in_over_plain_http_from_elsewhere(
    server: WireServer, method: str, params: list[Any]
) -> None:
    """Before anything is checked or counted; the same works with TLS."""
    client = await server.anonymous(headers=PLAIN)
    for _ in range(5):  # more than may fail in a minute
        error = (await client.request(method, params))["error"]
        assert error["data"]["reason"].startswith(REFUSED)
    safe = await server.anonymous(headers=TLS)
    await safe.login(**ADMIN)


async def test_insecure_allows_it() -> None:
    """For networks where nobody listens."""
    async with wire_server(trusted_proxies=("127.0.0.1",), insecure=True) as server:
        await server.user(headers=PLAIN)


async def test_failed_logins_count_for_the_client(server: WireServer) -> None:
    """Not for the proxy, nor for those who come through it."""
    bad = {"mechanism": "PASSWORD_PLAIN", "username": "admin", "password": "wrong"}
    guesser = await server.anonymous(headers=TLS | {"X-Forwarded-For": "192.0.2.66"})
    for _ in range(3):
        assert await guesser.call("auth.login_ex", bad) == {"response_type": "AUTH_ERR"}
    error = (await guesser.request("auth.login_ex", [bad]))["error"]
    assert error["data"]["errname"] == "EBUSY"
    other = await server.anonymous(headers=TLS)
    await other.login(**ADMIN)


async def test_tokens_are_bound_to_the_client(server: WireServer) -> None:
    """Another client of the same proxy cannot use one."""
    client = await server.anonymous(headers=TLS)
    await client.login(**ADMIN)
    token = await client.call("auth.generate_token")
    other = await server.anonymous(headers=TLS | {"X-Forwarded-For": "192.0.2.8"})
    assert await other.call("auth.login_with_token", token) is False
    again = await server.anonymous(headers=TLS)
    assert await again.call("auth.login_with_token", token) is True


# Accounts that the proxy vouches for.


async def test_proxy_logs_its_users_in(server: WireServer) -> None:
    """Who it names is logged in from the start; who is locked is logged out."""
    call = server.running.context.call
    await call("user.create", {"username": "ann", "roles": ["JOB_USER"]})
    user = await call("user.query", [["username", "=", "ann"]], {"get": True})
    client = await server.anonymous(headers=TLS | {"Remote-User": "ann"})
    assert (await client.call("auth.me"))["pw_name"] == "ann"
    await call("user.update", user["id"], {"locked": True})
    assert "error" in await client.request("auth.me")
    again = await server.anonymous(headers=TLS | {"Remote-User": "ann"})
    assert "error" in await again.request("auth.me")


@pytest.mark.parametrize(
    "headers",
    [
        TLS | {"Remote-User": "stranger"},
        TLS | {"Remote-User": ""},
        PLAIN | {"Remote-User": "admin"},
        {"Remote-User-Name": "admin"} | TLS,
        {"Remote_User": "admin"} | TLS,
    ],
)
async def test_nobody_else_is_logged_in(
    server: WireServer, headers: dict[str, str]
) -> None:
    """Names without an account, plain HTTP, and headers of other names."""
    client = await server.anonymous(headers=headers)
    error = (await client.request("auth.me"))["error"]
    assert error["data"]["errname"] == "ENOTAUTHENTICATED"


async def test_account_that_a_proxy_vouches_for_ends_in_time() -> None:
    """Its connection is logged out when the account expires."""
    async with wire_server(
        trusted_proxies=("127.0.0.1",), remote_user_header="Remote-User"
    ) as server:
        peer = await server.unix()
        soon = server.running.context.clock.time_ms() + 1500
        account = {"username": "ann", "roles": ["JOB_USER"]}
        await peer.call("user.create", account | {"expires": {"$date": soon}})
        peer.close()
        client = await server.anonymous(headers=TLS | {"Remote-User": "ann"})
        assert (await client.call("auth.me"))["pw_name"] == "ann"
        (session,) = (
            session
            for session in server.running.context.get(Sessions)
            if session.credentials and session.credentials.type == "REMOTE_USER"
        )
        ended = anyio.Event()
        session.on_logout(ended.set)
        with anyio.fail_after(20):
            await ended.wait()
        assert "error" in await client.request("auth.me")
