"""A plugin of the tests: jobs that do not end when they are asked to."""

import time

import anyio

from middlewared import Plugin
from middlewared_jobs import Job, job

plugin = Plugin("stubborn", requires=("jobs",))


@plugin.method
@job
async def unabortable(job: Job) -> None:
    """Run for two minutes and refuse to be aborted."""
    await anyio.sleep(120)


@plugin.method
@job(abortable=True)
def deaf(job: Job) -> str:
    """Say yes to an abort, and finish all the same."""
    while not job.aborted:
        time.sleep(0.05)
    time.sleep(4)
    return "done"
