"""The output of a job over HTTP: byte-exact at its client's pace, or visibly broken."""

import functools
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.to_thread
import httpx
import jobs_pipes
import pytest
from jobs_pipes import KINDS, noise, sha256
from jobs_stage import World, running_world
from jobs_wire import PATIENCE, Wire, is_event
from process_table import wait_in_thread

MIB = 2**20
#: Seconds without an event after which nothing moves; progress comes more often.
STILL = 0.6


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Run a server that the tests of this module share."""
    async with running_world(jobs_pipes.plugin, disk_reserve=0) as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin that watches jobs, new answer style."""
    async with world.admin() as wire:
        yield wire


async def fetch(world: World, path: str, **options: Any) -> httpx.Response:
    """Ask for a path over HTTP."""
    url = f"{world.server.url}{path}"
    call = functools.partial(httpx.request, "GET", url, trust_env=False, **options)
    return await anyio.to_thread.run_sync(call)


class Slow:
    """A client that reads as much as a test says."""

    def __init__(self, world: World, path: str, version: str = "1.1") -> None:
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000)
        self.sock.connect(("127.0.0.1", world.server.server.port))
        request = f"GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\n"
        self.sock.sendall(request.encode())

    async def read(self, size: int) -> bytes:
        """Read so many bytes, or what there is until the end."""
        return await anyio.to_thread.run_sync(self._read, size)

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            data = self.sock.recv(min(size - len(found), 1 << 16))
            if not data:
                break
            found += data
        return bytes(found)

    async def read_until(self, end: bytes) -> None:
        """Read up to some bytes."""
        found = b""
        while not found.endswith(end):
            found += await self.read(1)

    async def read_all(self) -> bytes:
        """Read to the end.

        Raises:
            ConnectionResetError: it was cut.
        """
        return await self.read(2**40)

    def close(self) -> None:
        """Go away."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def start(wire: Wire, method: str, *params: Any, again: bool = False) -> Any:
    """Start a job and give its id and the path of its output."""
    return await wire.call("core.download", f"pipes.{method}", params, "x.bin", again)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
async def test_each_byte_arrives(
    world: World, admin: Wire, kind: str, size: int, again: bool
) -> None:
    """From each kind of body, directly or over a file."""
    job, path = await start(admin, f"stream_{kind}", size, again=again)
    assert path.startswith(f"/_download/{job}?auth_token=")
    answer = await fetch(world, path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="x.bin"'
    assert answer.content == noise(size)
    item = await admin.final(job)
    assert (item["result"], item["message_ids"]) == (sha256(noise(size)), [])


async def test_job_is_announced_before_the_answer(admin: Wire) -> None:
    """Clients look for the job of the answer among those they know."""
    number = await admin.send("core.download", ["pipes.stream_loop", [1], "x"])
    job, _ = await admin.result(number)
    added = admin.place(lambda f: f.get("params", {}).get("id") == job)
    assert added < admin.place(lambda f: f.get("id") == number)
    assert admin.events(job)[0]["msg"] == "added"


@pytest.mark.parametrize(
    ("call", "code", "extra"),
    [
        (["no.such", []], -32602, [["method", "Method 'no.such' does not exist", 2]]),
        (["core.ping", []], -32602, [["method", "core.ping gives no download", 22]]),
        (
            ["pipes.ignore", []],
            -32602,
            [["method", "pipes.ignore gives no download", 22]],
        ),
        (
            ["pipes.stream_loop", ["x"]],
            -32602,
            [["size", "Expected `int`, got `str`", 22]],
        ),
        (["pipes.both", []], -32001, None),
    ],
)
async def test_what_cannot_be_downloaded(
    admin: Wire, call: list[Any], code: int, extra: Any
) -> None:
    """The method is looked at as in a call; there is no job then."""
    error = await admin.fail("core.download", *call, "x")
    assert (error.code, error.data["extra"]) == (code, extra)
    assert not any(event["msg"] == "added" for event in admin.events())


async def test_rights_count(world: World, admin: Wire) -> None:
    """Who may not call the method may not download; nobody fetches for others."""
    for name, role in (
        ("ann", "JOB_USER"),
        ("eve", "READONLY_ADMIN"),
        ("bob", "JOB_USER"),
    ):
        await world.add_user(name, role)
    async with world.user("eve") as eve:
        assert (
            await eve.fail("core.download", "pipes.stream_loop", [1], "x")
        ).errno == 13
    async with world.user("ann") as ann, world.user("bob") as bob:
        job, _ = await start(ann, "stream_loop", 5)
        token = await bob.call("auth.generate_token", 60, {"job": job})
        answer = await fetch(world, f"/_download/{job}?auth_token={token}")
        assert answer.status_code == 403


async def test_token_of_ones_own(world: World, admin: Wire) -> None:
    """A token that a client made for the job gives its output, once."""
    job, _ = await start(admin, "stream_loop", 5)
    token = await admin.call("auth.generate_token", 60, {"job": job}, False)
    path = f"/_download/{job}?auth_token={token}"
    assert (await fetch(world, path)).content == noise(5)
    assert (await fetch(world, path)).status_code == 410


# Directly.


async def test_once(world: World, admin: Wire) -> None:
    """The path works once; looking at the head does not use it up."""
    _, path = await start(admin, "stream_loop", 5)
    head = functools.partial(httpx.head, f"{world.server.url}{path}", trust_env=False)
    assert (await anyio.to_thread.run_sync(head)).status_code == 405
    assert (await fetch(world, path)).content == noise(5)
    assert (await fetch(world, path)).status_code == 401


@pytest.mark.parametrize("kind", KINDS)
async def test_job_waits_for_its_client(world: World, admin: Wire, kind: str) -> None:
    """It is as far as its client; no more than some buffers are between them."""
    job, path = await start(admin, f"stream_{kind}", 20 * MIB)
    with Slow(world, path) as client:
        await client.read(100_000)
        still = False
        while not still:
            with anyio.move_on_after(STILL) as scope:
                await admin.wait(is_event, since=len(admin.frames))
            still = scope.cancelled_caught
        item = admin.events(job)[-1]["fields"]
        assert item["state"] == "RUNNING"
        assert item["progress"]["percent"] < 50


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method", ["stream_loop", "stream_thread", "stream_process"])
async def test_job_that_fails_in_the_middle(
    world: World, admin: Wire, method: str, version: str
) -> None:
    """The connection is reset, so that nobody takes it for the end."""
    job, path = await start(admin, method, MIB, 500_000)
    with Slow(world, path, version) as client, pytest.raises(ConnectionResetError):
        await client.read_all()
    assert (await admin.final(job))["error"] == "[EIO] in the middle"


async def test_process_that_dies_in_the_middle(world: World, admin: Wire) -> None:
    """What it wrote is no download."""
    job, path = await start(admin, "die", 1000)
    with Slow(world, path) as client, pytest.raises(ConnectionResetError):
        await client.read_all()
    assert (await admin.final(job))["exc_info"]["type"] == "WorkerLost"


@pytest.mark.parametrize("again", [False, True])
async def test_job_that_fails_at_once(world: World, admin: Wire, again: bool) -> None:
    """Who has got nothing yet is told why."""
    job, path = await start(admin, "stream_loop", 1000, 0, again=again)
    answer = await fetch(world, path)
    assert answer.status_code == 500
    assert answer.text == f"Job {job} failed: [EIO] in the middle\n"


@pytest.mark.parametrize("kind", KINDS)
async def test_abort_meanwhile(world: World, admin: Wire, kind: str) -> None:
    """A body that waits for its client ends at once, and the client is cut off."""
    job, path = await start(admin, f"stream_{kind}", 20 * MIB)
    with Slow(world, path) as client:
        await client.read(100_000)
        await admin.call("core.job_abort", job)
        assert (await admin.final(job))["state"] == "ABORTED"
        with pytest.raises(ConnectionResetError):
            await client.read_all()


@pytest.mark.parametrize("kind", KINDS)
async def test_client_that_goes(world: World, admin: Wire, kind: str) -> None:
    """The job fails with its next byte."""
    job, path = await start(admin, f"stream_{kind}", 20 * MIB)
    with Slow(world, path) as client:
        await client.read(100_000)
    item = await admin.final(job)
    assert (item["exc_info"]["errno"], item["state"]) == (32, "FAILED")
    assert item["error"] == "[Errno 32] the client of the download took no more"


async def test_end_of_the_output_is_not_that_of_the_job(
    world: World, admin: Wire
) -> None:
    """A download is complete when the job is."""
    job, path = await start(admin, "slowly")
    with Slow(world, path) as client:
        await client.read_until(b"a little")
        await admin.call("core.job_abort", job)
        with pytest.raises(ConnectionResetError):
            await client.read_all()


async def test_program_writes_it(world: World, admin: Wire) -> None:
    """A pipe is one of the system's."""
    _, path = await start(admin, "let_write", 1_000_000)
    assert (await fetch(world, path)).content == bytes(1_000_000)


