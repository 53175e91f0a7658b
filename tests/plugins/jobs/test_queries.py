"""`core.get_jobs` and `job.query` over the wire: filters, options, errors."""

import json
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from jobs_richly import rich_plugin
from jobs_stage import USERS, Stage, World, running_world
from jobs_wire import Wire

from middlewared import Plugin, Secret
from middlewared_jobs import Job, job
from middlewared_jobs.history import MAX_QUERIES
from middlewared_jobs.jobs import Jobs


async def ids(wire: Wire, *filters: Any, **options: Any) -> list[int]:
    """Give the ids of the jobs that match, in the order of the answer."""
    return [item["id"] for item in await wire.call("core.get_jobs", filters, options)]


@pytest.fixture
async def history(world: World, admin: Wire) -> dict[str, int]:
    """Make one job of every state; give their ids by state."""
    found = {
        "SUCCESS": (await admin.run("t.echo", {"a": [1, 2]}))["id"],
        "FAILED": (await admin.run("demo.fail", "no luck", 13))["id"],
        "RUNNING": await admin.start("t.locked", "held"),
    }
    found["WAITING"] = await admin.start("t.locked", "waits")
    found["ABORTED"] = await admin.start("t.locked", "gone")
    await admin.call("core.job_abort", found["ABORTED"])
    await admin.final(found["ABORTED"])
    await admin.event(found["RUNNING"], "RUNNING")
    return found


async def test_all_jobs_come_by_id(admin: Wire, history: dict[str, int]) -> None:
    """Without filters all jobs come, from memory and history, ascending."""
    assert await ids(admin) == sorted(history.values())
    assert await admin.call("core.get_jobs") == await admin.call("core.get_jobs", [])


@pytest.mark.parametrize("method", ["core.get_jobs", "job.query"])
async def test_states_are_found(
    admin: Wire, history: dict[str, int], method: str
) -> None:
    """Each state finds its job, final or not, through both methods."""
    for state, number in history.items():
        (item,) = await admin.call(method, [["state", "=", state]])
        assert (item["id"], item["state"]) == (number, state)
        assert await admin.call(method, [["id", "=", number]], {"get": True}) == item
        assert await admin.call(method, [["state", "=", state]], {"count": True}) == 1


#: Filters, and the first letters of the states of the jobs that they find.
FOUND: list[tuple[list[Any], str]] = [
    ([["state", "in", ["SUCCESS", "WAITING"]]], "SW"),
    ([["state", "nin", ["SUCCESS", "WAITING"]]], "FRA"),
    ([["method", "^", "t."], ["state", "!=", "RUNNING"]], "SWA"),
    ([["OR", [["state", "=", "FAILED"], ["state", "=", "RUNNING"]]]], "FR"),
    ([["error", "rin", "luck"]], "F"),
    ([["exc_info.errno", "=", 13]], "F"),
    ([["arguments.0.a", "=", [1, 2]]], "S"),
    ([["arguments", "rin", "held"]], "R"),
    ([["method", "~", "t[.]lock"]], "RWA"),
    ([["method", "C=", "DEMO.FAIL"]], "F"),
    ([["time_finished", "=", None]], "RW"),
    ([["nothing", "=", None]], ""),
    ([["transient", "=", True]], ""),
]


async def test_filters_look_at_everything(admin: Wire, history: dict[str, int]) -> None:
    """Filters work on finished and unfinished jobs alike."""
    for filters, states in FOUND:
        wanted = [job for state, job in history.items() if state[0] in states]
        assert await ids(admin, *filters) == sorted(wanted), filters
        count = await admin.call("core.get_jobs", filters, {"count": True})
        assert count == len(wanted)


async def test_message_id_finds_a_job(admin: Wire) -> None:
    """A client that lost its connection finds its job by the id of its request."""
    number = await admin.send("t.echo", ["mine"])
    job = await admin.started(number)
    await admin.send("t.echo", ["other"])
    assert await ids(admin, ["message_ids", "rin", number]) == [job]


