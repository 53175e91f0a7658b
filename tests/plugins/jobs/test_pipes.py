"""Bodies that read uploads: in the loop, in threads, in child processes, anywhere."""

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import jobs_pipes
import pytest
from jobs_pipes import KINDS, Uploader, noise, sha256, uploading
from jobs_stage import World, running_world
from jobs_wire import Frame, Wire, is_event
from process_table import wait_in_thread

#: Seconds without a move after which nobody takes more.
STILL = 0.25


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    """Run a server that the tests of this module share."""
    async with running_world(jobs_pipes.plugin) as world:
        yield world


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Wire]:
    """Connect a full admin that watches jobs, new answer style."""
    async with world.admin() as wire:
        yield wire


def port_of(world: World) -> tuple[str, int]:
    """Give the address of a server."""
    return "127.0.0.1", world.server.server.port


async def target_for(wire: Wire) -> str:
    """Give the path of an upload that is allowed."""
    token = await wire.call("auth.generate_token", 600, {}, False)
    return f"/_upload?auth_token={token}"


@pytest.fixture
async def upload(world: World, admin: Wire) -> AsyncIterator[Uploader]:
    """Begin an upload as a full admin."""
    async with uploading(port_of(world), await target_for(admin)) as uploader:
        yield uploader


async def only_job(wire: Wire) -> int:
    """Wait for the only job that a connection has seen begin; give its id."""
    frame = await wire.wait(is_added)
    return int(frame["params"]["id"])


def is_added(frame: Frame) -> bool:
    """Tell whether a frame shows a new job."""
    return is_event(frame) and frame["params"]["msg"] == "added"


