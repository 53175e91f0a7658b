"""Uploads and downloads of the Python client: whole, resumed, or a clear error."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import pytest

from middlewared import CallError, Plugin
from middlewared.client import (
    CannotConnect,
    Client,
    ConnectionLost,
    JobAborted,
    JobFailed,
    RemoteError,
    connect,
    parse_address,
)
from middlewared.client import files as client_files
from middlewared.client.sync import Client as SyncClient
from middlewared.testing import RunningServer, running_server
from middlewared_jobs import Job, job

SIZE = 3_000_000


def halting_plugin() -> Plugin:
    """Declare jobs that do not do what one hopes for."""
    plugin = Plugin("halt", requires=("jobs",))

    @plugin.method
    @job(pipes=["output"])
    async def fail(job: Job, size: int) -> None:
        """Write something and fail."""
        await job.pipes.output.send(bytes(size))
        raise CallError("no more", 5)

    @plugin.method
    @job(pipes=["input"], lock="halt", lock_queue_size=0)
    async def hold(job: Job) -> int:
        """Read under a lock that nobody waits for."""
        return len(b"".join([data async for data in job.pipes.input]))

    return plugin


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[RunningServer]:
    """Run a server that the tests of this module share."""
    tables = {"jobs": {"disk_reserve": 0}}
    async with running_server(halting_plugin(), tables=tables) as running:
        yield running


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    """Connect over the unix socket, as a full admin."""
    async with server.client() as client:
        yield client


class Cutter:
    """A way to a server that breaks off what the server says, as often as one wants.

    Attributes:
        cuts: after how many bytes of an answer, for each connection that comes next.
    """

    def __init__(self, port: int) -> None:
        self.cuts: list[int] = []
        self.port = 0
        self._far = port

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Cutter"]:
        """Listen for the length of a block."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = anyio.abc.SocketAttribute.local_port
        self.port = listener.extra(port)  # noqa: S610 - no Django here
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._pass)
            yield self
            group.cancel_scope.cancel()

    async def _pass(self, near: anyio.abc.SocketStream) -> None:
        left = self.cuts.pop(0) if self.cuts else 2**60
        async with (
            near,
            await anyio.connect_tcp("127.0.0.1", self._far) as far,
            anyio.create_task_group() as group,
        ):
            group.start_soon(self._copy, near, far, 2**60)
            await self._copy(far, near, left)
            group.cancel_scope.cancel()

    async def _copy(
        self, source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream, left: int
    ) -> None:
        try:
            async for data in source:
                await sink.send(data[:left])
                left -= len(data)
                if left <= 0:
                    return
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


@asynccontextmanager
async def cut_client(server: RunningServer) -> AsyncIterator[tuple[Client, Cutter]]:
    """Connect as a full admin over a way that may be cut."""
    token = await server.context.call("auth.generate_token", 600, {}, False)
    async with (
        Cutter(server.server.port).running() as cutter,
        connect(f"http://127.0.0.1:{cutter.port}") as client,
    ):
        await client.login_token(token)
        yield client, cutter


async def received(download: Any) -> str:
    """Read a download to its end and give its digest."""
    digest = hashlib.sha256()
    async for data in download:
        digest.update(data)
    return digest.hexdigest()


async def trickle(*pieces: bytes) -> AsyncIterator[bytes]:
    """Give pieces one after the other."""
    for piece in pieces:
        await anyio.lowlevel.checkpoint()
        yield piece


async def test_upload_takes_files_of_all_kinds(client: Client, tmp_path: Path) -> None:
    """Paths, bytes, and what comes bit by bit; progress is told."""
    path = tmp_path / 'a "b".bin'
    path.write_bytes(bytes(200_000))
    seen: list[int] = []
    handle = await client.upload(
        "demo.count_upload",
        files=[path, ("two", b"two"), ("three", trickle(b"th", b"", b"ree"))],
        progress=seen.append,
    )
    result = await handle
    assert [(file["filename"], file["bytes"]) for file in result] == [
        ("a %22b%22.bin", 200_000),  # as browsers write it
        ("two", 3),
        ("three", 5),
    ]
    assert seen[-1] == 200_008
    assert handle.item is not None
    assert handle.item["method"] == "demo.count_upload"