async def test_options_cut_and_sort(admin: Wire) -> None:
    """Order, limit, offset and select act on memory and history together."""
    for value in range(6):
        await admin.run("t.echo", value)
    assert await ids(admin, order_by=["-id"], limit=2) == [6, 5]
    assert await ids(admin, order_by=["-id"], limit=2, offset=2) == [4, 3]
    assert await ids(admin, limit=2) == [1, 2]
    assert await ids(admin, limit=2, offset=5) == [6]
    assert await ids(admin, limit=0) == [1, 2, 3, 4, 5, 6]
    selected = await admin.call(
        "core.get_jobs", [["id", "=", 2]], {"select": ["id", ["method", "name"]]}
    )
    assert selected == [{"id": 2, "name": "t.echo"}]
    first = await admin.call("core.get_jobs", [], {"get": True, "order_by": ["-id"]})
    assert first["id"] == 6


async def test_rich_record_has_its_own_keys(admin: Wire) -> None:
    """`job.query` finds by keys that the wire's item does not have."""
    job = (await admin.run("t.echo", 1))["id"]
    record = await admin.call("job.get", job)
    (found,) = await admin.call("job.query", [["uid", "=", record["uid"]]])
    assert found == record
    assert record["attempt"] == 1
    assert record["owner"] is None
    assert record["lock"] is None
    assert await ids(admin, ["uid", "=", record["uid"]]) == []


#: Filters, options, and the code and text of the error.
BAD: list[tuple[Any, Any, int, str]] = [
    ([["id", "?", 1]], {}, -32602, "unknown operator '?'"),
    ([["id"]], {}, -32602, "invalid filter length 1"),
    ([["AND", []]], {}, -32602, "OR"),
    (["id"], {}, -32602, ""),
    ([], {"limit": 10_001}, -32602, "limit"),
    ([], {"offset": -1}, -32602, "offset"),
    ([], {"bogus": 1}, -32602, "bogus"),
    ([], {"get": True, "limit": 2}, -32001, "incompatible with limit"),
    ([["id", "=", 99]], {"get": True}, -32001, "MatchNotFound"),
    ([["method", "~", "("]], {}, -32001, ""),
    ([["id", ">", "x"]], {}, -32001, ""),
]


@pytest.mark.parametrize("method", ["core.get_jobs", "job.query"])
async def test_bad_queries_are_errors(admin: Wire, method: str) -> None:
    """A bad query gets the documented error, and the server goes on."""
    await admin.run("t.echo", 1)
    for filters, options, code, text in BAD:
        error = await admin.fail(method, filters, options)
        assert (error.code, error.errno) == (code, 22), filters
        assert text in str(error.data)
    assert len(await admin.call(method)) == 1


async def test_hungry_pattern_is_stopped(admin: Wire) -> None:
    """A pattern that would take for ever ends ETIMEDOUT; pings pass meanwhile."""
    await admin.run("demo.fail", "a" * 60 + "!")
    number = await admin.send("core.get_jobs", [[["error", "~", "(a|aa)+$"]]])
    assert await admin.call("core.ping") == "pong"
    error = (await admin.answer(number))["error"]
    assert (error["code"], error["data"]["error"]) == (-32001, 110)


async def test_end_is_never_missed_by_a_query() -> None:
    """While jobs end, every query shows each of them exactly once."""
    async with running_world() as world, world.admin(watch=False) as wire:
        numbers = await wire.send_many([("demo.sleep", [0.001, 1])] * 150)
        queries = await wire.send_many([("core.get_jobs", [])] * 20)
        for query in queries:
            found = [item["id"] for item in await wire.result(query)]
            assert found == sorted(set(found))
        seen = 0
        for number in numbers:
            await wire.result(number)
            count = await wire.call("core.get_jobs", [], {"count": True})
            assert count >= seen
            seen = count
        assert seen == 150


async def test_only_so_many_queries_are_in_memory_at_one_time() -> None:
    """The others wait before they read anything, and are all answered."""
    async with running_world() as world, world.admin(watch=False) as wire:
        turns = world.server.context.get(Jobs).history._turns
        queries = await wire.send_many([("core.get_jobs", [])] * 60)
        with anyio.fail_after(20):
            while len(turns._waiters or ()) < 60 - MAX_QUERIES:
                await anyio.lowlevel.checkpoint()
        assert turns.locked()
        for query in queries:
            assert await wire.result(query) == []


