"""The demo's jobs: checksums, an archive, disk use, and some that only show a state."""

import hashlib
import importlib.resources
import os
import random
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.lowlevel
import msgspec
from anyio.streams.text import TextReceiveStream
from msgspec import Meta

from middlewared import CallError, Example, Plugin
from middlewared_auth import JOB_USER
from middlewared_demo._import import add_import
from middlewared_demo._mission import add_mission
from middlewared_demo._move import add_move
from middlewared_demo._paths import DemoSettings, allowed_path
from middlewared_demo._scenario import add_scenario
from middlewared_jobs import Job, job

__all__ = ["plugin"]

plugin = Plugin(
    "demo",
    requires=("jobs",),
    settings=DemoSettings,
    migrations=importlib.resources.files(__package__) / "migrations",
)
add_import(plugin)
add_mission(plugin)
add_move(plugin)
add_scenario(plugin)

BLOCK = 1 << 20
#: Units of `demo.sleep`: how long a step of it may be, seconds.
MAX_SECONDS = 86400.0
Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
Algorithm = Literal["md5", "sha1", "sha256", "sha512", "blake2b"]


class Checksum(msgspec.Struct):
    """What `checksum` found.

    Attributes:
        files: how many.
        bytes: how many in all.
        digest: digest of the digests of all files, in the order of their paths.
    """

    files: int
    bytes: int
    digest: str


class Archive(msgspec.Struct):
    """What `archive` wrote.

    Attributes:
        path: the archive.
        files: how many are in it.
        bytes: its size.
    """

    path: str
    files: int
    bytes: int


class Usage(msgspec.Struct):
    """Disk use of one folder.

    Attributes:
        path: the folder.
        kilobytes: what it takes on the disk.
    """

    path: str
    kilobytes: int


class Received(msgspec.Struct):
    """One file that `count_upload` read.

    Attributes:
        filename: what the client calls it.
        bytes: how many there were.
        sha256: their digest.
    """

    filename: str
    bytes: int
    sha256: str


def _files(job: Job, root: Path) -> Iterator[Path]:
    """Walk the regular files below a path, in order, without following links."""
    if root.is_file():
        yield root
    for folder, folders, names in os.walk(root):
        job.check_aborted()
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _existing(job: Job, path: str) -> Path:
    root = allowed_path(job.context, path, "path")
    if not root.exists():
        raise CallError(f"{path!r} does not exist", 2)
    return root


@plugin.method(
    roles=[JOB_USER],
    examples=[
        Example("a folder", ["/usr/lib/python3"]),
        Example("another digest", {"path": "/usr/lib/python3", "algorithm": "blake2b"}),
    ],
)
@job(logs=True, abortable=True, description="Checksum of {path}")
def checksum(job: Job, path: str, algorithm: Algorithm = "sha256") -> Checksum:
    """Compute a digest of every file below *path*, and one of all of them."""
    root = _existing(job, path)
    files = list(_files(job, root))
    total = sum(file.stat().st_size for file in files) or 1
    whole, done = hashlib.new(algorithm), 0
    job.log.info("%d files, %d bytes below %s", len(files), total, root)
    for file in files:
        one = hashlib.new(algorithm)
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                job.check_aborted()
                one.update(block)
                done += len(block)
                job.set_progress(100 * done / total, f"{file.relative_to(root)}")
        job.log.info("%s  %s", one.hexdigest(), file)
        whole.update(one.digest())
    return Checksum(len(files), done, whole.hexdigest())


@plugin.method(
    roles=[JOB_USER],
    examples=[Example("a folder", ["/usr/lib/python3", "python3.tar.gz"])],
)
@job(
    lock="archive:{target}",
    logs=True,
    abortable=True,
    description="Archive of {path}",
)
def archive(job: Job, path: str, target: str) -> Archive:
    """Pack the files below *path* into the new tar.gz file *target*.

    The file appears under its name only when it is complete.
    """
    root = _existing(job, path)
    goal = allowed_path(job.context, target, "target")
    goal.parent.mkdir(parents=True, exist_ok=True)
    files = list(_files(job, root))
    part = goal.with_name(f".{goal.name}.{job.id}")
    try:
        with tarfile.open(part, "w:gz", compresslevel=6) as tar:
            for number, file in enumerate(files):
                job.check_aborted()
                name = str(file.relative_to(root.parent))
                job.set_progress(100 * number / len(files), name)
                tar.add(file, arcname=name, recursive=False)
                job.log.info("added %s", name)
        part.rename(goal)
    finally:
        part.unlink(missing_ok=True)
    return Archive(str(goal), len(files), goal.stat().st_size)


