"""The audit log as administrators read it."""

import datetime as dt
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_server import WireServer, wire_server

from middlewared import CallError, Context, Origin, Plugin
from middlewared.access import Credentials
from middlewared.audit import Entry, Trail
from middlewared.client import RemoteError
from middlewared.filters import parse_filters, parse_options, run_query
from middlewared.testing import RunningServer, running_server
from middlewared_audit.item import AuditItem

store = Plugin("store")


@store.method(roles=["STORE_WRITE"])
async def put(ctx: Context, name: str, size: int = 0) -> None:
    """Change something."""
    if size < 0:
        raise CallError("less than nothing", 28)


async def query(server: RunningServer, *params: Any) -> Any:
    """Ask for entries."""
    return await server.context.call("audit.query", *params)


async def wait_for(server: RunningServer, count: int, *filters: Any) -> Any:
    """Ask until there are so many entries, since they are written in groups."""
    with anyio.fail_after(20):
        while await query(server, list(filters), {"count": True}) < count:  # noqa: ASYNC110 - nobody is told
            await anyio.sleep(0.01)
    return await query(server, list(filters))


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WireServer]:
    async with wire_server(store) as running:
        yield running


async def test_entry_says_who_did_what_from_where(server: WireServer) -> None:
    """A change is shown with the login, the address, the params and the outcome."""
    client = await server.user("STORE_WRITE")
    await client.call("store.put", "box", 3)
    await client.request("store.put", ["box", -1])
    first, second = await wait_for(server.running, 2, ["method", "=", "store.put"])
    assert second["id"] > first["id"]
    me = await client.call("auth.sessions", [["current", "=", True]], {"get": True})
    login = me["credentials_data"]
    assert first.pop("id")
    assert isinstance(first.pop("time")["$date"], int)
    assert first == {
        "event": "CALL",
        "outcome": "OK",
        "username": "STORE_WRITE",
        "account_id": first["account_id"],
        "credentials": me["credentials"],
        "api_key": login["api_key"],
        "login_id": login["login_id"],
        "origin": "127.0.0.1",
        "method": "store.put",
        "params": ["box", 3],
        "job_id": None,
        "detail": None,
    }
    assert (second["outcome"], second["params"]) == ("ENOSPC", ["box", -1])


async def test_jobs_are_written_down_with_their_id(server: WireServer) -> None:
    """Once when they are accepted, whatever becomes of them."""
    client = await server.user("JOB_USER")
    number = await client.call("demo.fail", "no luck")
    submitted = await client.call("job.submit", "demo.noop", [{"password": "x"}])
    filters = (["event", "=", "JOB"], ["username", "=", "JOB_USER"])
    found = await wait_for(server.running, 2, *filters)
    assert [(e["method"], e["job_id"], e["outcome"]) for e in found] == [
        ("demo.fail", number, "OK"),
        ("demo.noop", submitted, "OK"),
    ]
    (call,) = await wait_for(server.running, 1, ["method", "=", "job.submit"])
    assert call["params"] == ["demo.noop", "(18 bytes)"]


async def test_read_only_admins_may_read_it_and_users_not(server: WireServer) -> None:
    """Nobody else learns what others do."""
    eve = await server.user("READONLY_ADMIN")
    assert isinstance(await eve.call("audit.query"), list)
    ann = await server.user("JOB_USER")
    answer = await ann.request("audit.query")
    assert answer["error"]["data"]["errname"] == "EACCES"


async def test_rows_are_only_added(server: WireServer) -> None:
    """The table refuses changes, and removals but from its oldest end."""
    there = ["id", "<=", 3]  # others come a moment later
    entries = await wait_for(server.running, 3, there)
    database = server.running.context.database
    for statement in (
        "UPDATE audit SET outcome = 'OK'",
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
        "DELETE FROM audit WHERE id > 1",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="the audit log"):
            await database.execute((statement, ()))
    assert await query(server.running, [there]) == entries