async def test_clients_that_do_not_come_or_stall() -> None:
    """They are given up, and the job is told which it was."""
    async with (
        running_world(
            jobs_pipes.plugin, transfer_stall=0.3, download_wait=0.5
        ) as world,
        world.admin() as admin,
    ):
        late, path = await start(admin, "stream_thread", 20 * MIB)
        stalling, stalled_path = await start(admin, "stream_thread", 20 * MIB)
        with Slow(world, stalled_path) as client:
            item = await admin.final(late)
            assert item["error"] == "[Errno 32] nobody came for the download"
            item = await admin.final(stalling)
            why = "the client of the download took no more"
            assert item["error"] == f"[Errno 32] {why}"
            with pytest.raises(ConnectionResetError):
                await client.read_all()
        assert (await fetch(world, path)).status_code == 410


async def test_places_are_limited() -> None:
    """EBUSY for a download too many; a place is given back."""
    async with (
        running_world(jobs_pipes.plugin, max_transfers=1, disk_reserve=0) as world,
        world.admin() as admin,
    ):
        job, path = await start(admin, "stream_loop", 5)
        refused = await admin.fail("core.download", "pipes.stream_loop", [1], "x")
        assert refused.errno == 16
        assert (await fetch(world, path)).content == noise(5)
        await admin.final(job)
        bad = await admin.fail("core.download", "pipes.both", [], "x")
        assert bad.errno == 22
        await start(admin, "stream_loop", 5, again=True)


