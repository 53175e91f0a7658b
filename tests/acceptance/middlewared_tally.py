"""A plugin for the kill tests: its jobs write down each of their runs."""

import os

import anyio

from middlewared import CallError, Plugin
from middlewared_jobs import Backoff, Job, job

plugin = Plugin("tally", requires=("jobs",))


def _note(job: Job, path: str, step: str = "run") -> None:
    """Append what runs in one write, so that a kill leaves whole lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{job.id} {job.attempt} {step}\n".encode())
    os.close(descriptor)


@plugin.method
@job
async def quick(job: Job, path: str) -> int:
    """Write the run down and end."""
    _note(job, path)
    return job.id


@plugin.method
@job(lock="tally", logs=True)
async def locked(job: Job, path: str) -> int:
    """Write the run down, hold a lock for a moment, and end."""
    _note(job, path)
    job.log.info("run %d", job.id)
    await anyio.sleep(0.005)
    return job.id


@plugin.method
@job(logs=True)
def threaded(job: Job, path: str) -> int:
    """Write the run down in a thread and end."""
    _note(job, path)
    job.log.info("run %d", job.id)
    return job.id


@plugin.method
@job(process=True, logs=True)
def apart(job: Job, path: str) -> int:
    """Write the run down in a child process and end."""
    _note(job, path)
    job.log.info("run %d", job.id)
    return job.id


@plugin.method
@job(lock="retried", retries=1, backoff=Backoff(first=0.01))
async def retried(job: Job, path: str) -> int:
    """Write the run down, and succeed the second time only."""
    _note(job, path)
    if job.attempt == 1:
        raise CallError("not yet", 5)
    return job.id


@plugin.method
@job(on_worker_lost="requeue", lock="tally")
async def requeued(job: Job, path: str) -> int:
    """Write the run down; run again when the server died."""
    _note(job, path)
    await anyio.sleep(0.005)
    return job.id


@plugin.method
@job(process=True, on_worker_lost="requeue")
def requeued_apart(job: Job, path: str) -> int:
    """Write the run down in a child process; run again when the server died."""
    _note(job, path)
    return job.id


@plugin.method
@job(on_worker_lost="requeue", restartable=True, steps=["first", "second"])
async def stepped(job: Job, path: str) -> int:
    """Write down each step that runs; go on after the server died."""
    for name in ("first", "second"):
        async with job.step(name) as step:
            if not step.skipped:
                _note(job, path, name)
                job.checkpoint(name)
                await anyio.sleep(0.002)
    return job.id