async def test_newest_matches_are_given(server: WireServer) -> None:
    """Without a limit the newest thousand, ascending; with an order what it says."""
    trail = server.running.context.get(Trail)
    for number in range(1100):
        trail.note("CALL", "OK", method=f"many.{number}")
    filters = [["method", "^", "many."]]
    found = await wait_for(server.running, 1100, *filters)
    assert [e["method"] for e in found] == [f"many.{n}" for n in range(100, 1100)]
    assert await query(server.running, filters, {"count": True}) == 1100
    slow = [["params", "=", None], *filters]  # not in SQL
    assert await query(server.running, slow) == found
    assert await query(server.running, slow, {"count": True}) == 1100
    options = {"order_by": ["-id"], "limit": 2, "offset": 1}
    found = await query(server.running, filters, options | {"select": ["id", "method"]})
    assert [e["method"] for e in found] == ["many.1098", "many.1097"]
    assert found[0].keys() == {"id", "method"}
    options = {"order_by": ["-params", "-id"], "limit": 2, "offset": 1}
    found = await query(server.running, filters, options)
    assert [e["method"] for e in found] == ["many.1098", "many.1097"]
    first = await query(server.running, slow, {"get": True})
    assert first["method"] == "many.0"
    with pytest.raises(Exception, match="MatchNotFound"):
        await query(server.running, [["method", "=", "never"]], {"get": True})


WHO = Credentials(
    type="API_KEY",
    account_id=7,
    username="ann",
    roles=frozenset(),
    login_id="l",
    login_at=1,
    api_key=3,
)
ENTRIES = [
    Entry(time=10, event="LOGIN", outcome="AUTH_ERR", username="ann", origin=Origin()),
    Entry(time=30, event="LOGIN", outcome="OK", who=WHO, origin=Origin("192.0.2.1")),
    Entry(time=20, event="CALL", outcome="OK", who=WHO, method="a.b", params=b"[1]"),
    Entry(time=20, event="JOB", outcome="OK", method="a.c", params=b"[]", job_id=4),
    Entry(time=40, event="LOST", outcome="ENOSPC", detail="3 entries"),
]
VALUES = st.sampled_from(
    [None, 0, 3, 4, 7, 20, "ann", "OK", "CALL", "a.b", "a.c", "192.0.2.1", [1], []]
)
PATHS = st.sampled_from([*AuditItem.__struct_fields__, "time.$date", "params.0"])
LEAVES = st.tuples(PATHS, st.sampled_from(["=", "!=", "^", "in", "~"]), VALUES)
ORDER = st.sampled_from(
    ["id", "-id", "time", "event", "-outcome", "nulls_last:-job_id"]
)


@pytest.fixture(scope="module")
async def small() -> AsyncIterator[RunningServer]:
    """Give a server whose log has the entries above and no others."""
    async with running_server() as running:
        keep = running.context.get(Trail)._keep
        assert keep is not None
        for entry in ENTRIES:
            keep(entry)
        await wait_for(running, len(ENTRIES))
        yield running


@settings(max_examples=150, deadline=None)
@given(
    filters=st.lists(LEAVES.map(list), max_size=3),
    order=st.lists(ORDER, max_size=2),
    limit=st.integers(0, 4),
    offset=st.integers(0, 2),
)
async def test_sql_answers_like_the_language(
    small: RunningServer, filters: Any, order: list[str], limit: int, offset: int
) -> None:
    """Whatever SQL does of a query, the answer or the error is that of the language."""
    everything = await query(small)
    options = {"order_by": order, "limit": limit, "offset": offset}
    try:
        expected: Any = run_query(
            everything, parse_filters(filters), parse_options(options)
        )
    except Exception as exc:  # noqa: BLE001 - whatever it is
        with pytest.raises(type(exc)):
            await query(small, filters, options)
    else:
        assert await query(small, filters, options) == expected
        count = run_query(
            everything, parse_filters(filters), parse_options({"count": True})
        )
        assert await query(small, filters, {"count": True}) == count


async def test_dates_are_filtered(small: RunningServer) -> None:
    """By ISO 8601 texts, as everywhere."""
    since = dt.datetime.fromtimestamp(0.03, dt.UTC).isoformat()
    found = await query(small, [["time.$date", ">=", since]])
    assert [entry["time"]["$date"] for entry in found] == [30, 40]


async def test_a_client_reads_it(small: RunningServer) -> None:
    """Over the wire the params are JSON, not text."""
    async with small.client() as client:
        (entry,) = await client.call("audit.query", [["event", "=", "CALL"]])
        assert entry["params"] == [1]
        with pytest.raises(RemoteError, match="unknown operator"):
            await client.call("audit.query", [["event", "resembles", "CALL"]])
