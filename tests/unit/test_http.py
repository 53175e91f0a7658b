"""The routes of the kernel, and how plugins add theirs."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from wire_http import HttpClient, http_client

from middlewared import Plugin
from middlewared.context import Services
from middlewared.errors import SettingsError
from middlewared.http import JsonResponse
from middlewared.settings import Settings
from middlewared.testing import RunningServer, running_server

wire = Plugin("wire")


async def shows_services(request: Request) -> PlainTextResponse:
    services: Services = request.state.services
    return PlainTextResponse(services.get(Settings).listen)


async def fails(request: Request) -> PlainTextResponse:
    raise RuntimeError("inside the route")


async def reads(request: Request) -> JsonResponse:
    return JsonResponse({"bytes": len(await request.body())})


wire.routes += [
    Route("/wire/services", shows_services),
    Route("/wire/fails", fails),
    Route("/wire/reads", reads, methods=["POST"]),
]


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[RunningServer]:
    async with running_server(wire) as server:
        yield server


@pytest.fixture
async def http(running: RunningServer) -> AsyncIterator[HttpClient]:
    async with http_client(("127.0.0.1", running.server.port)) as client:
        yield client


async def test_route_of_a_plugin_reaches_the_services(http: HttpClient) -> None:
    """Through ``request.state``."""
    assert (await http.ask("/wire/services")).text == "127.0.0.1:0"


async def test_route_that_fails_is_500_and_says_nothing(http: HttpClient) -> None:
    """The text of the exception is for the log."""
    answer = await http.ask("/wire/fails")
    assert answer.status == 500
    assert "inside" not in answer.text


@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_000])
async def test_body_reaches_a_route(http: HttpClient, size: int) -> None:
    """Whole, whatever its size."""
    answer = await http.ask("/wire/reads", method="POST", body=b"x" * size)
    assert answer.text == f'{{"bytes":{size}}}'


async def test_refusal_of_a_host_names_it(http: HttpClient) -> None:
    """Whoever runs the server learns which name to allow."""
    answer = await http.ask("/healthz", Host="jobs.example")
    assert answer.status == 403
    assert "'jobs.example'" in answer.text
    assert "allowed_hosts" in answer.text


async def test_healthz_is_503_when_the_server_stops(
    running: RunningServer, http: HttpClient
) -> None:
    """A balancer sends nobody here any more; open connections still learn it."""
    assert (await http.ask("/healthz")).status == 200
    running.server.stopping = True
    try:
        answer = await http.ask("/healthz")
    finally:
        running.server.stopping = False
    assert (answer.status, answer.text) == (503, '{"status":"stopping"}')


async def test_boot_id_is_that_of_the_machine(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One JSON string, the same until the next start; where it is hidden, ours."""
    answer = await http.ask("/api/boot_id")
    assert answer.headers["content-type"] == "application/json"
    first = msgspec.json.decode(answer.body, type=str)
    assert first == Path("/proc/sys/kernel/random/boot_id").read_text().strip()  # noqa: ASYNC240 - no disk

    def refuse(path: Path, **options: str) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refuse)
    answers = [(await http.ask("/api/boot_id")).text for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(answers[0]) == len(answer.text)


@pytest.mark.parametrize("base", ["/api", "/ui", "/healthz", "/wire", "/_download"])
async def test_base_path_is_none_of_the_servers_own(base: str) -> None:
    """Else nobody could tell whether a path has it already."""
    with pytest.raises(SettingsError, match=f"base_path is '{base}', but {base}"):
        async with running_server(wire, base_path=base):
            pass
    async with running_server(wire, base_path=f"{base}x"):
        pass
