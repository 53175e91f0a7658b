"""JSON-RPC over HTTP: what is taken, what is answered, and with which status."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import msgspec
import pytest
from wire_http import HttpAnswer, HttpClient, http_client
from wire_server import WireServer, wire_server

from middlewared import Context, Plugin
from middlewared.context import Services
from middlewared.sessions import Sessions
from middlewared_jobs import Job, job

PATHS = ["/api/current", "/api/v26.0.0"]
PING = b'{"jsonrpc":"2.0","method":"core.ping","id":1}'
PONG = b'{"jsonrpc":"2.0","result":"pong","id":1}'
PATIENCE = 20.0

wire = Plugin("wire", requires=("jobs",))
noted: list[Any] = []
ended = asyncio.Event()


@wire.method(public=True)
async def note(ctx: Context, value: Any) -> None:
    """Keep *value*."""
    noted.append(value)


@wire.method(public=True)
async def stay(ctx: Context) -> None:
    """Stay until the server ends, and tell when that is."""
    noted.append("here")
    try:
        await anyio.sleep_forever()
    finally:
        ended.set()


@wire.method(authenticated=True)
@job()
async def twice(job: Job, value: int) -> int:
    """Double *value*."""
    if value < 0:
        raise ValueError("too small")
    return 2 * value


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(
        wire,
        max_message=100_000,
        allowed_origins=("https://ui.example",),
        tables={"auth": {"failure_delay": 0.01}},
    ) as running:
        yield running


@pytest.fixture
async def http(server: WireServer) -> AsyncIterator[HttpClient]:
    noted.clear()
    async with http_client(server.tcp) as client:
        yield client


@pytest.fixture
async def local(server: WireServer) -> AsyncIterator[HttpClient]:
    """Come over the unix socket, as a full admin."""
    async with http_client(server.running.socket_path) as client:
        yield client


async def send(
    http: HttpClient, body: bytes, target: str = PATHS[0], **headers: str
) -> HttpAnswer:
    """Post a message as JSON, unless the headers say otherwise."""
    sent: dict[str, Any] = {"Content_Type": "application/json", **headers}
    return await http.ask(target, method="POST", body=body, **sent)


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so: nobody tells when a handler has run."""
    with anyio.fail_after(PATIENCE):
        while not true():  # noqa: ASYNC110 - as the docstring says
            await anyio.sleep(0.001)


def request(method: str, *params: Any) -> bytes:
    return msgspec.json.encode(
        {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
    )


async def result(http: HttpClient, body: bytes, target: str = PATHS[0]) -> Any:
    """Post a message and give the result."""
    answer = await send(http, body, target)
    assert answer.status == 200, answer
    return msgspec.json.decode(answer.body)["result"]


@pytest.mark.parametrize("path", PATHS)
async def test_call_is_answered(http: HttpClient, path: str) -> None:
    """On one connection one after the other, as any HTTP."""
    for _ in range(2):
        answer = await send(http, PING, path)
        assert (answer.status, answer.body) == (200, PONG)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"


async def test_notification_is_204_and_runs(http: HttpClient) -> None:
    """Alone and in a batch."""
    body = b'{"jsonrpc":"2.0","method":"wire.note","params":[1]}'
    for text in (body, b"[%b,%b]" % (body, body)):
        answer = await send(http, text)
        assert (answer.status, answer.body) == (204, b"")
    await until(lambda: noted == [1, 1, 1])


async def test_long_batch_is_answered_whole(http: HttpClient) -> None:
    """Also when it takes several turns of the loop, and notifications end it."""
    note = b'{"jsonrpc":"2.0","method":"wire.note","params":["x"]}'
    answer = await send(http, b"[" + b",".join([PING] * 100 + [note] * 50) + b"]")
    assert msgspec.json.decode(answer.body) == [msgspec.json.decode(PONG)] * 100


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/json-rpc", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("text/plain;application/json", 415),
        ("", 415),
    ],
)
async def test_content_type_is_checked(
    http: HttpClient, sent: str, status: int
) -> None:
    """What a form of another site can send is not taken."""
    answer = await send(http, PING, Content_Type=sent)
    assert answer.status == status
    if status == 415:
        assert answer.text == f"Content-Type is {sent!r}, expected application/json\n"


async def test_pages_of_other_sites_are_refused(http: HttpClient) -> None:
    """Whatever they send; friends may, and read the answer."""
    answer = await send(http, PING, Origin="https://evil.example")
    assert answer.status == 403
    answer = await send(http, PING, Origin="https://ui.example")
    assert answer.body == PONG
    assert answer.headers["access-control-allow-origin"] == "https://ui.example"


