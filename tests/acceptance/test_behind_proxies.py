"""The real program behind a real nginx and a real Caddy with TLS, under a base path."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias

import httpx
import pytest
from caddy_process import Caddy
from certificates import Pair, make_pair
from nginx_process import Nginx
from server_process import ADMIN_PASSWORD, CONFIG, ServerProcess
from websockets.asyncio.client import connect as dial

from middlewared.client import CannotConnect, Client, connect

Proxy: TypeAlias = Nginx | Caddy

PROXIED = """
base_path = "/jobs"
trusted_proxies = ["127.0.0.1"]
login_attempts = 2
"""
#: Other addresses of this machine: the proxy's is the one that is trusted.
ELSEWHERE = {Nginx: ("127.0.0.2", 0), Caddy: ("127.0.0.3", 0)}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder / "data", config=PROXIED + CONFIG) as running:
        yield running


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(Nginx, marks=pytest.mark.nginx),
        pytest.param(Caddy, marks=pytest.mark.caddy),
    ],
)
def proxy(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    pair: Pair,
    server: ServerProcess,
) -> Iterator[Proxy]:
    kind: type[Proxy] = request.param
    with kind(tmp_path_factory.mktemp("proxy"), pair, server.port) as running:
        yield running


@pytest.fixture
async def client(proxy: Proxy, pair: Pair) -> AsyncIterator[Client]:
    """Come through the proxy, and log in."""
    async with connect(proxy.url, ssl=pair.trust()) as client:
        await client.login("admin", ADMIN_PASSWORD)
        yield client


@pytest.fixture
async def http(proxy: Proxy, pair: Pair) -> AsyncIterator[httpx.AsyncClient]:
    """Come through the proxy for everything else."""
    async with httpx.AsyncClient(base_url=proxy.url, verify=pair.trust()) as http:
        yield http


async def test_jobs_run_under_the_base_path(client: Client) -> None:
    """The socket is upgraded; the address of the page is enough to find it."""
    assert await client.job("demo.noop", "through") == "through"


async def test_log_is_downloaded_by_its_link(
    client: Client, http: httpx.AsyncClient, proxy: Proxy
) -> None:
    """The path in the answer is the whole path."""
    job = client.job("demo.log", 3)
    await job
    path = await client.call("core.job_download_logs", job.id, "three.log")
    assert path.startswith("/jobs/_download/")
    answer = await http.get(f"https://127.0.0.1:{proxy.port}{path}")
    assert answer.status_code == 200
    assert len(answer.text.splitlines()) == 3


async def test_files_go_both_ways(client: Client) -> None:
    """Larger than what proxies take by default, and not buffered on the way."""
    size = 3_000_000
    job = await client.upload("demo.count_upload", files=[("zeros", bytes(size))])
    assert (await job)[0]["bytes"] == size
    async with client.download("demo.stream", size) as download:
        received = [len(data) async for data in download]
    assert sum(received) == size


async def test_calls_over_http_and_waits_for_a_job(http: httpx.AsyncClient) -> None:
    """With a password, which the proxy passes on over plain HTTP on this machine."""
    answer = await http.post(
        "/api/current?wait=1",
        json={"jsonrpc": "2.0", "method": "demo.noop", "params": ["x"], "id": 1},
        auth=("admin", ADMIN_PASSWORD),
    )
    assert answer.json() == {"jsonrpc": "2.0", "result": "x", "id": 1}


async def test_page_and_its_redirects_stay_under_the_base_path(
    http: httpx.AsyncClient, proxy: Proxy
) -> None:
    """With the scheme and the port that the browser sees."""
    where = f"https://127.0.0.1:{proxy.port}/jobs/"
    for path in ("", "/", "/ui"):
        answer = await http.get(f"{proxy.url}{path}", follow_redirects=True)
        assert (answer.status_code, str(answer.url)) == (200, f"{where}ui/")
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    assert (await http.get("/api/versions")).json() == ["v26.0.0"]


async def test_pages_of_others_are_kept_out(proxy: Proxy, pair: Pair) -> None:
    """The origin of the own page is the one that the browser sees."""
    url = f"wss://127.0.0.1:{proxy.port}/jobs/api/current"
    own, trust = f"https://127.0.0.1:{proxy.port}", pair.trust()
    async with dial(url, ssl=trust, origin=own, proxy=None) as socket:  # type: ignore[arg-type]  # its Origin is a str
        await socket.send('{"jsonrpc":"2.0","method":"core.ping","id":1}')
        assert json.loads(await socket.recv())["result"] == "pong"
    with pytest.raises(Exception, match="HTTP 403"):
        await dial(url, ssl=trust, origin="https://evil.example", proxy=None)  # type: ignore[arg-type]  # as above


async def ask_from(
    proxy: Proxy, trust: ssl.SSLContext, method: str, *params: str, sent: str
) -> dict[str, object]:
    """Call once from another address, which claims to be yet another one."""
    url = f"wss://127.0.0.1:{proxy.port}/jobs/api/current"
    async with dial(
        url,
        ssl=trust,
        proxy=None,
        local_addr=ELSEWHERE[type(proxy)],
        additional_headers={"X-Forwarded-For": sent, "X-Forwarded-Proto": "http"},
    ) as socket:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        await socket.send(json.dumps(request))
        found: dict[str, object] = json.loads(await socket.recv())
        return found


async def test_clients_cannot_choose_their_address(
    proxy: Proxy, pair: Pair, client: Client
) -> None:
    """Failed logins count for the address that the proxy saw, whatever is claimed."""
    trust = pair.trust()
    for number in range(2):
        answer = await ask_from(
            proxy, trust, "auth.login", "admin", "wrong", sent=f"198.51.100.{number}"
        )
        assert answer["result"] is False
    answer = await ask_from(
        proxy, trust, "auth.login", "admin", ADMIN_PASSWORD, sent="198.51.100.9"
    )
    assert "Rate Limit Exceeded" in str(answer["error"])
    # Others who come through the same proxy are not concerned.
    await client.login("admin", ADMIN_PASSWORD)


async def test_restart_is_told_through_the_proxy(
    server: ServerProcess, proxy: Proxy, pair: Pair
) -> None:
    """The close code arrives, and a client that comes back finds its job."""
    async with connect(proxy.url, ssl=pair.trust(), reconnect=True) as client:
        await client.login("admin", ADMIN_PASSWORD)
        job = client.job("demo.noop", 1)
        assert await job == 1
        await asyncio.to_thread(server.restart)
        found = await client.call("core.get_jobs", [["id", "=", job.id]])
        assert found[0]["state"] == "SUCCESS"


async def test_proxy_says_when_the_server_is_gone(
    server: ServerProcess, proxy: Proxy, pair: Pair, http: httpx.AsyncClient
) -> None:
    """Clients are told the status; afterwards everything is as before."""
    await asyncio.to_thread(server.stop)
    try:
        with pytest.raises(CannotConnect, match="HTTP 502"):
            async with connect(proxy.url, ssl=pair.trust()):
                pass
        assert (await http.get("/healthz")).status_code == 502
    finally:
        await asyncio.to_thread(server.start)
    assert (await http.get("/healthz")).status_code == 200
