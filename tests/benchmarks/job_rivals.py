"""Job queues of others, each as its guide recommends, with one worker."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
from benchmarks.cores import server_side
from benchmarks.running import TESTS, end, missing, until

__all__ = ["RIVALS", "JobRival", "Missing", "celery", "huey"]

START_SECONDS = 30.0


class Missing(Exception):
    """A rival is not installed; the text says what to install."""


class JobRival(msgspec.Struct, frozen=True):
    """A queue with a worker that runs.

    Attributes:
        pids: the processes on the server's side.
        run: submits so many jobs and waits until the results of all are there.
    """

    pids: list[int]
    run: Callable[[int], Coroutine[Any, Any, int]]


@contextlib.contextmanager
def huey() -> Iterator[JobRival]:
    """Run Huey's consumer on SQLite, which does not wait for the disk.

    Raises:
        Missing: it is not installed.
    """
    if missing("huey"):
        raise Missing("Huey is not installed; `make bench` installs it.")
    with _folder("BENCH_HUEY"):
        from benchmarks.huey_app import noop, queue  # noqa: PLC0415 - needs the folder

        async def run(count: int) -> int:
            def submit() -> None:
                for number in range(count):
                    noop(number)

            await anyio.to_thread.run_sync(submit)
            await until(lambda: queue.storage.result_store_size() >= count)
            queue.storage.flush_results()
            return count

        with _running(
            *_module("huey.bin.huey_consumer"),
            "benchmarks.huey_app.queue",
            "--workers=1",
            "--quiet",
        ) as worker:
            yield JobRival([worker], run)


@contextlib.contextmanager
def celery() -> Iterator[JobRival]:
    """Run Redis and Celery's worker.

    Raises:
        Missing: one of them is not installed.
    """
    redis = shutil.which("redis-server")
    if redis is None:
        raise Missing("Redis is not installed; in Debian it is redis-server.")
    if missing("celery") or missing("redis"):
        raise Missing("Celery is not installed; `make bench` installs it.")
    with _folder("BENCH_CELERY") as folder, contextlib.ExitStack() as stack:
        options = ("--port", "0", "--unixsocket", f"{folder}/redis.sock")
        server = stack.enter_context(_running(redis, *options, "--dir", str(folder)))
        from benchmarks.celery_app import app, noop  # noqa: PLC0415 - needs the folder

        async def run(count: int) -> int:
            store = app.backend.client
            store.flushdb()

            def submit() -> str:
                sent = [noop.delay(number) for number in range(count)]
                return str(sent[-1].id)

            last = await anyio.to_thread.run_sync(submit)
            await until(lambda: store.exists(app.backend.get_key_for_task(last)))
            return count

        worker = stack.enter_context(
            _running(
                *_module("celery"),
                "--app=benchmarks.celery_app",
                "worker",
                "--concurrency=1",
                "--loglevel=WARNING",
            )
        )
        noop.delay(0).get(timeout=START_SECONDS)
        yield JobRival([server, worker], run)


RIVALS = {"Huey": huey, "Celery": celery}


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name)


@contextlib.contextmanager
def _folder(variable: str) -> Iterator[Path]:
    """Make the folder that the programs of a rival share, and name it to them."""
    with tempfile.TemporaryDirectory(prefix="middlewared-bench-") as name:
        os.environ[variable] = name
        try:
            yield Path(name)
        finally:
            del os.environ[variable]


@contextlib.contextmanager
def _running(*command: str) -> Iterator[int]:
    """Run a program on the core of the servers and give its number."""
    with server_side():
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(TESTS), "PYTHONWARNINGS": "ignore"},
        )
    try:
        yield process.pid
    finally:
        end(process)
