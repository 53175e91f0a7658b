"""Secrets: clear for whoever called, for nobody and nothing else."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire

from middlewared import CallError, Plugin, Secret, ValidationError, ValidationErrors
from middlewared_jobs import Job, job

PASSWORD = "correct-horse-battery-staple"
TOKEN = "tok-5f1a-issued-by-the-job"
STARS = "********"


class Login(msgspec.Struct):
    """A param with a secret inside."""

    user: str
    password: Secret[str]


class Issued(msgspec.Struct):
    """A result with a secret inside."""

    user: str
    token: Secret[str]


def secret_plugin(gate: anyio.Event) -> Plugin:
    """Declare jobs that take and give secrets."""
    plugin = Plugin("s", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job(logs=True, abortable=True, lock="{user}", description="Log {user} in")
    async def login(job: Job, user: str, password: Secret[str]) -> int:
        """Take a secret, log it, and tell its length."""
        job.log.info("%s says %s", user, password.get())
        job.log.warning("once more: %s", password)
        await gate.wait()
        return len(password.get())

    @plugin.method(roles=USERS)
    @job(logs=True)
    async def nested(job: Job, login: Login) -> int:
        """Take a secret inside a struct, and write it."""
        job.log.info("nested %s", login.password.get())
        return len(login.password.get())

    @plugin.method(roles=USERS)
    @job(logs=True)
    def raw(job: Job, password: Secret[str]) -> None:
        """Write a secret to the file, in two pieces."""
        text = f"password {password.get()}\n".encode()
        job.logs_fd.write(text[:20])
        job.logs_fd.write(text[20:])

    @plugin.method(roles=USERS)
    @job
    async def refuse(job: Job, how: str, password: Secret[str]) -> None:
        """Raise something about the password."""
        word = password.get()
        if how == "extra":
            raise CallError("no", 1, {"tried": [word, 1]})
        if how == "validation":
            raise ValidationErrors([ValidationError("password", f"{word} is bad")])
        if how == "chain":
            try:
                int(word)
            except ValueError as exc:
                raise CallError("no number") from exc
        raise KeyError(word) if how == "repr" else RuntimeError(f"{word} is wrong")

    @plugin.method(roles=USERS)
    @job(lock="shared", lock_queue_size=1)
    async def issue(job: Job, user: str = "ann") -> Issued:
        """Give a secret."""
        await gate.wait()
        return Issued(user, Secret(TOKEN))

    return plugin


class Secretive(World):
    """A world whose jobs keep secrets until the gate is open."""

    gate: anyio.Event
    folder: Path


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Secretive]:
    """Run a server with jobs that take and give secrets."""
    gate = anyio.Event()
    async with running_world(secret_plugin(gate), data_dir=tmp_path) as running:
        found = Secretive(running.server, running.stage)
        found.gate, found.folder = gate, tmp_path
        yield found
        gate.set()


def files_with(folder: Path, text: str) -> list[str]:
    """Name the files below a folder that hold a text."""
    found = [p for p in folder.rglob("*") if p.is_file()]
    return sorted(p.name for p in found if text.encode() in p.read_bytes())


def shown(wire: Wire) -> str:
    """Give everything that a client was sent, as one text."""
    return msgspec.json.encode(wire.frames).decode()


async def test_secret_param_is_shown_nowhere(
    world: Secretive, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in listings, events, the log of the job or of the server, nor on the disk."""
    caplog.set_level(logging.DEBUG)
    async with world.admin() as admin, world.admin() as other:
        number = await admin.send("s.login", ["ann", PASSWORD])
        job = await admin.started(number)
        behind = await admin.start("s.login", "ann", PASSWORD)
        await admin.event(job, "RUNNING")
        assert files_with(world.folder, PASSWORD) == []  # one runs, one waits
        assert files_with(world.folder, "s.login")  # so the search does find things
        world.gate.set()
        assert await admin.result(number) == len(PASSWORD)
        final = await other.final(behind)
        assert final["arguments"] == ["ann", STARS]
        for method in ("core.get_jobs", "job.query"):
            assert len(await other.call(method, [["method", "=", "s.login"]])) == 2
        log = await other.call("job.read_log", job)
        assert f"ann says {STARS}\n" in log["data"]
        assert f"once more: {STARS}\n" in log["data"]
        assert PASSWORD not in shown(admin) + shown(other)
    assert files_with(world.folder, PASSWORD) == []
    assert PASSWORD not in caplog.text


async def test_secret_inside_a_struct_is_kept_too(world: Secretive) -> None:
    """A secret that is a member of a param is redacted, masked and sealed as well."""
    async with world.admin() as wire:
        final = await wire.run("s.nested", {"user": "ann", "password": PASSWORD})
        assert final["result"] == len(PASSWORD)
        assert final["arguments"] == [{"user": "ann", "password": STARS}]
        assert f"nested {STARS}\n" in final["logs_excerpt"]
        assert PASSWORD not in shown(wire)
    assert files_with(world.folder, PASSWORD) == []


