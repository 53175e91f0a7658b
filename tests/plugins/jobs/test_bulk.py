"""``core.bulk``: one method, many params, one call after the other."""

import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire

from middlewared import CallError, Context, Plugin, Secret
from middlewared_jobs import Job, job
from middlewared_jobs.bulk import describe_call

PASSWORD = "correct-horse-battery-staple"
TOKEN = "tok-5f1a-issued-by-the-call"
STARS = "********"

plugin = Plugin("b", requires=("jobs",))


class Issued(msgspec.Struct):
    """A result with a secret inside."""

    token: Secret[str]


@plugin.method(roles=USERS)
async def half(ctx: Context, value: int) -> float:
    """Halve even numbers."""
    if value % 2:
        raise CallError(f"{value} is odd", errno.EDOM)
    return value / 2


@plugin.method(roles=USERS)
async def login(ctx: Context, user: str, password: Secret[str]) -> Issued:
    """Take a secret and give one."""
    if user == "nobody":
        raise CallError(f"nobody cannot log in with {password.get()!r}")
    assert password.get() == PASSWORD
    return Issued(Secret(TOKEN))


@plugin.method(roles=USERS)
@job
async def issue(job: Job, password: Secret[str]) -> Issued:
    """Take a secret and give one, as a job."""
    assert password.get() == PASSWORD
    return Issued(Secret(TOKEN))


@plugin.method(roles=("FULL_ADMIN",))
async def reserved(ctx: Context, value: int) -> int:
    """Do what few may."""
    return value


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Run a server where two jobs may run in the loop."""
    async with running_world(plugin, data_dir=tmp_path, async_jobs=2) as world:
        yield world


def entry(result: Any, job_id: int | None = None) -> dict[str, Any]:
    """Build the entry of a call that succeeded."""
    return {"job_id": job_id, "result": result, "error": None}


async def children(wire: Wire, parent: int) -> list[dict[str, Any]]:
    """Give the children of a job, oldest first."""
    filters = [["parent", "=", parent]]
    return list(await wire.call("job.query", filters, {"order_by": ["id"]}))


async def test_jobs_run_in_turn_as_children(world: World, admin: Wire) -> None:
    """The next one begins when the last one has ended; the progress counts them."""
    calls = [["a"], ["b"], ["c"]]
    number = await admin.send("core.bulk", ["t.hold", calls, "hold {0} now"])
    bulk = await admin.started(number)
    for name in "abc":
        await world.stage[name].wait_entered()
        assert world.stage.inside == [name]
        world.stage.open(name)
    ids = [child["id"] for child in await children(admin, bulk)]
    assert await admin.result(number) == [
        entry("a", ids[0]),
        entry("b", ids[1]),
        entry("c", ids[2]),
    ]
    told = {(e["fields"]["progress"]["description"]) for e in admin.events(bulk)}
    assert {"0 / 3: hold a now", "2 / 3: hold c now"} <= told
    final = await admin.final(bulk)
    assert final["progress"]["percent"] == 100
    assert final["description"] == "Bulk of t.hold"
    assert admin.moves(bulk) == ["WAITING", "RUNNING", "SUCCESS"]


async def test_children_have_no_request(admin: Wire) -> None:
    """The ids of the client's requests are those of the bulk alone."""
    bulk = await admin.run("core.bulk", "t.echo", [[1]])
    (child,) = await children(admin, bulk["id"])
    assert bulk["message_ids"]
    assert child["message_ids"] == []


async def test_plain_methods_are_called(admin: Wire) -> None:
    """They have no job; what one cannot do is told in its entry."""
    assert await admin.call("core.bulk", "b.half", [[2], [3], [], [8]]) == [
        entry(1.0),
        {"job_id": None, "result": None, "error": "[EDOM] 3 is odd"},
        {
            "job_id": None,
            "result": None,
            "error": "[EINVAL] value: Field required\n",
        },
        entry(4.0),
    ]
    assert await admin.call("core.bulk", "b.half", []) == []


