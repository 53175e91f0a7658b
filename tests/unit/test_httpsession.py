"""Who an HTTP request is, by what it sends, and for how long."""

import base64
import errno
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from wire_client import WireClient
from wire_http import HttpAnswer, http_client
from wire_server import WireServer, wire_server

from middlewared import CallError, Plugin
from middlewared.http import JsonResponse
from middlewared.httpsession import http_session
from middlewared.sessions import Sessions

ADMIN = {"username": "admin", "password": "correct:horse battery"}
PLAIN = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "http"}
TLS = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}

wire = Plugin("wire")


async def who(request: Request) -> Response:
    """Say who sent the request, and how many sessions there are meanwhile."""
    async with http_session(
        request, token=request.query_params.get("auth_token")
    ) as session:
        found = session.credentials
        assert session.services.get(Sessions).get(session.id) is session
        return JsonResponse(
            None if found is None else [found.type, found.username, session.calls]
        )


async def listens(request: Request) -> Response:
    """Try to subscribe."""
    async with http_session(request) as session:
        with pytest.raises(CallError) as caught:
            session.subscribe("core.get_jobs")
        session.send(b"nobody hears this")
        return JsonResponse([caught.value.errno, caught.value.text])


wire.routes += [Route("/wire/who", who), Route("/wire/listens", listens)]


class World:
    """A server, an account, and what it proves itself with."""

    def __init__(self, server: WireServer, key: str, token: str) -> None:
        self.server = server
        self.key = key
        self.token = token

    async def ask(self, target: str = "/wire/who", **headers: Any) -> HttpAnswer:
        """Ask over the port."""
        async with http_client(self.server.tcp) as http:
            return await http.ask(target, **headers)


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with wire_server(
        wire,
        trusted_proxies=("127.0.0.1",),
        remote_user_header="Remote-User",
        login_attempts=2,
        tables={"auth": {"failure_delay": 0.01}},
    ) as server:
        call = server.running.context.call
        await call("user.create", {**ADMIN, "roles": ["FULL_ADMIN"]})
        key = await call("api_key.create", {"username": "admin", "name": "wire"})
        client: WireClient = await server.anonymous()
        await client.login(**ADMIN)
        token = await client.call("auth.generate_token")
        yield World(server, key["key"], token)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


async def test_nothing_sent_is_nobody(world: World) -> None:
    """A cookie is nothing: none is ever looked at."""
    assert (await world.ask()).text == "null"
    for cookie in (f"auth_token={world.token}", f"Authorization=Bearer {world.key}"):
        assert (await world.ask(Cookie=cookie)).text == "null"


async def test_password_key_and_token_prove_who_somebody_is(world: World) -> None:
    """By the header; the scheme in any case (RFC 9110, section 11.1)."""
    password = basic(":".join(ADMIN.values()))
    proofs = {
        password: "LOGIN_PASSWORD",
        password.replace("Basic", "bASIC"): "LOGIN_PASSWORD",
        f"Bearer {world.key}": "API_KEY",
        f"Token {world.token}": "TOKEN",
        f"token  {world.token} ": "TOKEN",
    }
    for header, kind in proofs.items():
        answer = await world.ask(Authorization=header)
        assert (answer.status, answer.text) == (200, f'["{kind}","admin",0]')
    answer = await world.ask(f"/wire/who?auth_token={world.token}")
    assert answer.text == '["TOKEN","admin",0]'


WRONG = [
    basic("admin:wrong"),
    basic("admin"),
    basic(""),
    "Basic",
    "Basic !!!",
    "Basic /////w==",
    "Bearer 1-wrong",
    "Bearer",
    "Token wrong",
    "Digest username=admin",
]


@pytest.mark.parametrize("header", WRONG)
async def test_anything_else_is_401(world: World, header: str) -> None:
    """Also what cannot be read: it is not taken for nothing."""
    address = f"198.51.100.{WRONG.index(header)}"
    answer = await world.ask(
        Authorization=header, X_Forwarded_For=address, X_Forwarded_Proto="https"
    )
    assert (answer.status, answer.text) == (401, "The credentials are not good\n")


async def test_failures_are_counted_as_for_connections(world: World) -> None:
    """Too many from one address are 429; others go on."""
    elsewhere = TLS | {"X_Forwarded_For": "192.0.2.99"}
    wrong = basic("admin:wrong")
    for _ in range(2):
        assert (await world.ask(Authorization=wrong, **elsewhere)).status == 401
    right = basic(":".join(ADMIN.values()))
    answer = await world.ask(Authorization=right, **elsewhere)
    assert (answer.status, answer.text) == (429, "Rate Limit Exceeded\n")
    assert (await world.ask(Authorization=right, **TLS)).status == 200


async def test_nothing_is_taken_over_plain_http(world: World) -> None:
    """From elsewhere; what was sent is not even looked at."""
    for header in (f"Bearer {world.key}", basic("admin:wrong"), "Token wrong"):
        answer = await world.ask(Authorization=header, **PLAIN)
        assert answer.status == 403
        assert answer.text.startswith("Logins over plain HTTP are refused")
    assert (await world.ask(**PLAIN)).text == "null"


async def test_proxy_vouches_for_an_account(world: World) -> None:
    """Before anything the client sent itself; an unknown name is nobody."""
    answer = await world.ask(**TLS, Remote_User="admin", Authorization="Bearer x")
    assert answer.text == '["REMOTE_USER","admin",0]'
    assert (await world.ask(**TLS, Remote_User="nobody")).text == "null"
    assert (await world.ask(**TLS, Remote_User="")).text == "null"
    assert (await world.ask(**PLAIN, Remote_User="admin")).status == 403


async def test_unix_socket_knows_its_peer(world: World) -> None:
    """As for connections; who sends credentials is who they say."""
    path = world.server.running.socket_path
    async with http_client(path) as http:
        assert (await http.ask("/wire/who")).text.startswith('["UNIX_SOCKET",')
    async with http_client(path) as http:
        answer = await http.ask("/wire/who", Authorization=f"Bearer {world.key}")
        assert answer.text == '["API_KEY","admin",0]'


async def test_session_ends_with_its_request(world: World) -> None:
    """Nothing is left of it, and nothing can be sent to it."""
    sessions = world.server.running.context.get(Sessions)
    before = len(sessions)
    answer = await world.ask("/wire/listens")
    expected = f'[{errno.EOPNOTSUPP},"Subscriptions need a WebSocket"]'
    assert answer.text == expected
    assert len(sessions) == before