@pytest.mark.parametrize(
    ("method", "params", "number", "text"),
    [
        ("demo.noop", [], 22, "demo.noop takes no upload"),
        ("no.such", [], 22, "Method 'no.such' does not exist"),
        ("demo.count_upload", [7], 22, "[EINVAL] : Too many arguments"),
    ],
)
async def test_refused_upload(
    client: Client, method: str, params: list[Any], number: int, text: str
) -> None:
    """The error is the server's, though not everything was sent yet."""
    with pytest.raises(RemoteError) as refused:
        await client.upload(method, *params, files=[("x", bytes(20_000_000))])
    assert refused.value.errno == number
    assert str(refused.value).startswith(text)


async def test_busy_upload(client: Client) -> None:
    """An error number in the text of the answer is that of the error."""
    gate = anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await gate.wait()

    async with anyio.create_task_group() as group:

        async def hold() -> None:
            handle = await client.upload("halt.hold", files=[("x", slow())])
            assert await handle == 1

        group.start_soon(hold)
        async with client.subscribe("core.get_jobs") as jobs:
            await anext(aiter(jobs))
        with pytest.raises(RemoteError) as refused:
            await client.upload("halt.hold", files=[("x", b"y")])
        assert (refused.value.errno, refused.value.errname) == (16, "EBUSY")
        gate.set()


async def test_upload_that_fails_here(client: Client, tmp_path: Path) -> None:
    """What goes wrong with a file is raised as it is, and the job fails."""
    with pytest.raises(FileNotFoundError):
        await client.upload("demo.count_upload", files=[tmp_path / "missing"])

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await client.upload("demo.count_upload", files=[("x", broken())])


async def test_upload_without_a_server(tmp_path: Path) -> None:
    """It says so."""
    web = client_files.Web(parse_address(str(tmp_path / "no.sock")), None, 1.0)
    with pytest.raises(CannotConnect, match=r"no\.sock"):
        await client_files.upload_files(web, "t", {}, [("x", b"")], None)


@pytest.mark.parametrize("buffered", [False, True])
async def test_download(client: Client, buffered: bool) -> None:
    """Everything arrives, and the job is there to be asked."""
    opened = client.download("demo.stream", SIZE, 7, buffered=buffered)
    async with opened as download:
        digest = await received(download)
        assert download.received == SIZE
        assert await download.job == digest


async def test_download_that_fails(client: Client) -> None:
    """The error is the job's, from its beginning, its middle, or an abort."""
    for size in (0, SIZE):
        async with client.download("halt.fail", size) as download:
            with pytest.raises(JobFailed, match="no more"):
                await received(download)
    async with client.download("demo.stream", 2**40) as download:
        await anext(aiter(download))
        await download.job.abort()
        with pytest.raises(JobAborted):
            await received(download)


async def test_download_that_is_left(client: Client) -> None:
    """Who leaves early lets the job fail."""
    async with client.download("demo.stream", 2**40) as download:
        async for _ in download:
            break
    item = await download.job.wait_ended()
    assert item["exc_info"]["errno"] == 32


async def test_download_that_is_refused(client: Client) -> None:
    """There is no job then."""
    with pytest.raises(RemoteError, match="gives no download"):
        async with client.download("demo.noop"):
            pass


async def test_broken_connection(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A buffered download goes on where it was; another is an error."""
    monkeypatch.setattr(client_files, "RESUME_SECONDS", 0.01)
    async with cut_client(server) as (client, cutter):
        async with client.download("demo.stream", SIZE, 7, buffered=True) as download:
            cutter.cuts = [SIZE // 3, 10, 300, SIZE // 3]
            assert await received(download) == await download.job
        assert (download.received, cutter.cuts) == (SIZE, [])
        async with client.download("demo.stream", SIZE) as download:
            cutter.cuts = [SIZE // 3]
            with pytest.raises((ConnectionLost, JobFailed)):
                await received(download)
        async with client.download("demo.stream", SIZE, buffered=True) as download:
            cutter.cuts = [0] * (client_files.RESUMES + 2)
            monkeypatch.setattr(client_files, "EXPLAIN_SECONDS", 0.1)
            with pytest.raises(ConnectionLost):
                await received(download)


async def test_sync(server: RunningServer) -> None:
    """Programs without an event loop do the same."""
    await anyio.to_thread.run_sync(move_blocking, str(server.socket_path))


def move_blocking(address: str) -> None:
    """Upload and download in a program without an event loop."""
    with SyncClient(address) as client:
        job = client.upload("demo.count_upload", files=[("x", b"1234")])
        assert job.result()[0]["bytes"] == 4
        with client.download("demo.stream", 1000, 3) as download:
            data = b"".join(download)
            assert hashlib.sha256(data).hexdigest() == download.job.result()
