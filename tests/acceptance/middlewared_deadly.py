"""A plugin that kills its server over the job of a schedule, and notes what ran.

The tests copy it into a folder of plugins, so it imports nothing of theirs.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from middlewared import Context, Plugin
from middlewared_jobs import Job, JobRecord, Jobs, Submission, job
from middlewared_schedules import Schedules

__all__ = ["plugin"]

plugin = Plugin("deadly", requires=("schedules",))


def die_if_asked(ctx: Context, point: str) -> None:
    """Die the hard way when there is a file that asks for it, once."""
    asked = ctx.settings.data_path.parent / f"die-{point}"
    if asked.exists():
        asked.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Stand between the schedules and what they call."""
    jobs: Any = ctx.get(Jobs)
    schedules: Any = ctx.get(Schedules)
    submit, note = jobs.submit, schedules.note

    async def submit_or_die(wish: Submission) -> JobRecord:
        die_if_asked(ctx, "before")
        record: JobRecord = await submit(wish)
        die_if_asked(ctx, "between")
        return record

    async def note_or_die(entry: Any, **news: Any) -> None:
        await note(entry, **news)
        if "last_job" in news:
            die_if_asked(ctx, "after")

    jobs.submit, schedules.note = submit_or_die, note_or_die
    yield


def _note(path: str, job: Job) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"{job.id} {job.attempt}\n")


@plugin.method
@job
async def quick(job: Job, path: str) -> None:
    """Note that it ran."""
    _note(path, job)


@plugin.method
@job
def threaded(job: Job, path: str) -> None:
    """Note that it ran, in a thread."""
    _note(path, job)
