"""The figures: what they say, and who may read them."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from jobs_stage import World, running_world
from jobs_wire import Wire, open_wire
from prometheus_client.parser import text_string_to_metric_families

from middlewared.registry import Registry
from middlewared_metrics.lag import INTERVAL, LoopLag
from middlewared_metrics.methods import write_metrics
from middlewared_metrics.snapshot import file_sizes

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    """Read the format as Prometheus does: each sample by name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"middlewared_{name}", tuple(sorted(labels.items()))]


async def read(world: World) -> Samples:
    text, _ = await write_metrics(world.server.context)
    return parse(text.decode())


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Run a server, for all tests here."""
    async with running_world(tables={"auth": {"failure_delay": 0.0}}) as world:
        await world.add_user("reader", "METRICS_READ")
        await world.add_user("ann", "JOB_USER")
        await world.add_user("viewer", "READONLY_ADMIN")
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin."""
    async with world.admin() as wire:
        yield wire


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Be a scraper."""
    async with httpx.AsyncClient(base_url=world.server.url) as client:
        yield client


async def key_of(world: World, name: str) -> dict[str, str]:
    """Make an API key, and a header of it."""
    call = world.server.context.call
    made = await call("api_key.create", {"username": name, "name": "scraper"})
    return {"Authorization": f"Bearer {made['key']}"}


# Access


async def test_strangers_read_nothing(http: httpx.AsyncClient) -> None:
    """Without a login it is 401, which says how to log in."""
    answer = await http.get("/metrics")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "middlewared_" not in answer.text


async def test_a_reader(world: World, http: httpx.AsyncClient) -> None:
    """The key of somebody with the role reads; the text may not be kept."""
    answer = await http.get("/metrics", headers=await key_of(world, "reader"))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.headers["cache-control"] == "no-store"
    assert value(parse(answer.text), "jobs_waiting") == 0


async def test_formats(world: World, http: httpx.AsyncClient) -> None:
    """Who asks for OpenMetrics gets it."""
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    headers |= {"Authorization": "Basic cmVhZGVyOnB3"}
    answer = await http.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    headers["Accept"] = "application/openmetrics-text; version=new"
    answer = await http.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("text/plain; version=")


@pytest.mark.parametrize(("name", "status"), [("ann", 403), ("viewer", 200)])
async def test_other_logins(
    world: World, http: httpx.AsyncClient, name: str, status: int
) -> None:
    """A login without the role is 403; admins who read may read this as well."""
    answer = await http.get("/metrics", headers=await key_of(world, name))
    assert answer.status_code == status


async def test_wrong_key(http: httpx.AsyncClient) -> None:
    """What proves nothing is 401, also from here."""
    headers = {"Authorization": f"Bearer 1-{'a' * 64}"}
    assert (await http.get("/metrics", headers=headers)).status_code == 401


async def test_unix_socket(world: World) -> None:
    """The owner of the socket needs no login; what a proxy forwards there does."""
    transport = httpx.AsyncHTTPTransport(uds=str(world.server.socket_path))
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.get("http://localhost/metrics")
        assert answer.status_code == 200
        headers = {"X-Forwarded-For": "192.0.2.1"}
        answer = await client.get("http://localhost/metrics", headers=headers)
        assert answer.status_code == 403


async def test_open_to_loopback() -> None:
    """When it is told so, programs here need no login, what is forwarded does."""
    tables = {"metrics": {"open_to_loopback": True}}
    async with (
        running_world(tables=tables) as world,
        httpx.AsyncClient(base_url=world.server.url) as http,
    ):
        assert (await http.get("/metrics")).status_code == 200
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            answer = await http.get("/metrics", headers={header: "192.0.2.1"})
            assert answer.status_code == 401


async def test_method(world: World, admin: Wire) -> None:
    """The same over the socket, for the same people."""
    samples = parse(await admin.call("metrics.read"))
    assert value(samples, "connections", login="yes") == 1
    async with world.user("ann", watch=False) as ann:
        assert (await ann.fail("metrics.read")).errno == 13
    async with world.user("reader", watch=False) as reader:
        assert "middlewared_info" in await reader.call("metrics.read")


# Contents


async def test_jobs(world: World, admin: Wire) -> None:
    """Jobs are told by method, state and executor, with times."""
    before = await read(world)
    await admin.run("t.echo")
    for name in ("a", "b"):
        await admin.start("t.locked", name)
    await admin.start("t.deaf", "d")
    for name in ("a", "d"):
        await world.stage[name].wait_entered()
    samples = await read(world)
    assert value(samples, "jobs", method="t.locked", state="WAITING") == 1
    assert value(samples, "jobs", method="t.locked", state="RUNNING") == 1
    assert value(samples, "jobs_waiting") == 1
    for executor, number in {"loop": 1, "thread": 1, "process": 0}.items():
        assert value(samples, "jobs_running", executor=executor) == number
    key = {"method": "t.echo", "state": "SUCCESS"}
    ended = ("middlewared_jobs_ended_total", tuple(sorted(key.items())))
    assert samples[ended] - before.get(ended, 0) == 1
    name = "job_duration_seconds"
    assert value(samples, f"{name}_bucket", method="t.echo", le="+Inf") == value(
        samples, f"{name}_count", method="t.echo"
    )
    world.stage.open("a", "b", "d")


async def test_calls(world: World, admin: Wire) -> None:
    """Calls are told by method and outcome, other requests by the reason."""
    await admin.call("core.ping")
    await admin.fail("core.ping", 1)
    await admin.fail("no.such")
    await admin.socket.send("{")
    await admin.socket.send('{"jsonrpc":"2.0"}')
    await admin.socket.send('[{"jsonrpc":"2.0","method":"core.ping"}]')
    await admin.fail("job.get", 10**9)
    async with open_wire(world.server.ws_url) as stranger:
        await stranger.fail("auth.me")
    samples = await read(world)
    calls = "rpc_calls_total"
    assert value(samples, calls, method="core.ping", outcome="ok") == 2
    assert value(samples, calls, method="core.ping", outcome="invalid") == 1
    assert value(samples, calls, method="job.get", outcome="invalid") == 1
    assert value(samples, calls, method="auth.me", outcome="denied") == 1
    for reason in ("method_not_found", "parse_error", "invalid_request"):
        assert value(samples, "rpc_refused_total", reason=reason) == 1


async def test_connections(world: World, admin: Wire) -> None:
    """Connections, subscriptions, bytes and events go up, and gauges down again."""
    before = await read(world)
    async with open_wire(world.server.ws_url):
        await admin.run("t.echo")
        during = await read(world)
    assert value(during, "connections", login="yes") == 1
    assert value(during, "connections", login="no") == 1
    assert value(during, "subscriptions") == 1
    for name in ("received_bytes", "sent_bytes", "connections_opened", "events_sent"):
        total = f"{name}_total"
        assert value(during, total) > value(before, total)
    with anyio.fail_after(10):
        while value(await read(world), "connections", login="no"):  # noqa: ASYNC110 - nobody tells a scraper
            await anyio.sleep(0.01)


async def test_inside(world: World, admin: Wire) -> None:
    """Commits, the process, the database and the program are there."""
    await admin.run("t.echo")
    samples = await read(world)
    count = value(samples, "db_commit_seconds_count")
    assert count > 0
    assert value(samples, "db_commit_writes_sum") >= count
    assert value(samples, "db_size_bytes", file="database") > 0
    assert samples["process_cpu_seconds_total", ()] > 0
    assert samples["process_resident_memory_bytes", ()] > 2**20
    assert any(name == "middlewared_info" for name, _ in samples)


async def test_nothing_of_owners_and_params(world: World) -> None:
    """Whoever may read figures learns nothing of what others run their jobs with."""
    async with world.user("ann") as ann:
        await ann.run("t.echo", "ann's secret plan")
        await ann.final(await ann.start("demo.fail", "ann's secret failure"))
        text, _ = await write_metrics(world.server.context)
    for word in (b"ann", b"secret", b"plan", b"LOGIN"):
        assert word not in text


async def test_labels_are_bounded(world: World, admin: Wire) -> None:
    """Whatever clients send, labels come from the registry and from short lists."""
    for number in range(50):
        await admin.fail(f"made.up{number}")
    samples = await read(world)
    methods = world.server.context.get(Registry).methods
    labels: dict[str, set[str]] = {}
    for _, pairs in samples:
        for name, label in pairs:
            labels.setdefault(name, set()).add(label)
    assert labels["method"] <= set(methods)
    assert labels["outcome"] <= {"ok", "invalid", "denied", "busy", "error"}
    assert labels["state"] <= {"WAITING", "RUNNING", "SUCCESS", "FAILED", "ABORTED"}
    assert labels["reason"] <= {
        "parse_error",
        "invalid_request",
        "method_not_found",
        "too_many",
        "queue_full",
        "stalled",
        "silent",
        "closing",
        "stopping",
    }


async def test_lag_of_the_loop() -> None:
    """A handler that blocks the loop shows."""
    lag = LoopLag()
    async with anyio.create_task_group() as group:
        group.start_soon(lag.watch)
        with anyio.fail_after(20):
            while sum(lag.histogram.counts[-4:]) == 0:
                await anyio.sleep(INTERVAL / 2)
                time.sleep(INTERVAL * 2)  # noqa: ASYNC251 - what must not be done
        group.cancel_scope.cancel()
    assert lag.histogram.total > 0.2


def test_database_that_is_not_there(tmp_path: Path) -> None:
    """A file that is missing has no size."""
    assert file_sizes(tmp_path / "none.db") == {}
    (tmp_path / "some.db").write_bytes(b"abc")
    assert file_sizes(tmp_path / "some.db") == {"database": 3}
