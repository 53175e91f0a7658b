"""The whole life of jobs, on the real program, as a person would meet it."""

import sysconfig
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
from jobs_wire import open_wire
from server_process import ADMIN_PASSWORD, ServerProcess

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
ADMIN = ("admin", ADMIN_PASSWORD)


async def test_real_jobs_on_real_files(server_process: ServerProcess) -> None:
    """A checksum, an archive and disk use run side by side and are found again."""
    async with open_wire(server_process.ws_url, login=ADMIN, watch=True) as wire:
        requests = [
            ("demo.checksum", [str(LIBRARY / "email")]),
            ("demo.archive", [str(LIBRARY / "email"), "email.tar.gz"]),
            ("demo.disk_usage", [str(LIBRARY / "email")]),
        ]
        numbers = await wire.send_many(requests)
        jobs = [await wire.started(number) for number in numbers]
        ends = [await wire.final(job) for job in jobs]
        assert [end["state"] for end in ends] == ["SUCCESS"] * 3
        checksum, archive, usage = (end["result"] for end in ends)
        count = sum(1 for path in (LIBRARY / "email").rglob("*") if path.is_file())
        assert checksum["files"] == archive["files"] == count
        assert await anyio.Path(archive["path"]).is_file()
        assert usage[0]["path"] == str(LIBRARY / "email")
        for number, job, end in zip(numbers, jobs, ends, strict=True):
            assert wire.moves(job) == ["WAITING", "RUNNING", "SUCCESS"]
            assert await wire.result(number) == end["result"]
            assert end["logs_excerpt"]
            path = await wire.call("core.job_download_logs", job, f"{job}.log")
            url = f"{server_process.url}{path}"
            answer = await anyio.to_thread.run_sync(httpx.get, url)
            assert answer.text == await anyio.Path(end["logs_path"]).read_text()
        assert await wire.call("core.get_jobs") == ends


async def test_job_is_watched_by_others(server_process: ServerProcess) -> None:
    """What one client starts, another follows, reads and aborts."""
    url = server_process.ws_url
    async with (
        open_wire(url, login=ADMIN, watch=True) as screen,
        open_wire(url, login=ADMIN, watch=True) as script,
    ):
        number = await script.send("demo.sleep", [60, 600])
        job = await screen.started(number)
        await screen.wait(
            lambda f: (
                "params" in f and f["params"]["fields"]["progress"]["percent"] == 1
            )
        )
        await screen.call("core.job_abort", job)
        assert (await script.final(job))["state"] == "ABORTED"
        error = (await script.answer(number))["error"]
        assert error["data"]["errname"] == "ECANCELED"


async def test_job_goes_on_without_its_client(server_process: ServerProcess) -> None:
    """The job of a client that went away is found by the id of its request."""
    url = server_process.ws_url
    async with open_wire(url, login=ADMIN) as wire:
        await wire.send("demo.sleep", [0.5, 2], id="my-own-id")
        await wire.call("core.ping")
    async with open_wire(url, login=ADMIN, watch=True) as wire:
        mine = [["message_ids", "rin", "my-own-id"]]
        item = await wire.call("core.get_jobs", mine, {"get": True})
        # A timer of the loop counts whole milliseconds from the beginning of its tick.
        assert await wire.call("core.job_wait", item["id"]) >= 0.49
        item = await wire.call("core.get_jobs", mine, {"get": True})
        assert item["state"] == "SUCCESS"
        assert item["credentials"]["data"]["username"] == "admin"
