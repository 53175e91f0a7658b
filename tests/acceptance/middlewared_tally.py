"""A plugin for the kill tests: its jobs write down each of their runs."""

import os

import anyio

from middlewared import Plugin
from middlewared_jobs import Job, job

plugin = Plugin("tally", requires=("jobs",))


def _note(job: Job, path: str) -> None:
    """Append id and attempt in one write, so that a kill leaves whole lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{job.id} {job.attempt}\n".encode())
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
