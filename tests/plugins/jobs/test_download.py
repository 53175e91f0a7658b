"""The log of a job as a file over HTTP: once, with its own token."""

import functools
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import httpx
import pytest
from jobs_logs import LINES, LogWorld, Tail, running_log_world
from jobs_stage import World


@pytest.fixture
async def world() -> AsyncIterator[LogWorld]:
    """Run a server with jobs that write logs."""
    async with running_log_world() as world:
        yield world


async def fetch(world: World, path: str, method: str = "GET") -> httpx.Response:
    """Ask for a path over HTTP."""
    call = functools.partial(
        httpx.request, method, f"{world.server.url}{path}", trust_env=False
    )
    return await anyio.to_thread.run_sync(call)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_download_gives_the_log_once(world: LogWorld, method: str) -> None:
    """The path works once, gives all bytes, and names the file."""
    await world.add_user("ann")
    async with world.user("ann") as wire:
        job = (await wire.run("w.text", LINES))["id"]
        path = await wire.call("core.job_download_logs", job, f"{job}.log")
        assert path.startswith(f"/_download/{job}?auth_token=")
        answer = await fetch(world, path, method)
        assert (answer.status_code, answer.content) == (200, LINES.encode())
        assert answer.headers["content-type"] == "application/octet-stream"
        disposition = answer.headers["content-disposition"]
        assert disposition.startswith("attachment")
        assert f"{job}.log" in disposition
        assert (await fetch(world, path, method)).status_code in (401, 410)


async def test_download_over_the_unix_socket_login(world: LogWorld) -> None:
    """Who is logged in on the unix socket downloads over the port."""
    async with world.admin() as wire:
        job = (await wire.run("w.text", LINES))["id"]
        path = await wire.call("core.job_download_logs", job, "x.log", True)
        assert (await fetch(world, path)).status_code == 200


async def test_download_of_a_running_job(world: LogWorld) -> None:
    """A job that runs gives the log as it is by then."""
    async with world.admin() as wire:
        job = await wire.start("w.pieces")
        await wire.event(job, "RUNNING")
        tail = await Tail(wire, id=job, offset=0).subscribe()
        await world.writer.send.send(b"so far\n")
        await tail.wait_text("so far\n")
        path = await wire.call("core.job_download_logs", job, "x.log")
        assert (await fetch(world, path)).content == b"so far\n"


async def test_download_needs_its_own_token(world: LogWorld) -> None:
    """No token, a wrong one, one for another job or for a login: 401."""
    await world.add_user("ann")
    async with world.user("ann") as wire:
        job = (await wire.run("w.text", LINES))["id"]
        other = (await wire.run("w.text", LINES))["id"]
        path = await wire.call("core.job_download_logs", job, "x.log")
        token = path.partition("auth_token=")[2].partition("&")[0]
        login = await wire.call("auth.generate_token")
        for wrong in (
            f"/_download/{job}",
            f"/_download/{job}?auth_token=wrong",
            f"/_download/{other}?auth_token={token}",
            f"/_download/{job}?auth_token={login}",
        ):
            assert (await fetch(world, wrong)).status_code == 401
        assert (await wire.fail("auth.login_ex", {"mechanism": "?"})).code == -32602
        entered = await wire.call("auth.login_with_token", token)
        assert entered is False


@pytest.mark.parametrize("name", ["x", "1x", "-1", "%31%ff", "\u0661", ""])
async def test_download_of_no_number_is_404(world: LogWorld, name: str) -> None:
    """What is no number names no download."""
    answer = await fetch(world, f"/_download/{name}?auth_token=x")
    assert answer.status_code == 404


async def test_download_of_a_removed_log_is_410(world: LogWorld) -> None:
    """A log that is gone is told so; reading it is an error, not a crash."""
    async with world.admin() as wire:
        final = await wire.run("w.text", LINES)
        path = await wire.call("core.job_download_logs", final["id"], "x.log")
        await anyio.Path(final["logs_path"]).unlink()
        assert (await fetch(world, path)).status_code == 410
        error = await wire.fail("job.read_log", final["id"])
        assert error.code == -32001


@pytest.mark.parametrize("name", ['a"b.log', "a\r\nb: c", "../../etc/x", "\u00e9.log"])
async def test_download_takes_any_name(world: LogWorld, name: str) -> None:
    """Whatever the name of the file is, it stays inside its header."""
    async with world.admin() as wire:
        job = (await wire.run("w.text", LINES))["id"]
        path = await wire.call("core.job_download_logs", job, name)
        answer = await fetch(world, path)
        assert answer.status_code == 200
        assert "b" not in answer.headers
        assert "\n" not in answer.headers["content-disposition"]