async def test_refused_secret_is_not_told(world: Secretive) -> None:
    """An error about params does not repeat the secret among them."""
    async with world.admin() as wire:
        error = await wire.fail("s.login", 5, PASSWORD)
        assert error.code == -32602
        error = await wire.fail("s.login", "ann", [PASSWORD])
        assert error.code == -32602
        error = await wire.fail("s.nested", {"user": [PASSWORD], "password": 1})
        assert error.code == -32602
        assert PASSWORD not in shown(wire)


async def test_bytes_of_a_secret_job_are_masked(world: Secretive) -> None:
    """What goes to `logs_fd` is masked too, across the borders of its pieces."""
    async with world.admin() as wire:
        final = await wire.run("s.raw", PASSWORD)
        assert final["state"] == "SUCCESS"
        assert final["logs_excerpt"] == f"password {STARS}\n"
        assert PASSWORD not in shown(wire)
    assert files_with(world.folder, PASSWORD) == []


async def test_secret_result_is_clear_for_its_caller(world: Secretive) -> None:
    """The caller's answer and events show it; those of others do not."""
    clear = {"user": "ann", "token": TOKEN}
    hidden = {"user": "ann", "token": STARS}
    async with world.admin() as admin, world.admin() as other:
        number = await admin.send("s.issue", [])
        job = await admin.started(number)
        world.gate.set()
        assert await admin.result(number) == clear
        assert (await admin.final(job))["result"] == clear
        assert (await other.final(job))["result"] == hidden
        for wire in (admin, other):
            (item,) = await wire.call("core.get_jobs", [["id", "=", job]])
            assert item["result"] == hidden
            assert (await wire.call("job.get", job))["result"] == hidden
        assert TOKEN not in shown(other)
    assert files_with(world.folder, TOKEN) == []


async def test_who_joins_sees_the_result(world: Secretive) -> None:
    """A session whose call joined the job sees its secrets; by session, not by id."""
    async with world.admin() as one, world.admin() as two, world.admin() as three:
        await one.start("s.issue", "holder")
        first = await one.send("s.issue", ["ann"])
        job = await one.started(first)
        second = await two.send("s.issue", ["ann"])
        assert await two.started(second) == job
        # The same id on another connection is another request.
        await three.send("core.ping", [], id=first)
        await three.result(first)
        world.gate.set()
        assert (await one.result(first))["token"] == TOKEN
        assert (await two.result(second))["token"] == TOKEN
        assert (await two.final(job))["result"]["token"] == TOKEN
        assert (await three.final(job))["result"]["token"] == STARS


async def test_secrets_stay_with_the_login(world: Secretive) -> None:
    """Who logs in on the connection of a call does not see its secrets."""
    await world.add_user("ann")
    async with world.user("ann") as wire, world.admin() as admin:
        job = await wire.start("s.issue")
        token = (await admin.call("auth.login_link")).partition("#token=")[2]
        assert await wire.call("auth.login_with_token", token)
        world.gate.set()
        assert (await wire.final(job))["result"]["token"] == STARS
    assert files_with(world.folder, TOKEN) == []


@pytest.mark.parametrize("how", ["text", "repr", "extra", "validation", "chain"])
async def test_errors_do_not_quote_secrets(
    world: Secretive, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a body or a library raises about a secret is masked wherever it is shown."""
    async with world.admin() as wire, world.admin() as other:
        number = await wire.send("s.refuse", [how, PASSWORD])
        job = await wire.started(number)
        answer = await wire.answer(number)
        assert "error" in answer
        assert (await other.final(job))["state"] == "FAILED"
        record = await other.call("job.get", job)
        assert STARS in str([record["exception"], record["exc_info"]])
        await other.fail("core.job_wait", job)
        assert PASSWORD not in shown(other) + msgspec.json.encode(answer).decode()
    assert files_with(world.folder, PASSWORD) == []
    assert PASSWORD not in caplog.text


async def test_owner_who_waits_sees_the_result(world: Secretive) -> None:
    """`core.job_wait` gives it to the owner, also on another connection."""
    await world.add_user("ann")
    async with (
        world.user("ann") as one,
        world.user("ann") as two,
        world.admin() as admin,
    ):
        job = await one.start("s.issue")
        own = await two.send("core.job_wait", [job])
        foreign = await admin.send("core.job_wait", [job])
        for wire, number in ((two, own), (admin, foreign)):
            await wire.event(await wire.started(number), "RUNNING")
        world.gate.set()
        assert (await two.result(own))["token"] == TOKEN
        assert (await admin.result(foreign))["token"] == STARS
        assert TOKEN not in shown(admin)
        late = await admin.call("core.job_wait", job)
        assert late == {"user": "ann", "token": STARS}
    assert files_with(world.folder, TOKEN) == []


async def test_secrets_are_erased_on_abort(world: Secretive) -> None:
    """The sealed params of a job are gone from its row with its end, any end."""
    async with world.admin() as wire:
        first = await wire.start("s.login", "ann", PASSWORD)
        second = await wire.start("s.login", "ann", PASSWORD)
        await wire.event(first, "RUNNING")
        count = "SELECT count(*) FROM jobs WHERE params IS NOT NULL"
        database: Any = world.server.context.database
        assert await database.read(count) == [(2,)]
        await wire.call("core.job_abort", second)
        await wire.final(second)
        assert await database.read(count) == [(1,)]
        await wire.call("core.job_abort", first)
        await wire.final(first)
        assert await database.read(count) == [(0,)]
