"""The HTTP side of the one port, and of the unix socket."""

import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import anyio
import httpx
import msgspec
import pytest
from wire_client import TEXT, client_frame, open_socket, upgrade_request
from wire_http import HttpClient, http_client
from wire_server import WireServer, wire_server

PING = b'{"jsonrpc":"2.0","id":1,"method":"core.ping"}'
PONG = {"jsonrpc": "2.0", "result": "pong", "id": 1}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(
        head_timeout=1.0,
        allowed_hosts=("jobs.example",),
        allowed_origins=("https://ui.example",),
    ) as running:
        yield running


@pytest.fixture(params=["tcp", "unix"])
async def http(
    server: WireServer, request: pytest.FixtureRequest
) -> AsyncIterator[HttpClient]:
    """Both ways in serve the same."""
    address: tuple[str, int] | Path = server.tcp
    if request.param == "unix":
        address = server.running.socket_path
    async with http_client(address) as client:
        yield client


async def test_healthz_is_ok(http: HttpClient) -> None:
    """Somebody may ask without a login."""
    answer = await http.ask("/healthz")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert answer.headers["content-type"] == "application/json"


async def test_versions_are_listed(http: HttpClient) -> None:
    """A JSON array of names; each of them is a place to connect to."""
    answer = await http.ask("/api/versions")
    names = msgspec.json.decode(answer.body)
    assert names
    assert "current" not in names
    for name in names:
        assert (await http.ask(f"/api/{name}")).status == 426


async def test_root_leads_to_the_dashboard(http: HttpClient) -> None:
    """A browser that knows only the port finds the way."""
    answer = await http.ask("/")
    assert answer.status in (302, 307, 308)
    assert urljoin("/", answer.headers["location"]) == "/ui/"
    page = await http.ask("/ui/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/api",
        "/api/v1.0",
        "/healthz/x",
        "/%00",
        "/ui/../../etc/passwd",
        "/ui/%2e%2e/%2e%2e/etc/passwd",
        "/ui/..%2f..%2fetc/passwd",
        "/ui//etc/passwd",
        "/_download",
        "//",
        "/\u00e4".encode().decode("latin-1"),
    ],
)
async def test_unknown_path_is_404(http: HttpClient, target: str) -> None:
    """And the connection stays."""
    answer = await http.ask(target)
    assert answer.status in (400, 404)
    assert b"root:" not in answer.body
    if answer.status == 404:
        assert (await http.ask("/healthz")).status == 200


async def test_plain_request_for_the_socket_is_426(http: HttpClient) -> None:
    """Whoever opens it in a browser is told what it is (RFC 9110, 15.5.22)."""
    answer = await http.ask("/api/current")
    assert answer.status == 426
    assert answer.headers["upgrade"].lower() == "websocket"
    assert "WebSocket" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_wrong_method_is_405_or_allowed_nowhere(
    http: HttpClient, method: str
) -> None:
    """With or without a body, which is read and thrown away."""
    for body in (None, b"x" * 100_000):
        answer = await http.ask("/healthz", method=method, body=body)
        assert answer.status == 405
        assert "GET" in answer.headers["allow"]
    assert (await http.ask("/healthz")).status == 200


async def test_head_has_the_headers_and_no_body(http: HttpClient) -> None:
    """The next response starts right after them."""
    full = await http.ask("/healthz")
    head = await http.ask("/healthz", method="HEAD")
    assert head.status == 200
    assert head.body == b""
    assert head.headers["content-length"] == full.headers["content-length"]
    assert (await http.ask("/healthz")).body == full.body


async def test_chunked_body_is_read(http: HttpClient) -> None:
    """The connection is usable after it."""
    await http.send(
        b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"
    )
    assert (await http.answer()).status == 404
    assert (await http.ask("/healthz")).status == 200


async def test_expect_continue_does_not_hang(http: HttpClient) -> None:
    """Who asks first is answered, with 100 or with the refusal."""
    await http.send(
        b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )
    assert (await http.answer()).status in (100, 404)


