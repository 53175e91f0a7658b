"""Plugins that this repository never saw, in a folder given with --plugins-dir."""

import signal
from pathlib import Path

import pytest
from server_process import ServerProcess

from middlewared.client import JobAborted, JobFailed, connect

HELLO = '''
"""Greet people."""

import anyio

from middlewared import CallError, Context, Plugin
from middlewared_jobs import Job, job

plugin = Plugin("hello", requires=("jobs",))


@plugin.method(public=True)
async def greet(ctx: Context, name: str = "world") -> str:
    """Greet at once."""
    return f"hello {name}"


@plugin.method
@job(logs=True, abortable=True, description="Greet {name}")
async def slowly(job: Job, name: str, times: int = 3) -> list[str]:
    """Greet several times."""
    for number in range(times):
        job.set_progress(100 * number / times, f"greeting {number + 1}")
        job.log.info("hello %s, %d", name, number)
        await anyio.sleep(0)
    return [f"hello {name}"] * times


@plugin.method
@job(abortable=True)
async def forever(job: Job) -> None:
    """Never stop greeting."""
    job.set_progress(1, "on it")
    await anyio.sleep_forever()


@plugin.method
@job
def rudely(job: Job) -> None:
    """Refuse, in a thread."""
    raise CallError("no greetings today", 13)
'''

COUNTER_INIT = '''
"""Count, and remember."""

from middlewared_counter._count import plugin

__all__ = ["plugin"]
'''

COUNTER = '''
"""Count, with a table, settings and a lifespan."""

from contextlib import asynccontextmanager
from importlib.resources import files

import msgspec

from middlewared import Context, Plugin
from middlewared_hello import greet
from middlewared_jobs import Job, job


class CounterSettings(msgspec.Struct, forbid_unknown_fields=True):
    """What the counter can be told."""

    step: int = 1


class Counter:
    """Counts in the database."""

    def __init__(self, ctx: Context) -> None:
        self.database, self.step = ctx.database, ctx.get(CounterSettings).step

    async def count(self) -> int:
        """Count one step further and return where it stands."""
        await self.database.execute(("UPDATE counter SET at = at + ?", (self.step,)))
        return (await self.database.read("SELECT at FROM counter"))[0][0]


plugin = Plugin(
    "counter",
    requires=("hello", "jobs"),
    settings=CounterSettings,
    migrations=files("middlewared_counter") / "migrations",
)


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context):
    """Offer the counter."""
    ctx.services.provide(Counter, Counter(ctx))
    yield
    await ctx.database.execute(("UPDATE counter SET at = at + 1000", ()))


@plugin.method
@job(lock="counter")
async def count(job: Job) -> str:
    """Count one step further."""
    return await greet(job.context, str(await job.context.get(Counter).count()))
'''

TABLE = "CREATE TABLE counter (at INTEGER) STRICT; INSERT INTO counter VALUES (0);"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a plugin in a file, and one in a package that uses it."""
    folder = tmp_path / "my plugins"
    migrations = folder / "middlewared_counter" / "migrations"
    migrations.mkdir(parents=True)
    (folder / "middlewared_hello.py").write_text(HELLO)
    (folder / "middlewared_counter" / "__init__.py").write_text(COUNTER_INIT)
    (folder / "middlewared_counter" / "_count.py").write_text(COUNTER)
    (migrations / "0001_counter.sql").write_text(TABLE)
    (folder / "notes.txt").write_text("no plugin")
    return folder


async def test_plugin_in_a_file(tmp_path: Path, folder: Path) -> None:
    """Its methods and jobs are served like any other, and outlive its absence."""
    server = ServerProcess(
        tmp_path / "data",
        admin_password=None,
        arguments=("--plugins-dir", str(folder)),
    )
    with server:
        async with connect(server.url) as client:
            assert await client.call("hello.greet") == "hello world"
        async with connect(str(server.socket_path)) as client:
            methods = await client.call("core.get_methods")
            assert {"hello.greet", "hello.slowly", "counter.count"} <= methods.keys()

            job = client.job("hello.slowly", "ann", 2)
            assert await job == ["hello ann"] * 2
            item = await client.call("job.get", job.id)
            assert item["description"] == "Greet ann"
            assert item["arguments"] == ["ann", 2]
            log = await client.call("job.read_log", item["id"])
            assert "hello ann, 1" in log["data"]

            endless = client.job("hello.forever")
            async for item in endless:
                if item["progress"]["percent"] == 1:
                    await endless.abort()
            with pytest.raises(JobAborted):
                await endless
            with pytest.raises(JobFailed, match="no greetings today"):
                await client.job("hello.rudely")

    server = ServerProcess(tmp_path / "data", admin_password=None)
    with server:
        async with connect(str(server.socket_path)) as client:
            methods = await client.call("core.get_methods")
            assert not {name for name in methods if name.startswith("hello.")}
            jobs = await client.call("core.get_jobs", [["method", "^", "hello."]])
            assert [(job["method"], job["state"]) for job in jobs] == [
                ("hello.slowly", "SUCCESS"),
                ("hello.forever", "ABORTED"),
                ("hello.rudely", "FAILED"),
            ]
            assert jobs[0]["result"] == ["hello ann"] * 2


async def test_plugin_in_a_package(tmp_path: Path, folder: Path) -> None:
    """It has tables, settings and a lifespan, uses another plugin, and a restart."""

    def server() -> ServerProcess:
        return ServerProcess(
            tmp_path / "data",
            admin_password=None,
            config="[counter]\nstep = 2\n",
            environment={"MIDDLEWARED_PLUGINS_DIR": str(folder)},
        )

    with server() as first:
        async with connect(str(first.socket_path)) as client:
            assert await client.job("counter.count") == "hello 2"
            assert await client.job("counter.count") == "hello 4"
        assert first.stop(signal.SIGTERM) == 0
    with server() as second:
        async with connect(str(second.socket_path)) as client:
            assert await client.job("counter.count") == "hello 1006"
