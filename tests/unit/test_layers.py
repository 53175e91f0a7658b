"""What every HTTP answer says to browsers, and what pages of other origins may do."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from wire_http import HttpAnswer, HttpClient, http_client
from wire_server import WireServer, wire_server

from middlewared import Plugin
from middlewared.layers import SAFE_HEADERS

FRIEND, STRANGER = "https://ui.example", "https://evil.example"

wire = Plugin("wire")


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.method)


async def framed(request: Request) -> PlainTextResponse:
    policy = {"Content-Security-Policy": "default-src 'none'"}
    return PlainTextResponse("framed", headers=policy)


async def fails(request: Request) -> PlainTextResponse:
    raise RuntimeError("inside the route")


wire.routes += [
    Route("/wire/echo", echo, methods=["GET", "POST", "DELETE"]),
    Route("/wire/framed", framed),
    Route("/wire/fails", fails),
]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(wire, allowed_origins=(FRIEND,)) as running:
        yield running


@pytest.fixture
async def http(server: WireServer) -> AsyncIterator[HttpClient]:
    async with http_client(server.tcp) as client:
        yield client


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/healthz", "localhost"),
        ("/ui/app.js", "localhost"),
        ("/nothing", "localhost"),
        ("/wire/fails", "localhost"),
        ("/healthz", "evil.example"),
    ],
)
async def test_every_answer_has_the_safe_headers(
    http: HttpClient, target: str, host: str
) -> None:
    """Also errors, and what is refused before it reaches a route."""
    answer = await http.ask(target, Host=host)
    for name, value in SAFE_HEADERS.items():
        assert answer.headers[name.lower()] == value
    assert "strict-transport-security" not in answer.headers


async def test_route_may_have_a_policy_of_its_own(http: HttpClient) -> None:
    """Only what it does not say is added."""
    answer = await http.ask("/wire/framed")
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


def cors(answer: HttpAnswer) -> dict[str, str]:
    return {
        name.removeprefix("access-control-"): value
        for name, value in answer.headers.items()
        if name.startswith("access-control-")
    }


async def test_friend_may_ask_and_read(http: HttpClient) -> None:
    """With headers that say who it is, never with cookies."""
    asked: dict[str, Any] = {
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization,content-type",
    }
    answer = await http.ask("/wire/echo", method="OPTIONS", Origin=FRIEND, **asked)
    assert answer.status == 200
    allowed = cors(answer)
    assert allowed["allow-origin"] == FRIEND
    assert "POST" in allowed["allow-methods"]
    assert "authorization" in allowed["allow-headers"].lower()
    assert "content-type" in allowed["allow-headers"].lower()
    assert "allow-credentials" not in allowed
    answer = await http.ask("/wire/echo", method="POST", body=b"", Origin=FRIEND)
    assert (answer.status, answer.text) == (200, "POST")
    assert cors(answer)["allow-origin"] == FRIEND
    assert "origin" in answer.headers["vary"].lower()
    # A module of the page, for a page elsewhere.
    answer = await http.ask("/ui/middlewared.js", Origin=FRIEND)
    assert cors(answer)["allow-origin"] == FRIEND


async def test_stranger_may_not(http: HttpClient) -> None:
    """It neither reads an answer nor has anything changed."""
    answer = await http.ask(
        "/wire/echo",
        method="OPTIONS",
        Origin=STRANGER,
        Access_Control_Request_Method="POST",
    )
    assert answer.status == 400
    assert "allow-origin" not in cors(answer)
    answer = await http.ask("/wire/echo", Origin=STRANGER)
    assert (answer.status, cors(answer).get("allow-origin")) == (200, None)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        (FRIEND, 200),
        ("http://localhost", 200),
        (STRANGER, 403),
        ("null", 403),
        ("http://localhost:1", 403),
    ],
)
async def test_only_friends_change_something(
    http: HttpClient, method: str, origin: str | None, status: int
) -> None:
    """Forms and scripts of other sites send an Origin; programs send none."""
    sent: dict[str, Any] = {} if origin is None else {"Origin": origin}
    answer = await http.ask("/wire/echo", method=method, body=b"", **sent)
    assert answer.status == status
    if status == 403:
        assert answer.text == f"Origin {origin!r} is not in allowed_origins\n"


async def test_without_friends_nothing_is_said_to_others() -> None:
    """The usual case: no header of CORS at all."""
    async with wire_server(wire) as server, http_client(server.tcp) as http:
        answer = await http.ask("/wire/echo", Origin=FRIEND)
        assert cors(answer) == {}
