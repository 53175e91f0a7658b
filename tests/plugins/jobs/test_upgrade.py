"""Databases of earlier programs: opened, brought up to date, and nothing is lost.

Each file in ``tests/databases`` was written by a program of its time and then killed. A
release adds one; none is ever changed.
"""

import base64
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jobs_stage import USERS, World, running_world

from middlewared import CallError, Plugin, Secret
from middlewared_jobs import Job, job

FILES = sorted((Path(__file__).parents[2] / "databases").glob("*.sql"))
KEY = "-- jobs.key: "


def laid_out(file: Path, data_dir: Path) -> Path:
    """Make a data directory of a dump."""
    text = file.read_text(encoding="utf-8")
    data_dir.mkdir()
    with contextlib.closing(sqlite3.connect(data_dir / "middlewared.db")) as database:
        database.executescript(text)
    key = next(line for line in text.splitlines() if line.startswith(KEY))
    (data_dir / "jobs.key").write_bytes(base64.b64decode(key.removeprefix(KEY)))
    return data_dir


def old_plugin() -> Plugin:
    """Declare what became of the methods: one is gone, one takes other params."""
    plugin = Plugin("old", requires=("jobs",), version="2.0")

    @plugin.method(roles=USERS)
    @job(logs=True)
    async def say(job: Job, text: str) -> dict[str, str]:
        """Say something."""
        return {"said": text}

    @plugin.method(roles=USERS)
    @job
    async def fail(job: Job, text: str) -> None:
        """Fail."""
        raise CallError(text)

    @plugin.method(roles=USERS)
    @job(lock="old")
    async def hold(job: Job, text: str) -> None:
        """Do nothing."""

    @plugin.method(roles=USERS)
    @job(lock="old")
    async def changed(job: Job, count: int) -> None:
        """Take a number."""

    @plugin.method(roles=USERS)
    @job(lock="old")
    async def kept(job: Job, text: str) -> str:
        """Return a text."""
        return text

    @plugin.method(roles=USERS)
    @job(lock="old")
    async def sealed(job: Job, password: Secret[str]) -> int:
        """Return how long a secret is."""
        return len(password.get())

    return plugin


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def data_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give the data directory of an earlier program."""
    return laid_out(request.param, tmp_path / "data")


@pytest.fixture
async def world(data_dir: Path) -> AsyncIterator[World]:
    """Run this program on it, with the plugin in its newest form."""
    async with running_world(old_plugin(), data_dir=data_dir) as world:
        yield world


async def records(world: World, count: int = 8) -> list[dict[str, Any]]:
    """Give the records of the jobs, once all have ended."""
    async with world.admin() as wire:
        for number in range(1, count + 1):
            await wire.answer(await wire.send("core.job_wait", [number]))
        return [await wire.call("job.get", number) for number in range(1, count + 1)]


async def test_everything_is_found(world: World, data_dir: Path) -> None:
    """Results, errors, accounts and times; ids go on behind the mark."""
    said, failed, aborted, *_ = await records(world)
    assert (said["state"], said["result"]) == ("SUCCESS", {"said": "hello"})
    assert said["logs_excerpt"].endswith("said hello\n")
    assert said["logs_path"] == str(data_dir / "logs" / "1.log")
    assert said["exit"]["kind"] == "COMPLETED"
    assert (failed["state"], failed["exc_info"]["errno"]) == ("FAILED", 13)
    assert failed["exit"]["kind"] == "FAILED"
    assert (aborted["state"], aborted["exit"]["kind"]) == ("ABORTED", "STOPPED")
    async with world.user("ann") as wire:
        assert (await wire.run("t.echo", 1))["id"] > 1000


async def test_what_had_not_ended(world: World) -> None:
    """What ran lost its worker; what waited runs, if its method still takes it."""
    *_, ran, gone, changed, kept, sealed = await records(world)
    assert ran["exc_info"]["type"] == "WorkerLost"
    assert gone["exc_info"]["type"] == changed["exc_info"]["type"] == "PluginError"
    assert "old.gone of a waiting job is gone" in gone["error"]
    assert "old 2.0" in gone["error"]
    assert "no longer takes the params" in changed["error"]
    assert (kept["state"], kept["result"]) == ("SUCCESS", "kept")
    assert (sealed["state"], sealed["result"]) == ("SUCCESS", 7)


async def test_what_was_kept_is_replayed(data_dir: Path) -> None:
    """A client that was away over the change has missed nothing."""
    path = data_dir / "middlewared.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            (found,) = database.execute("SELECT epoch FROM database_epoch").fetchall()
            kept = database.execute("SELECT seq, job, msg FROM job_events").fetchall()
        except sqlite3.OperationalError:
            return  # of a program that kept no events
    async with (
        running_world(old_plugin(), data_dir=data_dir) as world,
        world.admin() as wire,
    ):
        await wire.run("t.echo", 1)
        since = {"epoch": found[0], "seq": 2}
        answer = await wire.follow("r", since=since, removed=True)
        events = wire.tagged("r")
        assert answer["recovered"] is True
        assert [e["seq"] for e in events] == list(range(3, answer["seq"] + 1))
        before = [(e["seq"], e["id"], e["msg"]) for e in events[: len(kept) - 2]]
        assert before == kept[2:]
        last = {e["id"]: e["fields"]["state"] for e in events}
        assert last.pop(max(last)) == "SUCCESS"
        assert last[1] == "SUCCESS"
        assert last[4] == "FAILED"
        answer = await wire.follow("from", since=since | {"seq": len(kept) - 1})
        assert wire.tagged("from") == [
            e | {"tag": "from"} for e in events[len(kept) - 3 :]
        ]


async def test_history_of_a_plugin_that_is_gone(data_dir: Path) -> None:
    """It is listed, shown and searched; what waited says why it failed."""
    async with running_world(data_dir=data_dir) as world:
        found = await records(world)
        assert [r["method"] for r in found[:2]] == ["old.say", "old.fail"]
        assert found[0]["result"] == {"said": "hello"}
        assert "no plugin serves 'old'" in found[6]["error"]
        async with world.admin() as wire:
            listed = await wire.call("core.get_jobs", [["method", "^", "old."]])
            assert [item["id"] for item in listed] == list(range(1, 9))
            assert await wire.call("t.echo", 1) == 1
