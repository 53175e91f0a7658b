"""A plugin of the tests: jobs that end, or write, only when a test tells them."""

import queue
import threading

import anyio

from middlewared import Context, Plugin
from middlewared_jobs import Job, job

plugin = Plugin("stubborn", requires=("jobs",))
released = threading.Event()
lines: queue.SimpleQueue[str] = queue.SimpleQueue()


@plugin.method
@job
async def unabortable(job: Job) -> None:
    """Run for two minutes and refuse to be aborted."""
    await anyio.sleep(120)


@plugin.method
@job(abortable=True)
def deaf(job: Job) -> str:
    """Ignore every abort, and finish when `let_go` is called."""
    released.wait(60)
    return "done"


@plugin.method
async def let_go(ctx: Context) -> None:
    """End the jobs that wait for it."""
    released.set()


@plugin.method
@job(logs=True)
def scribe(job: Job) -> None:
    """Write what `dictate` says to the log; end at an empty line."""
    while line := lines.get(timeout=60):
        job.log.info(line)


@plugin.method
async def dictate(ctx: Context, line: str) -> None:
    """Have the scribe write a line."""
    lines.put(line)