async def test_limits_are_those_of_connections(
    server: WireServer, local: HttpClient
) -> None:
    """Small before login, larger after; announced or not."""
    blanks = PING + b" " * 9000
    for announced in (True, False):
        async with http_client(server.tcp) as http:
            if announced:
                answer = await send(http, blanks)
            else:
                head = (
                    b"POST /api/current HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Type: application/json\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                await http.send(head + b"%x\r\n%b\r\n" % (len(blanks), blanks))
                answer = await http.answer("POST")
        assert answer.status == 413
        assert answer.text == "The message has more than 8192 bytes\n"
    assert (await send(local, blanks)).body == PONG
    answer = await send(local, PING + b" " * 100_000)
    assert answer.status == 413
    assert answer.text == "The message has more than 100000 bytes\n"


async def test_body_that_does_not_come_is_given_up(
    server: WireServer, http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody holds a place by sending nothing."""
    monkeypatch.setattr("middlewared.post.BODY_SECONDS", 0.05)
    await http.send(
        b"POST /api/current HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    answer = await http.answer("POST")
    assert (answer.status, answer.text) == (
        408,
        "The message did not come within 0.05 s\n",
    )


async def test_wrong_credentials_are_401_with_an_error(http: HttpClient) -> None:
    """The body is what a JSON-RPC client expects, the challenge is not Basic's."""
    answer = await send(http, PING, Authorization="Bearer 1-wrong")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="middlewared"'
    found = msgspec.json.decode(answer.body)
    assert found["id"] is None
    assert found["error"]["code"] == -32001
    assert found["error"]["data"]["error"] == 207


async def test_method_that_needs_a_login_is_answered_with_207(
    http: HttpClient,
) -> None:
    """That is an answer to the call: the status is 200."""
    answer = await send(http, request("core.get_jobs"))
    assert answer.status == 200
    assert msgspec.json.decode(answer.body)["error"]["data"]["error"] == 207


# Jobs.


async def test_job_is_answered_with_its_id(local: HttpClient) -> None:
    """Whoever wants its end asks for it."""
    number = await result(local, request("wire.twice", 4))
    assert await result(local, request("core.job_wait", number), "/api/current") > 0
    waited = await result(local, request("core.job_wait", number), f"{PATHS[0]}?wait=1")
    assert waited == 8


async def test_job_is_waited_for_on_request(local: HttpClient) -> None:
    """Its result, or its error, is then the answer."""
    target = f"{PATHS[1]}?wait=1"
    assert await result(local, request("wire.twice", 4), target) == 8
    answer = await send(local, request("wire.twice", -1), target)
    error = msgspec.json.decode(answer.body)["error"]
    assert error["data"]["reason"] == "too small"
    batch = b"[%b,%b]" % (request("wire.twice", 1), request("wire.twice", 2))
    found = msgspec.json.decode((await send(local, batch, target)).body)
    assert sorted(element["result"] for element in found) == [2, 4]
    assert isinstance(await result(local, request("wire.twice", 1)), int)


@pytest.mark.parametrize("text", ["yes", "2", "", "true"])
async def test_other_words_for_waiting_are_refused(http: HttpClient, text: str) -> None:
    """Nobody waits for something that he did not get."""
    answer = await send(http, PING, f"{PATHS[0]}?wait={text}")
    expected = f"wait is {text!r}, expected 0 or 1\n"
    assert (answer.status, answer.text) == (400, expected)
    assert (await send(http, PING, f"{PATHS[0]}?wait=0")).body == PONG


async def test_client_that_goes_leaves_no_session_behind(server: WireServer) -> None:
    """What it asked for goes on."""
    services: Services = server.running.app.services
    before = len(services.get(Sessions))
    noted.clear()
    async with http_client(server.tcp) as http:
        body = request("wire.stay")
        await http.send(
            b"POST /api/current HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await until(lambda: bool(noted))
        assert len(services.get(Sessions)) == before + 1
    await until(lambda: len(services.get(Sessions)) == before)
    assert not ended.is_set()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reading_it_says_what_to_do(http: HttpClient, method: str) -> None:
    """A browser that is pointed here is told."""
    answer = await http.ask(PATHS[0], method=method)
    assert answer.status == 426
    if method == "GET":
        assert answer.text == "Connect with a WebSocket, or POST a message\n"