@pytest.mark.parametrize("kind", KINDS)
async def test_files_arrive_as_they_were(
    upload: Uploader, admin: Wire, kind: str
) -> None:
    """Each byte of each file, with its name; also of none, and of many pipes full."""
    files = [noise(size, size) for size in (300_001, 0, 1, 1_000_000, 65_536)]
    await upload.want(f"pipes.count_{kind}")
    for number, data in enumerate(files):
        await upload.file(data, f"{number}.bin")
    answer = await upload.finish()
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    job = await only_job(admin)
    assert answer.text == f'{{"job_id":{job}}}'
    item = await admin.final(job)
    assert item["message_ids"] == []
    assert [tuple(found.values()) for found in item["result"]] == [
        (f"{number}.bin", len(data), sha256(data)) for number, data in enumerate(files)
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_not_read_is_dropped(
    upload: Uploader, admin: Wire, kind: str
) -> None:
    """A body that goes on to the next file gets its beginning."""
    await upload.want(f"pipes.taste_{kind}", 4)
    for letter in (b"a", b"b", b"c"):
        await upload.file(letter * 300_000)
    assert (await upload.finish()).status == 200
    item = await admin.final(await only_job(admin))
    assert item["result"] == ["aaaa", "bbbb", "cccc"]


@pytest.mark.parametrize("fail", [False, True])
async def test_body_that_reads_nothing(
    upload: Uploader, admin: Wire, fail: bool
) -> None:
    """The rest is taken and dropped, and the answer tells the job."""
    await upload.want("pipes.ignore", fail)
    await upload.begin_file(noise(1000))
    item = await admin.final(await only_job(admin))
    assert item["state"] == ("FAILED" if fail else "SUCCESS")
    await upload.piece(noise(1_000_000) + b"\r\n")
    await upload.file(noise(200_000))
    assert (await upload.finish()).status == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_client_that_goes(upload: Uploader, admin: Wire, kind: str) -> None:
    """The body gets an error, never the end of the file."""
    await upload.want(f"pipes.count_{kind}")
    await upload.begin_file(noise(100_000))
    await admin.event(await only_job(admin), "RUNNING")
    upload.close()
    item = await admin.final(await only_job(admin))
    assert item["state"] == "FAILED"
    assert item["error"] == "[Errno 104] the client of the upload is gone"
    assert item["exc_info"]["type"] == "ConnectionResetError"


@pytest.mark.parametrize("kind", KINDS)
async def test_client_that_goes_between_files(
    upload: Uploader, admin: Wire, kind: str
) -> None:
    """Nor does it get the end of the files."""
    await upload.want(f"pipes.count_{kind}")
    await upload.file(noise(100))
    await admin.event(await only_job(admin), "RUNNING")
    upload.close()
    item = await admin.final(await only_job(admin))
    assert item["exc_info"]["type"] == "ConnectionResetError"


async def test_client_that_stalls() -> None:
    """Silence is no end either; the connection is reset."""
    async with (
        running_world(jobs_pipes.plugin, transfer_stall=STILL) as world,
        world.admin() as admin,
        uploading(port_of(world), await target_for(admin)) as upload,
    ):
        await upload.want("pipes.count_thread")
        await upload.begin_file(noise(100))
        item = await admin.final(await only_job(admin))
        why = "the client of the upload sent nothing more"
        assert item["error"] == f"[Errno 104] {why}"
        assert await upload.http.is_closed()


@pytest.mark.parametrize("kind", KINDS)
async def test_abort_meanwhile(upload: Uploader, admin: Wire, kind: str) -> None:
    """A body that waits for more ends at once; the client learns it from the job."""
    await upload.want(f"pipes.count_{kind}")
    await upload.begin_file(noise(100))
    job = await only_job(admin)
    await admin.event(job, "RUNNING")
    await admin.call("core.job_abort", job)
    assert (await admin.final(job))["state"] == "ABORTED"
    await upload.piece(noise(1_000_000) + b"\r\n")
    assert (await upload.finish()).text == f'{{"job_id":{job}}}'


async def test_files_of_the_library_read_it(upload: Uploader, admin: Wire) -> None:
    """A pipe is a file for whatever takes files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("one", "two"):
            info = tarfile.TarInfo(name)
            info.size = 100_000
            tar.addfile(info, io.BytesIO(noise(100_000)))
    await upload.want("pipes.unpack")
    await upload.file(packed.getvalue())
    assert (await upload.finish()).status == 200
    item = await admin.final(await only_job(admin))
    assert item["result"] == ["one", "two"]


async def test_program_reads_it(upload: Uploader, admin: Wire) -> None:
    """A pipe is one of the system's."""
    await upload.want("pipes.hand_on")
    await upload.file(noise(500_000))
    assert (await upload.finish()).status == 200
    item = await admin.final(await only_job(admin))
    assert item["result"] == sha256(noise(500_000))


async def test_program_reads_a_broken_one(upload: Uploader, admin: Wire) -> None:
    """The program cannot tell, its body can."""
    await upload.want("pipes.hand_on")
    await upload.begin_file(noise(500_000))
    await admin.event(await only_job(admin), "RUNNING")
    upload.close()
    item = await admin.final(await only_job(admin))
    assert item["exc_info"]["type"] == "ConnectionResetError"


async def test_pipes_that_may_be_missing(upload: Uploader, admin: Wire) -> None:
    """With check_pipes off the body looks for itself."""
    assert await admin.call("pipes.optional") == -1
    error = await admin.fail("pipes.insist")
    assert error.reason == "[EINVAL] Pipe 'output' is not open"
    await upload.want("pipes.optional")
    await upload.file(b"four")
    assert (await upload.finish()).status == 200


async def test_missing_pipe_is_refused_before_a_job(admin: Wire) -> None:
    """A call by JSON-RPC has no pipes."""
    for method, pipe in (("count_loop", "input"), ("stream_loop", "output")):
        error = await admin.fail(f"pipes.{method}", *([1] if pipe == "output" else []))
        assert (error.code, error.errno) == (-32001, 22)
        assert error.reason == f"[EINVAL] Pipe {pipe!r} is not open"
    assert not any(map(is_added, admin.frames))


async def test_both_pipes_cannot_be_had_at_once(upload: Uploader) -> None:
    """An upload has no output."""
    await upload.want("pipes.both")
    await upload.begin_file(b"x")
    answer = await upload.answer()
    assert answer.status == 412
    assert answer.text == "[EINVAL] Pipe 'output' is not open\n"


async def test_client_waits_for_the_job(world: World, admin: Wire) -> None:
    """What a job does not read yet stays with the client; memory does not grow."""
    size = 16_000_000
    target = await target_for(admin)
    async with (
        uploading(port_of(world), target) as first,
        uploading(port_of(world), target) as second,
        uploading(port_of(world), target) as third,
    ):
        await first.want("pipes.shelve")
        await first.begin_file(b"1")
        await admin.event(await only_job(admin), "RUNNING")
        await second.want("pipes.shelve")
        sent = await push(second, noise(size))
        assert sent < size / 2
        # A job that reads an upload is not shared.
        await third.want("pipes.shelve")
        await third.begin_file(b"3")
        refused = await third.answer()
        assert (refused.status, refused.text[:7]) == (412, "[EBUSY]")
        await first.piece(b"\r\n")
        assert (await first.finish()).status == 200
        await second.http.send(file_of(noise(size))[sent:])
        answer = await second.finish()
    job = int(answer.text.strip('{}"').partition(":")[2])
    assert (await admin.final(job))["result"] == size


def file_of(data: bytes) -> bytes:
    """Give a part as one chunk of the body."""
    part = jobs_pipes.Part("file", data)
    body = part.head() + data + b"\r\n"
    return b"%x\r\n%b\r\n" % (len(body), body)


async def push(upload: Uploader, data: bytes) -> int:
    """Send a file until nobody takes more for a while; give how much was taken."""
    sock, rest = upload.http.wire.sock, memoryview(file_of(data))
    whole = len(rest)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            with anyio.move_on_after(STILL) as scope:
                await anyio.wait_writable(sock)
            if scope.cancelled_caught:
                break
    return whole - len(rest)


@pytest.mark.parametrize(
    ("kind", "instead"), [("loop", "await receive()"), ("thread", "read()")]
)
async def test_bodies_wait_in_their_own_way(
    upload: Uploader, admin: Wire, kind: str, instead: str
) -> None:
    """A body that would stop the server is told what to do, and the reverse."""
    await upload.want(f"pipes.wrong_way_{kind}")
    await upload.file(b"x")
    assert (await upload.finish()).status == 200
    item = await admin.final(await only_job(admin))
    assert item["exc_info"]["type"] == "UnsupportedOperation"
    assert instead in item["error"]


def count_descriptors() -> int:
    """Count what this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def use_all(world: World, wire: Wire) -> None:
    """Upload to each kind of body, to the end and not; wait until all jobs ended."""
    since, target = len(wire.frames), await target_for(wire)
    for kind in KINDS:
        for complete in (True, False):
            async with uploading(port_of(world), target) as upload:
                await upload.want(f"pipes.count_{kind}")
                await upload.file(b"x")
                if complete:
                    await upload.finish()
    jobs: set[int] = set()
    while len(jobs) < 2 * len(KINDS):
        event = await wire.wait(is_added, since=since)
        since = wire.frames.index(event, since) + 1
        jobs.add(event["params"]["id"])
    for job in jobs:
        await wire.final(job)


async def test_nothing_is_left_open(world: World, admin: Wire) -> None:
    """Descriptors come back, however an upload ended."""
    await use_all(world, admin)  # so that the pool has its children
    before = count_descriptors()
    await use_all(world, admin)
    assert await wait_in_thread(lambda: count_descriptors() <= before)


async def test_stop_meanwhile(tmp_path: Path) -> None:
    """The job is ended like any other, and the client is cut off."""
    async with (
        running_world(jobs_pipes.plugin, kernel={"close_timeout": 0.05}) as world,
        world.admin() as admin,
    ):
        target = await target_for(admin)
        async with uploading(port_of(world), target) as upload:
            await upload.want("pipes.count_thread")
            await upload.begin_file(b"x")
            job = await only_job(admin)
            await admin.event(job, "RUNNING")
            async with anyio.create_task_group() as group:
                group.start_soon(world.server.app._stop, world.server.server)
                item = await admin.final(job)
            assert item["exc_info"]["type"] == "ServerStopped"
            assert await upload.http.is_closed()


async def test_crash_meanwhile(tmp_path: Path) -> None:
    """A job whose upload is gone with the server does not begin."""
    plugin: Any = jobs_pipes.plugin
    async with running_world(plugin, data_dir=tmp_path) as world, world.admin() as wire:
        target = await target_for(wire)
        async with (
            uploading(port_of(world), target) as first,
            uploading(port_of(world), target) as second,
        ):
            await first.want("pipes.shelve")
            await first.begin_file(b"1")
            await wire.event(await only_job(wire), "RUNNING")
            await second.want("pipes.shelve")
            await second.begin_file(b"2")
            frame = await wire.wait(lambda f: f.get("params", {}).get("id") == 2)
            assert frame["params"]["fields"]["state"] == "WAITING"
    async with running_world(plugin, data_dir=tmp_path) as world, world.admin() as wire:
        record = await wire.call("job.get", 2)
    assert record["exc_info"]["type"] == "WorkerLost"
    assert record["error"] == "its upload or download broke off when the server ended"