async def test_failures_are_noted(admin: Wire) -> None:
    """The bulk succeeds, with an item error for each; also of jobs."""
    bulk = await admin.run("core.bulk", "b.half", [[1], [2], [3]])
    assert bulk["state"] == "SUCCESS"
    assert (await admin.call("job.get", bulk["id"]))["item_errors"] == 2
    errors = await admin.call("job.item_errors", bulk["id"])
    assert [(error["item"], error["code"]) for error in errors] == [
        ("0", "EDOM"),
        ("2", "EDOM"),
    ]
    found = await admin.call("core.bulk", "demo.fail", [["first", 13], ["second"]])
    assert [one["error"] for one in found] == ["[EACCES] first", "second"]
    assert all(one["job_id"] for one in found)


async def test_job_that_does_not_begin_has_no_id(admin: Wire) -> None:
    """Params that do not fit make no job."""
    found = await admin.call("core.bulk", "t.echo", [[1], [1, 2]])
    assert found[0]["job_id"]
    assert found[1]["job_id"] is None
    assert "Too many arguments" in found[1]["error"]


async def test_aborted_child_is_an_error(world: World, admin: Wire) -> None:
    """Whoever aborts one call leaves the others (unlike the older server)."""
    number = await admin.send("core.bulk", ["t.hold", [["a"], ["b"]]])
    await world.stage["a"].wait_entered()
    (child,) = await children(admin, await admin.started(number))
    await admin.call("core.job_abort", child["id"])
    world.stage.open("b")
    first, second = await admin.result(number)
    assert first["job_id"] == child["id"]
    assert first["result"] is None
    assert "aborted by" in first["error"]
    assert second["result"] == "b"


async def test_abort_ends_the_running_child(world: World, admin: Wire) -> None:
    """Those that have not begun never do."""
    number = await admin.send("core.bulk", ["t.hold", [["a"], ["b"]]])
    bulk = await admin.started(number)
    await world.stage["a"].wait_entered()
    await admin.call("core.job_abort", bulk)
    assert (await admin.answer(number))["error"]["data"]["error"] == errno.ECANCELED
    (child,) = await children(admin, bulk)
    assert (await admin.final(child["id"]))["state"] == "ABORTED"
    assert world.stage.ran == ["a"]


async def test_bulks_of_one_method_wait_for_each_other(
    world: World, admin: Wire
) -> None:
    """Those of another method do not."""
    first = await admin.start("core.bulk", "t.hold", [["a"]])
    await world.stage["a"].wait_entered()
    second = await admin.start("core.bulk", "t.hold", [["b"]])
    assert await admin.call("core.bulk", "b.half", [[2]]) == [entry(1.0)]
    assert (await admin.call("job.get", second))["state"] == "WAITING"
    assert (await admin.call("job.get", second))["lock"] == "bulk:t.hold"
    world.stage.open("a", "b")
    for job_id in (first, second):
        assert (await admin.final(job_id))["state"] == "SUCCESS"


async def test_as_many_bulks_as_slots_go_on(world: World, admin: Wire) -> None:
    """The calls of a bulk need no slot beside its own."""
    names = [f"{method}{n}" for method in ("hold", "fixed", "fleeting") for n in "01"]
    world.stage.open(*names)
    calls = [
        ("core.bulk", [f"t.{method}", [[f"{method}0"], [f"{method}1"]]])
        for method in ("hold", "fixed", "fleeting")
    ]
    numbers = await admin.send_many(calls)
    found = [one["result"] for n in numbers for one in await admin.result(n)]
    assert found == names


async def test_unknown_methods_fail(admin: Wire) -> None:
    """So do bulks of bulks, before any call."""
    for method, number in (("t.nothing", errno.ENOENT), ("core.bulk", errno.EINVAL)):
        error = await admin.fail("core.bulk", method, [[]])
        assert error.data["extra"][0][0] == "method"
        assert error.data["extra"][0][2] == number


async def test_rights_are_those_of_the_method(world: World) -> None:
    """Whoever may not call it may not call it in bulk."""
    await world.add_user("ann")
    async with world.user("ann") as ann:
        error = await ann.fail("core.bulk", "b.reserved", [[1]])
        assert error.errno == errno.EPERM
        number = await ann.send("core.bulk", ["t.hold", [["a"]]])
        await world.stage["a"].wait_entered()
        (child,) = await children(ann, await ann.started(number))
        assert child["credentials"]["data"]["username"] == "ann"
        world.stage.open("a")
        assert (await ann.result(number))[0]["result"] == "a"


