"""What is written down of calls: which ones, how they end, and what of their params."""

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from wire_server import WireServer, wire_server

from middlewared import CallError, Context, Origin, Plugin, Secret, ValidationError
from middlewared.access import SYSTEM
from middlewared.audit import MAX_ARRIVALS, Entry, Trail, show_params
from middlewared.dispatch import Dispatcher
from middlewared.testing import ManualClock

pool = Plugin("pool", namespaces=("pool",))
#: A `Made` with short values, as entries show it.
SHOWN = {"name": "n", "key": "********", "extra": "(2 bytes)", "when": None}


class Made(msgspec.Struct):
    """Params of all kinds."""

    name: str
    key: Secret[str]
    extra: dict[str, Any] = {}
    when: dt.datetime | None = None
    unset: int | msgspec.UnsetType = msgspec.UNSET


class Large(msgspec.Struct):
    """Many values, each of them short."""

    a: str
    b: str
    c: str
    d: str
    e: str
    f: Any


@pool.method(roles=["POOL_WRITE"])
async def create(ctx: Context, data: Made, anything: Any = None) -> str:
    """Make something, and forget the params."""
    data.name = "changed meanwhile"
    return "made"


@pool.method(roles=["POOL_WRITE"])
def fail(ctx: Context, how: str) -> None:
    """Fail in several ways."""
    if how == "call":
        raise CallError("no", 16)
    if how == "validation":
        raise ValidationError("how", "no")
    if how == "system":
        raise FileNotFoundError(2, "no")
    raise RuntimeError(how)


@pool.method(roles=["POOL_READ"], read_only=True)
async def names(ctx: Context) -> list[str]:
    """Change nothing."""
    return []


@pool.method(authenticated=True)
async def outer(ctx: Context) -> Any:
    """Call another one."""
    return await ctx.call("pool.create", {"name": "n", "key": "k"})


@pool.method(roles=["POOL_WRITE"], immediate=True)
async def endless(ctx: Context) -> set[object]:
    """Return what has no form on the wire."""
    return {object()}


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(pool) as running:
        yield running


@pytest.fixture
def entries(server: WireServer) -> list[Entry]:
    """Keep what is noted during a test instead of the plugin."""
    found: list[Entry] = []
    server.running.context.get(Trail).attach(found.append)
    return found


def test_requests_of_one_login_are_written_down_once_an_hour() -> None:
    """For each account, way to log in, key and address."""
    clock, found = ManualClock(), list[Entry]()
    trail = Trail(clock)
    trail.attach(found.append)
    here, there = Origin(address="192.0.2.7"), Origin(address="192.0.2.8")
    other = msgspec.structs.replace(SYSTEM, api_key=3)
    for who, origin in ((SYSTEM, here), (SYSTEM, there), (other, here)) * 2:
        trail.note_request(who, origin)
    assert [(e.who, e.origin) for e in found] == [
        *((SYSTEM, here), (SYSTEM, there), (other, here))
    ]
    assert {(e.event, e.outcome, e.detail) for e in found} == {("LOGIN", "OK", "HTTP")}
    clock.advance(3600)
    trail.note_request(SYSTEM, here)
    assert len(found) == 4
    for number in range(MAX_ARRIVALS + 1):
        trail.note_request(SYSTEM, Origin(address=f"198.51.100.{number}"))
    assert len(trail._arrivals) == MAX_ARRIVALS


async def test_request_over_http_is_a_login(
    server: WireServer, entries: list[Entry]
) -> None:
    """Also one that changes nothing."""
    await server.user("POOL_READ")
    entries.clear()
    headers = {"Authorization": f"Token {server.token('POOL_READ')}"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "pool.names"}
    async with httpx.AsyncClient(base_url=server.running.url, headers=headers) as web:
        for _ in range(3):
            assert (await web.post("/api/current", json=message)).json()["result"] == []
    (entry,) = entries
    assert entry.who is not None
    assert (entry.event, entry.who.username) == ("LOGIN", "POOL_READ")


async def test_call_that_changes_something_is_written_down(
    server: WireServer, entries: list[Entry]
) -> None:
    """With who, from where, and the params as they were, their secrets aside."""
    client = await server.user("POOL_WRITE")
    entries.clear()
    data = {"name": "tank", "key": "hush", "extra": {"password": "hush"}}
    assert await client.call("pool.create", data, "hush") == "made"
    (entry,) = entries
    assert (entry.event, entry.outcome, entry.method) == ("CALL", "OK", "pool.create")
    assert entry.who is not None
    assert entry.who.username == "POOL_WRITE"
    assert entry.origin is not None
    assert entry.origin.address == "127.0.0.1"
    assert entry.params is not None
    assert msgspec.json.decode(entry.params) == [
        {"name": "tank", "key": "********", "extra": "(19 bytes)", "when": None},
        "(6 bytes)",
    ]