def odd_plugin() -> Plugin:
    """Declare jobs whose results are special, which auditors may read."""
    plugin = Plugin("odd", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(read_roles=["AUDITOR"])
    async def number(job: Job) -> float:
        """Return what JSON does not have."""
        return float("nan")

    @plugin.method(roles=USERS)
    @job(read_roles=["AUDITOR"])
    async def large(job: Job) -> str:
        """Return more than a result may have."""
        return "x" * 5000

    @plugin.method(roles=USERS)
    @job(logs=True)
    async def token(job: Job, password: Secret[str]) -> Secret[str]:
        """Take a secret and give it back."""
        job.log.info("it is %s", password.get())
        return password

    @plugin.method(roles=USERS)
    @job
    async def times(job: Job, value: Any) -> Any:
        """Return what was given: dates and sets, too."""
        return value

    @plugin.method(roles=["AUDITOR"])
    def nothing(ctx: object) -> None:
        """Give the role a method."""

    return plugin


async def make_all_kinds(owner: Wire, admin: Wire) -> None:
    """Make jobs of many kinds; some of them wait, run, or leave no history."""
    for name, params in (
        ("odd.number", []),
        ("odd.large", []),
        ("odd.token", ["hunter2hunter2"]),
        ("odd.times", [[{"$date": 5}, {"$set": [1]}, 1.5, '\u2028\x00"', {"a": None}]]),
        ("demo.fail", ['no "luck"\n', 13]),
        ("r.notes", ["open sesame, please"]),
        ("r.flaky", [2]),
        ("r.scrub", ["s", "repair"]),
        ("core.bulk", ["t.echo", [[1], [2]]]),
    ):
        await owner.run(name, *params)
    (scrub,) = await owner.call("job.query", [["method", "=", "r.scrub"]])
    again = await owner.call("job.restart", scrub["id"])
    await owner.final(again)
    await admin.run("t.echo", "of somebody else")
    gone = await owner.start("t.hold", "aborted")
    await owner.call("core.job_abort", gone)
    await owner.final(gone)
    held = await owner.start("t.locked", "held")
    await owner.event(held, "RUNNING")
    await owner.start("t.locked", "waits")
    await owner.event(await owner.start("t.fleeting", "fleeting"), "RUNNING")


#: Options of queries that SQL decides all of.
PAGES: list[dict[str, Any]] = [
    {},
    {"order_by": ["-id"], "limit": 50},
    {"order_by": ["-id"], "limit": 5, "offset": 3},
    {"order_by": ["state", "-time_created"], "limit": 9},
    {"get": True, "order_by": ["-id"]},
    {"select": ["id", "state", "progress", "time_finished", "credentials"]},
]
#: True for every job, which SQL does not know.
OPAQUE = ["arguments", "!=", "nothing"]


async def test_text_of_the_store_is_what_records_give() -> None:
    """Everybody is shown the same by both ways: to the key, the byte and the right."""
    stage = Stage()
    world = running_world(
        rich_plugin(stage), odd_plugin(), stage=stage, max_result=2000
    )
    async with world as found, found.admin() as admin:
        await found.add_user("ann")
        await found.add_user("eve")
        await found.add_user("audit", "AUDITOR")
        stage.open("s.scan", "s.repair")
        async with (
            found.user("ann") as ann,
            found.user("eve") as eve,
            found.user("audit") as audit,
        ):
            await make_all_kinds(ann, admin)
            counts = []
            for wire in (admin, ann, eve, audit):
                for method in ("core.get_jobs", "job.query"):
                    await _compare(wire, method)
                counts.append(await wire.call("core.get_jobs", [], {"count": True}))
            texts = json.dumps(await admin.call("job.query"))
    assert counts[0] > counts[1] > counts[3] > counts[2] == 0
    assert "hunter2" not in texts
    assert "open sesame" not in texts


async def _compare(wire: Wire, method: str) -> None:
    """Ask for the same in both ways."""
    for options in PAGES:
        for filters in ([], [["state", "!=", "SUCCESS"]], [["id", "<", 8]]):
            answers = []
            for more in ([], [OPAQUE]):
                number = await wire.send(method, [filters + more, options])
                frame = await wire.answer(number)
                answers.append({**frame, "id": 0})
            assert json.dumps(answers[0]) == json.dumps(answers[1]), (filters, options)
        counted = [
            await wire.call(method, filters + more, {"count": True})
            for more in ([], [OPAQUE])
        ]
        assert counted[0] == counted[1]