async def test_older_clients_wait_for_it(world: World) -> None:
    """The call answers with the id; ``core.job_wait`` with the entries."""
    async with world.admin(new_style=False) as wire:
        bulk = await wire.call("core.bulk", "b.half", [[4]])
        waiting = await wire.call("core.job_wait", bulk)
        assert (await wire.final(waiting))["result"] == [entry(2.0)]


def files_with(folder: Path, text: str) -> list[str]:
    """Name the files below a folder that hold a text."""
    found = [p for p in folder.rglob("*") if p.is_file()]
    return sorted(p.name for p in found if text.encode() in p.read_bytes())


async def test_secrets_of_plain_methods_stay_secret(
    world: World, tmp_path: Path
) -> None:
    """They are shown to nobody but the caller, who alone gets the results."""
    calls = [["ann", PASSWORD], ["nobody", PASSWORD], [PASSWORD]]
    async with world.admin() as wire, world.admin() as other:
        number = await wire.send("core.bulk", ["b.login", calls, "{0} with {1}"])
        found = await wire.result(number)
        assert found[0]["result"] == {"token": TOKEN}
        assert found[1]["error"] == f"[EFAULT] nobody cannot log in with '{STARS}'"
        bulk = await other.final(await wire.started(number))
        shown = [["ann", STARS], ["nobody", STARS], STARS]
        assert bulk["arguments"] == ["b.login", shown, "{0} with {1}"]
        assert bulk["result"][0]["result"] == STARS
        told = {e["fields"]["progress"]["description"] for e in other.events()}
        assert f"0 / 3: ann with {STARS}" in told
        everything = msgspec.json.encode([wire.frames, other.frames]).decode()
        assert PASSWORD not in everything
        assert TOKEN not in msgspec.json.encode(other.frames).decode()
    assert files_with(tmp_path, PASSWORD) == []
    assert files_with(tmp_path, TOKEN) == []


async def test_secrets_of_jobs_stay_secret(world: World, tmp_path: Path) -> None:
    """Neither bulk nor child shows them; a retry asks for them."""
    async with world.admin() as wire, world.admin() as other:
        number = await wire.send("core.bulk", ["b.issue", [[PASSWORD]]])
        (found,) = await wire.result(number)
        assert found["result"] == {"token": TOKEN}
        bulk = await other.final(await wire.started(number))
        child = await other.final(found["job_id"])
        assert bulk["arguments"][1] == [[STARS]]
        assert child["result"] == {"token": STARS}
        assert TOKEN not in msgspec.json.encode(other.frames).decode()
        error = await other.fail("job.retry", bulk["id"])
        assert error.data["extra"][0][0] == "params"
        options = {"params": {"params": [[PASSWORD]]}}
        again = await other.call("job.retry", bulk["id"], options)
        assert (await other.final(again))["state"] == "SUCCESS"
    assert files_with(tmp_path, PASSWORD) == []
    assert files_with(tmp_path, TOKEN) == []


async def test_what_is_not_secret_is_retried(admin: Wire) -> None:
    """A bulk without secrets is called again as it was."""
    first = await admin.run("core.bulk", "b.half", [[2]])
    again = await admin.call("job.retry", first["id"])
    assert (await admin.final(again))["result"] == first["result"]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", ""),
        ("{} and {}", "a and 2"),
        ("{1}, {0}", "2, a"),
        ("{2}", '{"k":null}'),
        ("{{}}", "{}"),
        ("{3}", "{3}"),
        ("{-1}", "{-1}"),
        ("{", "{"),
        ("{0:>999999999}", "{0:>999999999}"),
        ("{0!r}", "{0!r}"),
        ("{0.__class__}", "{0.__class__}"),
        ("{0[0]}", "{0[0]}"),
        ("{name}", "{name}"),
    ],
)
def test_descriptions(template: str, words: str) -> None:
    """Params stand where braces are; what does not fit is left as it is."""
    assert describe_call(template, ["a", 2, {"k": None}]) == words


@given(st.text("{}01!:.[]a"), st.lists(st.integers(), max_size=2))
def test_no_description_fails(template: str, params: list[int]) -> None:
    """Any text is a description."""
    longest = max(map(len, map(str, params)), default=0)
    words = describe_call(template, params)
    assert len(words) <= len(template) * max(longest, 1)