async def test_what_changes_nothing_is_not(
    server: WireServer, entries: list[Entry]
) -> None:
    """Nor what never came to a method: unknown ones, params that do not fit, guests."""
    client = await server.user("POOL_WRITE", "POOL_READ")
    guest = await server.anonymous()
    entries.clear()
    await client.call("pool.names")
    await client.call("core.ping")
    await client.call("core.get_jobs")
    await client.request("pool.nothing")
    await client.request("pool.create", [{"name": 1}])
    await guest.request("pool.create", [{"name": "x", "key": "y"}])
    assert entries == []


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ("call", "EBUSY"),
        ("validation", "EINVAL"),
        ("system", "ENOENT"),
        ("other", "EINVAL"),
    ],
)
async def test_failures_are_named(
    server: WireServer, entries: list[Entry], how: str, outcome: str
) -> None:
    """By the error number that the caller is told."""
    client = await server.user("POOL_WRITE")
    entries.clear()
    answer = await client.request("pool.fail", [how])
    assert answer["error"]["data"]["errname"] == outcome
    (entry,) = entries
    assert (entry.outcome, entry.params) == (outcome, b'["%b"]' % how.encode())


async def test_answer_that_cannot_be_sent_was_a_success(
    server: WireServer, entries: list[Entry]
) -> None:
    """What was done is done, and written down once."""
    client = await server.user("POOL_WRITE")
    entries.clear()
    answer = await client.request("pool.endless")
    assert answer["error"]["code"] == -32603
    assert [entry.outcome for entry in entries] == ["OK"]


async def test_attempts_are_written_down(
    server: WireServer, entries: list[Entry]
) -> None:
    """Who tries to change what is not theirs; what they sent is not even read."""
    client = await server.user("POOL_READ")
    entries.clear()
    for params in ([{"name": "x", "key": "y"}], ["nonsense"], []):
        await client.request("pool.create", params)
    assert [(e.outcome, e.method, e.params) for e in entries] == [
        ("EACCES", "pool.create", None)
    ] * 3


async def test_calls_inside_the_server_are_written_down(
    server: WireServer, entries: list[Entry]
) -> None:
    """A method that calls another one does so in the name of its caller."""
    client = await server.user("POOL_WRITE")
    reader = await server.user("POOL_READ")
    entries.clear()
    assert await client.call("pool.outer") == "made"
    await reader.request("pool.outer")
    await server.running.context.call("pool.create", {"name": "n", "key": "k"})
    assert [(e.method, e.outcome, e.who and e.who.username) for e in entries] == [
        ("pool.create", "OK", "POOL_WRITE"),
        ("pool.outer", "OK", "POOL_WRITE"),
        ("pool.create", "EACCES", "POOL_READ"),
        ("pool.outer", "EACCES", "POOL_READ"),
        ("pool.create", "OK", "system"),
    ]
    assert entries[0].origin is not None
    assert entries[-1].origin is None


async def test_jobs_that_are_refused_are_written_down(
    server: WireServer, entries: list[Entry]
) -> None:
    """A job that there is none of has no id, and no arguments elsewhere."""
    client = await server.user()
    dispatcher = server.running.context.get(Dispatcher)
    runner, dispatcher._registry.runner = dispatcher._registry.runner, None
    entries.clear()
    try:
        await client.request("demo.noop", [1])
    finally:
        dispatcher._registry.runner = runner
    (entry,) = entries
    assert (entry.event, entry.outcome, entry.job_id) == ("CALL", "EBUSY", None)


def test_trail_without_a_keeper_forgets(server: WireServer) -> None:
    """Nothing is collected where nobody keeps it."""
    trail = server.running.context.get(Trail)
    trail.attach(None)
    trail.note("LOGIN", "OK")
    trail.note_call("pool.create", None, None, None, None)


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (int, 5, 5),
        (str, "x" * 2000, "(2002 bytes)"),
        (Secret[str], Secret("hush"), "********"),
        (list[Secret[str]], [Secret("hush")], ["********"]),
        (Any, "hush", "(6 bytes)"),
        (dict[str, Any], {"a": "hush"}, "(12 bytes)"),
        (list, ["hush"], "(8 bytes)"),
        (Any, object(), "(not shown)"),
        (int, object(), "(not shown)"),
        (msgspec.Raw, msgspec.Raw(b'"hush"'), "(6 bytes)"),
        (Made | None, None, None),
        (Made | None, Made("n", Secret("hush")), SHOWN),
        (Made | dict[str, Any], {"a": "hush"}, "(12 bytes)"),
        (Made, Made("n" * 2000, Secret("hush")), SHOWN | {"name": "(2002 bytes)"}),
        (Large, Large(**dict.fromkeys("abcdef", "x" * 200)), "(1054 bytes)"),
        (set[int], {1}, {"$set": [1]}),
    ],
)
def test_params_are_shown_by_their_type(kind: Any, value: Any, shown: Any) -> None:
    """Secrets are masked; what has no type, or is long, has its size only."""
    for _ in range(2):
        encoded = show_params((kind, int), (value,))
        assert b"hush" not in encoded
        found = msgspec.json.decode(encoded)
        assert found == [shown]
