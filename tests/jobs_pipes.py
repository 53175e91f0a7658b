"""Jobs that read uploads and write downloads, in the loop, in threads, in children.

A module of its own, because children import it by name.
"""

import hashlib
import io
import os
import random
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import anyio.from_thread
import msgspec
from wire_http import HttpAnswer, HttpClient

from middlewared import CallError, Plugin
from middlewared_auth import JOB_USER
from middlewared_jobs import Job, job

__all__ = ["KINDS", "Uploader", "noise", "plugin", "sha256", "uploading"]

USERS = (JOB_USER,)
KINDS = ("loop", "thread", "process")
BLOCK = 50_000
BOUNDARY = "frontier"

plugin = Plugin("pipes", requires=("jobs",))


def noise(size: int, seed: int = 0) -> bytes:
    """Give bytes that look like nothing, the same for each seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - nothing is secret here


def sha256(data: bytes) -> str:
    """Give the digest of bytes."""
    return hashlib.sha256(data).hexdigest()


class Counted(msgspec.Struct):
    """What a body read of a file."""

    name: str
    size: int
    digest: str


# Reading.


@plugin.method(roles=USERS)
@job(pipes=["input"], abortable=True)
async def count_loop(job: Job) -> list[Counted]:
    """Read all files."""
    found = []
    async for file in job.pipes.inputs:
        digest, size = hashlib.sha256(), 0
        async for data in file:
            digest.update(data)
            size += len(data)
        found.append(Counted(file.filename, size, digest.hexdigest()))
    return found


def _count(job: Job) -> list[Counted]:
    found = []
    for file in job.pipes.inputs:
        digest, size = hashlib.sha256(), 0
        while data := file.read(BLOCK):
            digest.update(data)
            size += len(data)
        found.append(Counted(file.filename, size, digest.hexdigest()))
    return found


@plugin.method(roles=USERS)
@job(pipes=["input"], abortable=True)
def count_thread(job: Job) -> list[Counted]:
    """Read all files."""
    return _count(job)


@plugin.method(roles=USERS)
@job(pipes=["input"], abortable=True, process=True)
def count_process(job: Job) -> list[Counted]:
    """Read all files."""
    return _count(job)


@plugin.method(roles=USERS)
@job(pipes=["input"])
async def taste_loop(job: Job, size: int) -> list[str]:
    """Read the beginning of each file."""
    return [(await file.receive(size)).decode() async for file in job.pipes.inputs]


@plugin.method(roles=USERS)
@job(pipes=["input"])
def taste_thread(job: Job, size: int) -> list[str]:
    """Read the beginning of each file."""
    return [_start(file, size) for file in job.pipes.inputs]


@plugin.method(roles=USERS)
@job(pipes=["input"], process=True)
def taste_process(job: Job, size: int) -> list[str]:
    """Read the beginning of each file."""
    return [_start(file, size) for file in job.pipes.inputs]


def _start(file: io.RawIOBase, size: int) -> str:
    return (file.read(size) or b"").decode()


@plugin.method(roles=USERS)
@job(pipes=["input"])
def ignore(job: Job, fail: bool = False) -> str:
    """Read nothing."""
    if fail:
        raise CallError("no thanks", 5)
    return "done"


@plugin.method(roles=USERS)
@job(pipes=["input"])
def unpack(job: Job) -> list[str]:
    """Read the files of a tar while it comes."""
    with tarfile.open(fileobj=job.pipes.input, mode="r|") as tar:
        return [member.name for member in tar]


@plugin.method(roles=USERS)
@job(pipes=["input"])
def hand_on(job: Job) -> str:
    """Let a program read the upload, and look whether it was complete."""
    done = subprocess.run(
        ["sha256sum"], stdin=job.pipes.input.fileno(), capture_output=True, check=True
    )
    job.pipes.input.read()
    return str(done.stdout.split()[0].decode())


@plugin.method(roles=USERS)
@job(pipes=["input"], check_pipes=False)
def optional(job: Job) -> int:
    """Read an upload if there is one."""
    if "input" not in job.pipes:
        return -1
    return len(job.pipes.input.read())


@plugin.method(roles=USERS)
@job(pipes=["output"], check_pipes=False)
def insist(job: Job) -> None:
    """Look late whether there is a pipe."""
    job.check_pipe("output")


@plugin.method(roles=USERS)
@job(pipes=["input"], lock="shelf", lock_queue_size=1)
def shelve(job: Job) -> int:
    """Hold a lock while reading."""
    return len(job.pipes.input.read())


@plugin.method(roles=USERS)
@job(pipes=["input", "output"])
async def both(job: Job) -> None:
    """Need more than anybody can give."""


@plugin.method(roles=USERS)
@job(pipes=["input"])
async def wrong_way_loop(job: Job) -> None:
    """Block where one must await."""
    job.pipes.input.read()


@plugin.method(roles=USERS)
@job(pipes=["input"])
def wrong_way_thread(job: Job) -> None:
    """Await where one must block."""
    anyio.from_thread.run(job.pipes.input.receive)


# Writing.


@plugin.method(roles=USERS)
@job(pipes=["output"], abortable=True)
async def stream_loop(job: Job, size: int, fail_at: int = -1) -> str:
    """Write noise; fail in the middle if that is asked for."""
    data = noise(size)
    for start in range(0, size, BLOCK):
        if 0 <= fail_at <= start:
            raise CallError("in the middle", 5)
        await job.pipes.output.send(data[start : start + BLOCK])
        job.set_progress(100 * start / size)
    return sha256(data)


def _stream(job: Job, size: int, fail_at: int) -> str:
    data = noise(size)
    for start in range(0, size, BLOCK):
        if 0 <= fail_at <= start:
            raise CallError("in the middle", 5)
        job.pipes.output.write(data[start : start + BLOCK])
        job.set_progress(100 * start / size)
    return sha256(data)


@plugin.method(roles=USERS)
@job(pipes=["output"], abortable=True)
def stream_thread(job: Job, size: int, fail_at: int = -1) -> str:
    """Write noise; fail in the middle if that is asked for."""
    return _stream(job, size, fail_at)


@plugin.method(roles=USERS)
@job(pipes=["output"], abortable=True, process=True)
def stream_process(job: Job, size: int, fail_at: int = -1) -> str:
    """Write noise; fail in the middle if that is asked for."""
    return _stream(job, size, fail_at)


@plugin.method(roles=USERS)
@job(pipes=["output"], process=True)
def die(job: Job, size: int) -> None:
    """Write, then end the process."""
    job.pipes.output.write(noise(size))
    os._exit(3)


@plugin.method(roles=USERS)
@job(pipes=["output"])
def let_write(job: Job, size: int) -> None:
    """Let a program write the download."""
    command = ["head", "-c", str(size), "/dev/zero"]
    subprocess.run(command, stdout=job.pipes.output.fileno(), check=True)


@plugin.method(roles=USERS)
@job(pipes=["output"], abortable=True)
async def slowly(job: Job) -> None:
    """Write a little, close the pipe, and go on for long."""
    await job.pipes.output.send(b"a little")
    job.pipes.output.close()
    await anyio.sleep_forever()


# Uploading by hand.


class Part(NamedTuple):
    """A part of a multipart body."""

    name: str
    data: bytes
    filename: str = ""

    def head(self) -> bytes:
        """Give its boundary and its header."""
        extra = f'; filename="{self.filename}"' if self.filename else ""
        return (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{self.name}"'
            f"{extra}\r\n\r\n"
        ).encode()


class Uploader:
    """An upload that goes as far as a test wants."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    async def begin(self, target: str, **headers: str) -> None:
        """Send the head of the request."""
        fields = {
            "Host": "localhost",
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            "Transfer-Encoding": "chunked",
        }
        fields |= {name.replace("_", "-"): text for name, text in headers.items()}
        lines = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
        await self.http.send(f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode())

    async def piece(self, data: bytes) -> None:
        """Send some bytes of the body."""
        await self.http.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def want(self, method: str, *params: Any) -> None:
        """Send the part ``data``."""
        data = msgspec.json.encode({"method": method, "params": params})
        await self.part(Part("data", data))

    async def part(self, part: Part) -> None:
        """Send a whole part."""
        await self.piece(part.head() + part.data + b"\r\n")

    async def file(self, data: bytes, filename: str = "") -> None:
        """Send a whole file."""
        await self.part(Part("file", data, filename))

    async def begin_file(self, data: bytes, filename: str = "") -> None:
        """Send the beginning of a file."""
        await self.piece(Part("file", b"", filename).head() + data)

    async def finish(self) -> HttpAnswer:
        """Send the end of the body and read the answer."""
        await self.piece(f"--{BOUNDARY}--\r\n".encode())
        await self.http.send(b"0\r\n\r\n")
        return await self.answer()

    async def answer(self) -> HttpAnswer:
        """Read the answer."""
        return await self.http.answer("POST")

    def close(self) -> None:
        """Go away."""
        self.http.close()


@asynccontextmanager
async def uploading(
    address: tuple[str, int], target: str, **headers: str
) -> AsyncIterator[Uploader]:
    """Begin an upload for the length of a block."""
    http = await HttpClient.open(address)
    try:
        uploader = Uploader(http)
        await uploader.begin(target, **headers)
        yield uploader
    finally:
        http.close()