async def test_pipelined_requests_are_answered_in_order(http: HttpClient) -> None:
    """Requests in one piece are answered one after the other (RFC 9112, 9.3.2)."""
    targets = ["/healthz", "/nothing", "/api/versions", "/api/current", "/healthz"]
    await http.send(
        b"".join(
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            for target in targets
        )
    )
    found = [(await http.answer()).status for _ in targets]
    assert found == [200, 404, 200, 426, 200]


async def test_connection_close_is_honoured(http: HttpClient) -> None:
    """The server closes after the response."""
    answer = await http.ask("/healthz", Connection="close")
    assert answer.status == 200
    assert await http.is_closed()


async def test_http_1_0_is_answered_and_closed(http: HttpClient) -> None:
    """Old probes speak it."""
    await http.send(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert (await http.answer()).status == 200
    assert await http.is_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100 + b"\r\n\r\n",
        b"\x00" * 1000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_broken_request_is_refused(server: WireServer, data: bytes) -> None:
    """400 or a closed connection, at once; the next client notices nothing."""
    async with http_client(server.tcp) as http:
        with anyio.fail_after(20):
            try:
                await http.send(data)
                answer = await http.answer()
                assert 400 <= answer.status < 500
            except (EOFError, ConnectionError):
                pass
    async with http_client(server.tcp) as http:
        assert (await http.ask("/healthz")).status == 200


# Host and Origin.


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.0.0.1:1234", True),
        ("[::1]:80", True),
        ("jobs.example", True),
        ("JOBS.example:8420", True),
        ("evil.example", False),
        ("jobs.example.evil.example", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("target", ["/healthz", "/ui/", "/api/current", "/nothing"])
async def test_host_is_checked_everywhere(
    server: WireServer, host: str, allowed: bool, target: str
) -> None:
    """No page of another site can read ours by rebinding its name."""
    async with http_client(server.tcp) as http:
        answer = await http.ask(target, Host=host)
    assert (answer.status not in (403, 421)) is allowed


async def test_missing_host_is_refused(server: WireServer) -> None:
    """HTTP/1.1 has one (RFC 9112, 3.2); HTTP/1.0 may not have one."""
    async with http_client(server.tcp) as http:
        await http.send(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert (await http.answer()).status == 400
    async with http_client(server.tcp) as http:
        await http.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await http.answer()).status in (400, 403, 421)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://localhost", "localhost", True),
        ("https://ui.example", "localhost", True),
        ("http://jobs.example", "jobs.example", True),
        ("http://evil.example", "localhost", False),
        ("http://ui.example", "localhost", False),
        ("null", "localhost", False),
        ("http://localhost:1", "localhost", False),
        ("http://evil.example", "evil.example", False),
    ],
)
async def test_origin_of_an_upgrade_is_checked(
    server: WireServer, origin: str, host: str, allowed: bool
) -> None:
    """A page of another site may not open a socket in its visitor's name."""
    async with http_client(server.tcp) as http:
        await http.send(upgrade_request(headers={"Origin": origin, "Host": host}))
        answer = await http.answer()
        assert answer.status == (101 if allowed else 403)
        if not allowed:
            assert await http.is_closed()


# Upgrades.


async def test_upgrade_on_a_reused_connection(http: HttpClient) -> None:
    """A client may ask for a page first."""
    assert (await http.ask("/healthz")).status == 200
    assert (await http.ask("/nothing", method="POST", body=b"x")).status == 404
    await http.send(upgrade_request())
    assert (await http.wire.read_head()).startswith(b"HTTP/1.1 101 ")
    await http.wire.send_text(PING)
    assert await http.wire.receive() == PONG


async def test_upgrade_behind_a_pipelined_request(http: HttpClient) -> None:
    """Both in one piece, and a call on top."""
    await http.send(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        + upgrade_request()
        + client_frame(TEXT, PING)
    )
    assert (await http.answer()).status == 200
    assert (await http.wire.read_head()).startswith(b"HTTP/1.1 101 ")
    assert await http.wire.receive() == PONG


async def test_upgraded_connection_outlives_the_deadlines_of_http(
    server: WireServer,
) -> None:
    """Neither ``head_timeout`` nor the keep-alive of HTTP ends it."""
    async with http_client(server.tcp) as http:
        assert (await http.ask("/healthz")).status == 200
        await http.send(upgrade_request())
        await http.wire.read_head()
        await anyio.sleep(1.5)  # longer than head_timeout
        await http.wire.send_text(PING)
        assert await http.wire.receive() == PONG


