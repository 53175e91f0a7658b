"""What a dialect may do with jobs: what its sender may, and no more."""

import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
from jobs_stage import USERS, Stage, World, running_world

from middlewared import CallError, Context, Credentials, Plugin, PluginError
from middlewared.registry import Registry
from middlewared_auth import Accounts
from middlewared_dialects.gateway import Gateway
from middlewared_dialects.organisation import Organisation
from middlewared_dialects.problems import DialectError, Problem
from middlewared_dialects.publications import Publications
from middlewared_jobs import Job, JobOptions, job


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a method appears in a dialect of this test."""

    title: str


def plugin(stage: Stage) -> Plugin:
    """Declare two jobs, one of them for the dialect ``x``."""
    plugin = Plugin("g", requires=("jobs", "dialects"))

    @plugin.method(roles=USERS)
    @job(abortable=True, dialects={"x": {"title": "Shown"}})
    async def shown(job: Job, name: str = "") -> str:
        """Wait for a gate, if there is one."""
        return await stage.pass_gate(name) if name else name

    @plugin.method(roles=USERS)
    @job
    async def hidden(job: Job) -> None:
        """Appear nowhere."""

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with these jobs."""
    stage = Stage()
    async with running_world(plugin(stage), stage=stage) as world:
        yield world


def publications(
    world: World, settings: Mapping[str, dict[str, Any] | bool] | None = None
) -> Publications[Options]:
    """Give what the dialect ``x`` shows."""
    registry = world.server.context.get(Registry)
    return Publications("x", Options, registry, settings or {})


async def sender(world: World, name: str) -> Context:
    """Make an account, and the context of a request of its."""
    number = await world.add_user(name)
    who = Credentials(
        type="API_KEY",
        account_id=number,
        username=name,
        roles=frozenset(USERS),
        login_id="l",
        login_at=0,
    )
    return Context(world.server.context.services, None, who)


async def test_only_what_is_published_is_found(world: World) -> None:
    """By any spelling of its id; others are as if they were not there."""
    shown = publications(world)
    gateway = Gateway(world.server.context, shown)
    published = shown.get("g.shown")
    assert published is not None
    options = JobOptions(key="my own id", tracking_id="T1")
    record = await gateway.wait(await gateway.submit(published, [], options))
    for spelled in (str(record.id), record.uid, f"j{record.uid}", "my own id"):
        found, how = await gateway.find(spelled)
        assert (found.id, how.options.title) == (record.id, "Shown")
    wanted = JobOptions(key=str(record.id))
    chosen = await gateway.wait(await gateway.submit(published, [], wanted))
    for find, number in ((gateway.find, record.id), (gateway.find_chosen, chosen.id)):
        assert (await find(str(record.id)))[0].id == number
    assert (await gateway.find_chosen(record.uid))[0].id == record.id
    hidden = await world.server.context.call("job.submit", "g.hidden")
    for spelled in (str(hidden), "0", "", "-1", "9" * 30, "\0"):
        with pytest.raises(DialectError) as caught:
            await gateway.find(spelled)
        assert caught.value.problem is Problem.NOT_FOUND


async def test_jobs_of_others_are_not_there(world: World) -> None:
    """Neither in lists nor by id, and they cannot be aborted."""
    ann, bob = await sender(world, "ann"), await sender(world, "bob")
    shown = publications(world)
    published = shown.get("g.shown")
    assert published is not None
    of_ann, of_bob = Gateway(ann, shown), Gateway(bob, shown)
    mine = await of_ann.submit(published, {"name": "gate"})
    assert [r.id for r in (await of_ann.list(shown.methods)).records] == [mine.id]
    page = await of_bob.list(shown.methods)
    assert (list(page.records), page.total) == ([], 0)
    with pytest.raises(DialectError):
        await of_bob.find(str(mine.id))
    with pytest.raises(CallError, match="not owned"):
        await of_bob.abort(mine)
    await of_ann.abort(mine)
    assert (await of_ann.wait(mine)).state == "ABORTED"


async def test_lists_come_in_pages(world: World) -> None:
    """Newest first, with the number of all."""
    shown = publications(world)
    gateway = Gateway(world.server.context, shown)
    published = shown.get("g.shown")
    assert published is not None
    records = [await gateway.submit(published, []) for _ in range(5)]
    for record in records:
        await gateway.wait(record)
    page = await gateway.list(shown.methods, offset=1, limit=2)
    assert [record.id for record in page.records] == [records[3].id, records[2].id]
    assert page.total == 5


async def test_settings_publish_and_withdraw(world: World) -> None:
    """The settings file wins over the decorator, and names what it gets wrong."""
    chosen = publications(world, {"g.hidden": {"title": "Now"}, "g.shown": False})
    assert chosen.methods == ["g.hidden"]
    with pytest.raises(PluginError, match=r"dialects\.x: 'g\.gone' is no job method"):
        publications(world, {"g.gone": {"title": "x"}})
    with pytest.raises(PluginError, match=r"g\.hidden, published in x: .*title"):
        publications(world, {"g.hidden": {}})


async def test_everybody_has_one_uuid(world: World) -> None:
    """Accounts have their own; the system and removed accounts a stable one."""
    context = world.server.context
    organisation = context.get(Organisation)
    number = await world.add_user("ann")
    account = context.get(Accounts).get(number)
    assert account is not None
    assert organisation.user_id(number) == str(account.uuid)
    assert uuid.UUID(organisation.user_id(None)) != uuid.UUID(organisation.user_id(99))
    assert organisation.user_id(99) == organisation.user_id(99)
    assert (await Organisation.load(context)).id == organisation.id
