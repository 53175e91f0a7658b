"""Who may see and abort a job when a method names read roles or its owner goes."""

import errno
from collections.abc import AsyncIterator

import pytest
from jobs_stage import USERS, World, running_world

from middlewared import Plugin
from middlewared_jobs import Job, job


def read_plugin() -> Plugin:
    """Declare a job whose runs auditors may read."""
    plugin = Plugin("ledger", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(logs=True, abortable=True, lock="a", read_roles=["AUDITOR"])
    async def write(job: Job, text: str) -> str:
        """Log a text and return it."""
        job.log.info("%s", text)
        return text

    @plugin.method(roles=["AUDITOR"])
    def nothing(ctx: object) -> None:
        """Give the role a method."""

    return plugin


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Run a server with an owner and an auditor."""
    async with running_world(read_plugin()) as found:
        await found.add_user("ann")
        await found.add_user("audit", "AUDITOR")
        yield found


async def test_readers_read_jobs_of_others(world: World) -> None:
    """A read role opens list, events, wait and log of that method's jobs."""
    async with world.user("ann") as ann, world.user("audit") as audit:
        final = await ann.run("ledger.write", "hello")
        await ann.run("t.echo", "private")
        job = final["id"]
        assert (await audit.final(job)) == final
        assert [item["id"] for item in await audit.call("core.get_jobs")] == [job]
        assert await audit.call("core.get_jobs", [], {"count": True}) == 1
        assert (await audit.call("job.get", job))["owner"] == 1
        assert await audit.call("core.job_wait", job) == "hello"
        assert "hello" in (await audit.call("job.read_log", job))["data"]
        assert await audit.call("core.job_download_logs", job, "x.log")


async def test_readers_do_not_abort(world: World) -> None:
    """A read role is no right to abort."""
    async with world.user("ann") as ann, world.user("audit") as audit:
        held = await ann.start("t.hold", "g")
        error = await audit.fail("core.job_abort", held)
        assert error.errno == errno.EPERM
        job = (await ann.run("ledger.write", "x"))["id"]
        error = await audit.fail("core.job_abort", job)
        assert (error.code, error.errno) == (-32001, errno.EPERM)


async def test_read_only_admins_read_and_touch_nothing(world: World) -> None:
    """READONLY_ADMIN sees all jobs, live too, and neither starts nor ends one."""
    await world.add_user("eve", "READONLY_ADMIN")
    async with world.user("ann") as ann, world.user("eve") as eve:
        job = await ann.start("ledger.write", "hello")
        await ann.final(job)
        assert [j["id"] for j in await eve.call("core.get_jobs")] == [job]
        assert (await eve.call("job.get", job))["owner"] is not None
        assert "hello" in (await eve.call("job.read_log", job))["data"]
        assert await eve.call("core.job_wait", job) == "hello"
        later = await ann.start("ledger.write", "again")
        assert (await eve.final(later))["result"] == "again"
        for method, params in (("core.job_abort", [job]), ("job.delete", [job])):
            assert (await eve.fail(method, *params)).data["errname"] == "EPERM"
        assert (await eve.fail("ledger.write", "x")).data["errname"] == "EACCES"


async def test_lost_role_loses_the_jobs(world: World) -> None:
    """Who no longer holds the role sees nothing of others, and no event."""
    async with world.user("ann") as ann, world.admin() as admin:
        job = (await ann.run("ledger.write", "x"))["id"]
        (account,) = await admin.call("user.query", [["username", "=", "audit"]])
        await admin.call("user.update", account["id"], {"roles": list(USERS)})
        async with world.user("audit") as audit:
            assert await audit.call("core.get_jobs") == []
            assert (await audit.fail("job.get", job)).errno == errno.EPERM
            await ann.run("ledger.write", "y")
            await audit.call("core.ping")
            assert audit.events() == []


async def test_waiting_jobs_of_a_removed_owner_end(world: World) -> None:
    """When the owner is removed, what waits ends ABORTED by the system."""
    async with world.user("ann") as ann, world.admin() as admin:
        running = await ann.start("t.locked", "first")
        waiting = await ann.start("t.locked", "second")
        await world.stage["first"].wait_entered()
        (account,) = await admin.call("user.query", [["username", "=", "ann"]])
        assert await admin.call("user.delete", account["id"])
        world.stage.open("first")
        assert (await admin.final(running))["state"] == "SUCCESS"
        final = await admin.final(waiting)
        assert final["state"] == "ABORTED"
        assert (await admin.call("job.get", waiting))["abort"]["by"] == "system"
        assert world.stage.ran == ["first"]


async def test_jobs_do_not_pass_to_a_namesake(world: World) -> None:
    """A new account with the name of a removed one sees none of its jobs."""
    async with world.admin() as admin:
        async with world.user("ann") as ann:
            job = (await ann.run("t.echo", "old"))["id"]
        (account,) = await admin.call("user.query", [["username", "=", "ann"]])
        await admin.call("user.delete", account["id"])
        await world.add_user("ann")
        async with world.user("ann") as ann:
            assert await ann.call("core.get_jobs") == []
            assert (await ann.fail("job.get", job)).errno == errno.EPERM
            mine = (await ann.run("t.echo", "new"))["id"]
            assert [i["id"] for i in await ann.call("core.get_jobs")] == [mine]
        (item,) = await admin.call("core.get_jobs", [["id", "=", job]])
        assert item["credentials"]["data"]["username"] == "ann"


async def test_job_keeps_the_rights_it_was_started_with(world: World) -> None:
    """Who started a job is known to its body by account, name and kind of login."""
    async with world.user("ann") as ann:
        final = await ann.run("t.echo")
        credentials = final["credentials"]
        assert credentials["type"] == "LOGIN_PASSWORD"
        assert credentials["data"]["username"] == "ann"
        me = await ann.call("auth.me")
        assert me["pw_name"] == "ann"