async def test_stop_meanwhile() -> None:
    """The client is cut off, the job ended like any other."""
    async with (
        running_world(jobs_pipes.plugin, kernel={"close_timeout": 0.05}) as world,
        world.admin() as admin,
    ):
        job, path = await start(admin, "stream_thread", 20 * MIB)
        with Slow(world, path, "1.0") as client:
            await client.read(100_000)
            async with anyio.create_task_group() as group:
                group.start_soon(world.server.app._stop, world.server.server)
                item = await admin.final(job)
            assert item["exc_info"]["type"] == "ServerStopped"
            with pytest.raises(ConnectionResetError):
                await client.read_all()


# Over a file.


async def test_parts(world: World, admin: Wire) -> None:
    """Parts are given as long as nothing changed (RFC 9110, 13 and 14)."""
    _, path = await start(admin, "stream_loop", MIB, again=True)
    whole = noise(MIB)
    first = await fetch(world, path)
    tag = first.headers["etag"]
    for headers, status, body in (
        ({}, 200, whole),
        ({"Range": "bytes=10-19"}, 206, whole[10:20]),
        ({"Range": f"bytes={MIB - 5}-"}, 206, whole[-5:]),
        ({"Range": "bytes=-7"}, 206, whole[-7:]),
        ({"Range": f"bytes={MIB}-"}, 416, b""),
        ({"Range": "bytes=5-", "If-Range": tag}, 206, whole[5:]),
        ({"Range": "bytes=5-", "If-Range": '"other"'}, 200, whole),
    ):
        answer = await fetch(world, path, headers=headers)
        assert (answer.status_code, answer.content) == (status, body), headers
        if status == 206:
            assert answer.headers["etag"] == tag
            assert answer.headers["content-range"].endswith(f"/{MIB}")
    several = await fetch(world, path, headers={"Range": "bytes=0-1,5-6"})
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert several.status_code == 206


async def test_resumed_where_it_broke_off(world: World, admin: Wire) -> None:
    """Also by a client that came before the end; what it had is the beginning."""
    job, path = await start(admin, "slowly", again=True)
    with Slow(world, path) as client:
        await client.read_until(b"a little")
    async with anyio.create_task_group() as group:
        group.start_soon(fetch_failed, world, path)
        await admin.call("core.job_abort", job)


async def fetch_failed(world: World, path: str) -> None:
    """Ask for the rest of what is aborted."""
    answer = await fetch(world, path, headers={"Range": "bytes=3-"})
    assert answer.status_code == 500
    assert "was aborted" in answer.text


@pytest.mark.parametrize(
    ("settings", "number"),
    [({"max_download": 300_000}, 27), ({"disk_reserve": 2**60}, 28)],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_does_not_fit(
    kind: str, settings: dict[str, Any], number: int
) -> None:
    """A job whose output cannot be kept fails, even if it has written everything."""
    async with (
        running_world(jobs_pipes.plugin, **settings) as world,
        world.admin() as admin,
    ):
        for size in (310_000, 3 * MIB):
            job, path = await start(admin, f"stream_{kind}", size, again=True)
            item = await admin.final(job)
            assert (item["state"], item["exc_info"]["errno"]) == ("FAILED", number)
            assert (await fetch(world, path)).status_code == 500


async def test_file_goes_after_its_time(tmp_path: Path) -> None:
    """It has no name, and is closed when its time is over."""
    async with (
        running_world(
            jobs_pipes.plugin, data_dir=tmp_path, disk_reserve=0, download_keep=1.5
        ) as world,
        world.admin() as admin,
    ):
        _, path = await start(admin, "stream_loop", 1000, again=True)
        assert (await fetch(world, path)).content == noise(1000)
        assert await wait_in_thread(lambda: not open_below(tmp_path / "downloads"))
        assert (await fetch(world, path)).status_code == 410
        assert list((tmp_path / "downloads").iterdir()) == []


def open_below(folder: Path) -> list[str]:
    """List what this process has open in a folder."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return [name for name in found if name.startswith(f"{folder}/")]
