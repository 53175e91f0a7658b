"""Results over ``max_result``: a file, and a download of it."""

import errno
import functools
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import jobs_in_children
import pytest
from jobs_stage import USERS, World, running_world
from jobs_wire import Wire

from middlewared import Plugin
from middlewared.client import RemoteError
from middlewared_jobs import Job, job
from middlewared_jobs.largeresult import keep_large
from middlewared_jobs.outcome import TOO_LARGE, EncodedResult
from middlewared_jobs.record import EncodingFailure

LIMIT = 100_000
#: Bytes of a very large one.
SIZE = (200 if os.environ.get("SOAK") else 20) * 10**6
LARGE = EncodedResult(
    None, None, EncodingFailure(TOO_LARGE, "too much"), [b'"lar', b'ge"']
)


def large_plugin() -> Plugin:
    """Declare a job in a thread with a large result."""
    plugin = Plugin("large", requires=("jobs",))

    @plugin.method(roles=USERS)
    @job
    def text(job: Job, size: int) -> str:
        """Return a long text."""
        return "x" * size

    return plugin


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Run a server that the tests of this module share."""
    settings: dict[str, Any] = {"max_result": LIMIT, "disk_reserve": 0}
    plugins = large_plugin(), jobs_in_children.plugin
    async with running_world(*plugins, **settings) as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin that watches jobs."""
    async with world.admin() as wire:
        yield wire


async def fetch(world: World, path: str) -> httpx.Response:
    """Ask for a path over HTTP."""
    call = functools.partial(httpx.get, f"{world.server.url}{path}", trust_env=False)
    return await anyio.to_thread.run_sync(call)


async def downloaded(world: World, number: int) -> bytes:
    """Download a result with the client for Python."""
    async with (
        world.server.client() as client,
        client.download_result(number) as found,
    ):
        return b"".join([piece async for piece in found])


def results(world: World) -> Path:
    """Give the folder of results."""
    return world.server.app.settings.data_path / "results"


# Keeping one.


def test_what_fits_passes(tmp_path: Path) -> None:
    """Only a large result becomes a file."""
    small = EncodedResult(b"1", b"1", None)
    assert keep_large(small, tmp_path / "results" / "1.json", 0) is small
    assert list(tmp_path.iterdir()) == []


def test_a_large_one_is_written(tmp_path: Path) -> None:
    """The file is private, has its bytes, and the one of an earlier attempt is gone."""
    path = tmp_path / "results" / "1.json"
    keep_large(LARGE, path, 0)
    kept = keep_large(LARGE, path, 0)
    assert path.read_bytes() == b'"large"'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert kept.failure is not None
    assert kept.failure.repr == "too much; job.result gives it as a download"
    assert kept.large is None


@pytest.mark.parametrize("reserve", [0, 2**62])
def test_a_full_disk_fails_no_job(tmp_path: Path, reserve: int) -> None:
    """What cannot be written is said, and leaves nothing behind."""
    path = tmp_path / "results" / "1.json"
    if not reserve:
        path.parent.write_text("a file is in the way")
    kept = keep_large(LARGE, path, reserve)
    assert kept.failure is not None
    assert kept.failure.type == TOO_LARGE
    assert "could not be kept in a file: " in kept.failure.repr
    assert not path.exists()
    assert reserve == 0 or list(path.parent.iterdir()) == []


# Through a server.


@pytest.mark.parametrize("method", ["t.echo", "large.text", "p.large"])
async def test_large_results_are_downloaded(
    world: World, admin: Wire, method: str
) -> None:
    """From the loop, a thread and a child; item and waiters say that it is large."""
    params: list[Any] = ["x" * LIMIT] if method == "t.echo" else [LIMIT]
    call = await admin.send(method, params)
    item = await admin.final(await admin.started(call))
    assert (item["state"], item["result"]) == ("SUCCESS", None)
    assert item["result_encoding_error"]["type"] == TOO_LARGE
    assert "job.result" in item["result_encoding_error"]["repr"]
    assert (await admin.answer(call))["error"]["data"]["error"] == errno.EMSGSIZE
    path = await admin.call("job.result", item["id"])
    answer = await fetch(world, path)
    assert answer.json() == "x" * LIMIT
    assert f"{item['id']}.json" in answer.headers["content-disposition"]
    assert (await fetch(world, path)).status_code in (401, 410)
    await admin.call("job.delete", item["id"])
    assert not (results(world) / f"{item['id']}.json").exists()


async def test_small_results_are_downloaded_too(world: World, admin: Wire) -> None:
    """So a client need not know which is which."""
    number = (await admin.run("t.echo", {"a": [1]}))["id"]
    assert await downloaded(world, number) == b'{"a":[1]}'


async def test_what_there_is_no_download_of(world: World, admin: Wire) -> None:
    """Jobs of others, unfinished and failed ones, and what could not be kept."""
    await world.add_user("eve")
    number = (await admin.run("t.echo", 1))["id"]
    async with world.user("eve") as eve:
        assert (await eve.fail("job.result", number)).errno == errno.EPERM
    held = await admin.start("t.hold", "no result")
    error = await admin.fail("job.result", held)
    assert "only one that succeeded has a result" in error.reason
    await admin.call("core.job_abort", held)
    number = (await admin.run("t.echo", "x" * LIMIT))["id"]
    path = await admin.call("job.result", number)
    (results(world) / f"{number}.json").unlink()
    assert (await fetch(world, path)).status_code == 410
    assert (await admin.fail("job.result", number)).errno == errno.ENOENT
    async with world.server.client() as client:
        with pytest.raises(RemoteError):
            async with client.download_result(number):
                pass


async def test_a_very_large_result() -> None:
    """With the limits as they are by default."""
    size = SIZE
    plugins = large_plugin(), jobs_in_children.plugin
    async with running_world(*plugins) as world, world.admin() as wire:
        for method in ("large.text", "p.large"):
            item = await wire.run(method, size)
            assert item["result_encoding_error"]["type"] == TOO_LARGE
            assert len(await downloaded(world, item["id"])) == size + 2