@plugin.method(
    roles=[JOB_USER],
    examples=[
        Example(
            "the folders in one",
            ["/usr/lib/python3"],
            [{"path": "/usr/lib/python3/dist-packages", "kilobytes": 2048}],
        )
    ],
)
@job(logs=True, abortable=True, description="Disk use of {path}")
async def disk_usage(job: Job, path: str) -> list[Usage]:
    """List the disk use of every folder directly in *path*, largest first.

    A child process (``du``) measures; it ends with the job.
    """
    root = await anyio.to_thread.run_sync(_existing, job, path)
    job.set_progress(description="measuring", indeterminate=True)
    found: list[Usage] = []
    command = ["du", "-k", "--max-depth=1", "--", str(root)]
    # In a session of its own, Ctrl-C in the server's terminal does not reach it.
    async with await anyio.open_process(
        command,
        stderr=job.logs_fd,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe by default
        rest = ""
        async for text in TextReceiveStream(process.stdout):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                kilobytes, _, folder = line.partition("\t")
                found.append(Usage(folder, int(kilobytes)))
                job.log.info("%s kB in %s", kilobytes, folder)
        code = await process.wait()
    if code != 0:
        raise CallError(f"du ended with code {code}, see the log")
    return sorted(found, key=lambda usage: -usage.kilobytes)


@plugin.method(
    roles=[JOB_USER], examples=[Example("five seconds in ten steps", [5], 5.01)]
)
@job(abortable=True, description="Sleep for {seconds} s")
async def sleep(
    job: Job, seconds: Seconds, steps: Annotated[int, Meta(gt=0, le=100_000)] = 10
) -> float:
    """Sleep in equal steps, with progress, and return the seconds slept."""
    started = time.monotonic()
    for step in range(steps):
        job.set_progress(100 * step / steps, f"step {step + 1} of {steps}")
        await anyio.sleep(seconds / steps)
    return round(time.monotonic() - started, 3)


@plugin.method(roles=[JOB_USER], examples=[Example("a second of a core", [1])])
@job(process=True, abortable=True, description="Burn {seconds} s of a core")
def burn(job: Job, seconds: Seconds) -> int:
    """Keep a processor core busy in a child process and return the rounds made."""
    started, rounds, done = time.monotonic(), 0, 0.0
    while done < seconds:
        hashlib.sha256(bytes(BLOCK // 64)).digest()
        rounds += 1
        done = time.monotonic() - started
        job.set_progress(100 * done / seconds, f"round {rounds}")
    return rounds


@plugin.method(roles=[JOB_USER])
@job(pipes=["input"], abortable=True, description="Count an upload")
def count_upload(job: Job) -> list[Received]:
    """Read the uploaded files and return the size and the digest of each."""
    found: list[Received] = []
    for file in job.pipes.inputs:
        digest, size = hashlib.sha256(), 0
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
            job.set_progress(description=f"{size:,} bytes", indeterminate=True)
        found.append(Received(file.filename, size, digest.hexdigest()))
    return found


@plugin.method(roles=[JOB_USER], examples=[Example("a thousand bytes", [1000, 7])])
@job(pipes=["output"], abortable=True, description="Stream {bytes} bytes")
def stream(job: Job, bytes: Annotated[int, Meta(ge=0)], seed: int = 0) -> str:  # noqa: A002 - the wire's word
    """Write random bytes, the same for each *seed*, and return their SHA-256 digest."""
    source = random.Random(seed)  # noqa: S311 - nothing is secret here
    digest, left = hashlib.sha256(), bytes
    while left:
        block = source.randbytes(min(left, BLOCK // 16))
        digest.update(block)
        job.pipes.output.write(block)
        left -= len(block)
        job.set_progress(100 * (bytes - left) / bytes)
    return digest.hexdigest()


@plugin.method(
    roles=[JOB_USER],
    examples=[Example("anything comes back", [{"any": "thing"}], {"any": "thing"})],
)
@job
async def noop(job: Job, value: Any = None) -> Any:
    """Return *value*."""
    return value


@plugin.method(
    roles=[JOB_USER], examples=[Example("no space left", ["the disk is full", 28])]
)
@job
async def fail(job: Job, message: str, errno: int | None = None) -> None:
    """Fail with *message*, and with an error number if one is given."""
    if errno is None:
        raise RuntimeError(message)
    raise CallError(message, errno)


@plugin.method(roles=[JOB_USER], examples=[Example("a thousand lines", [1000], 1000)])
@job(logs=True, abortable=True, description="Write {lines} lines")
async def log(job: Job, lines: Annotated[int, Meta(ge=0, le=10_000_000)]) -> int:
    """Write numbered lines to the log and return how many."""
    for number in range(lines):
        job.log.info("line %d of %d", number + 1, lines)
        job.set_progress(100 * (number + 1) / lines)
        if number % 100 == 0:
            await (
                anyio.lowlevel.checkpoint()
            )  # let others run, and an abort come through
    return lines


@plugin.method(
    roles=[JOB_USER], examples=[Example("a second without a trace", [1], None)]
)
@job(transient=True, abortable=True, description="Leave no trace")
async def transient(job: Job, seconds: Seconds) -> None:
    """Sleep in a job that leaves no history."""
    await anyio.sleep(seconds)


@plugin.method(
    roles=[JOB_USER],
    examples=[Example("one after another", {"seconds": 1, "lock": "door"}, None)],
)
@job(lock="demo:{lock}", abortable=True, description="Hold lock {lock}")
async def locked(job: Job, seconds: Seconds, lock: str) -> None:
    """Hold a lock while sleeping; jobs with the same lock run one after another."""
    await anyio.sleep(seconds)


@plugin.method(roles=[JOB_USER])
@job
async def unencodable(job: Job) -> Any:
    """Return something that has no form on the wire."""
    return object()