@pytest.mark.parametrize("path", ["/", "/healthz", "/api", "/api/current/", "/ws"])
async def test_upgrade_elsewhere_is_404(http: HttpClient, path: str) -> None:
    """And says where it would be right."""
    await http.send(upgrade_request(path))
    answer = await http.answer()
    assert answer.status == 404
    assert "/api/current" in answer.text
    assert await http.is_closed()


async def test_upgrade_to_something_else_is_no_upgrade(http: HttpClient) -> None:
    """HTTP/2 is not spoken; the request is answered as a plain one."""
    answer = await http.ask("/healthz", Connection="Upgrade", Upgrade="h2c")
    assert answer.status == 200


async def test_upgrade_with_post_is_refused(http: HttpClient) -> None:
    """A WebSocket begins with GET (RFC 6455, 4.1)."""
    await http.send(upgrade_request().replace(b"GET", b"POST", 1))
    try:
        assert (await http.answer()).status in (400, 405, 426)
    except EOFError:
        return
    assert await http.is_closed()


async def test_upgrade_with_a_body_is_refused(http: HttpClient) -> None:
    """There is no such thing."""
    await http.send(upgrade_request(headers={"Content-Length": "5"}) + b"hello")
    try:
        assert (await http.answer()).status >= 400
    except EOFError:
        return
    assert await http.is_closed()


# Slow clients.


async def drip(server: WireServer, first: bytes, rest: bytes) -> float:
    """Send a request byte by byte; return the seconds until it is dropped."""
    start = time.monotonic()
    async with http_client(server.tcp) as http:
        await http.send(first)
        if first:
            await http.answer()
            start = time.monotonic()
        with anyio.fail_after(20):
            try:
                for byte in rest:
                    await http.send(bytes([byte]))
                    await anyio.sleep(0.05)  # the client's pace
            except ConnectionError:
                return time.monotonic() - start
            assert await http.is_closed()
            return time.monotonic() - start


async def test_dripping_request_head_is_dropped(server: WireServer) -> None:
    """A head has ``head_timeout`` seconds, however it is cut."""
    seconds = await drip(server, b"", b"GET / HTTP/1.1\r\nX: " + b"x" * 400)
    assert 0.9 < seconds < 10


async def test_dripping_head_of_a_second_request_is_dropped(
    server: WireServer,
) -> None:
    """Keep-alive is no way around the deadline."""
    first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    seconds = await drip(server, first, b"GET / HTTP/1.1\r\nX: " + b"x" * 400)
    assert 0.9 < seconds < 10


async def test_silent_connection_is_dropped(server: WireServer) -> None:
    """A connection that asks for nothing holds nothing."""
    async with http_client(server.tcp) as http:
        with anyio.fail_after(20):
            assert await http.is_closed()


async def test_half_closed_request_is_answered(server: WireServer) -> None:
    """Some clients close their half after the request."""
    async with http_client(server.tcp) as http:
        await http.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        http.wire.sock.shutdown(socket.SHUT_WR)
        assert (await http.answer()).status == 200


async def test_clients_that_vanish_leave_nothing(server: WireServer) -> None:
    """Sockets are closed on our side too."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names will do
    for data in (b"", b"GET /", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        for _ in range(20):
            sock = await open_socket(server.tcp)
            sock.send(data)
            sock.close()
    with anyio.fail_after(20):
        while len(os.listdir("/proc/self/fd")) > before:  # noqa: PTH208, ASYNC110 - the kernel tells nobody
            await anyio.sleep(0.05)


async def test_usual_client_is_served(server: WireServer) -> None:
    """Httpx keeps its connection and reads what it is sent."""
    async with httpx.AsyncClient(base_url=server.running.url) as client:
        for _ in range(10):
            response = await client.get("/healthz")
            assert response.json() == {"status": "ok"}


async def test_answers_have_a_date_and_name_no_program(http: HttpClient) -> None:
    """A Date is wanted (RFC 9110, 6.6.1); what runs here is nobody's business."""
    answer = await http.ask("/healthz")
    assert answer.headers["date"].endswith(" GMT")
    assert "server" not in answer.headers
