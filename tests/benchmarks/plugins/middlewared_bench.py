"""A plugin for the benchmarks: methods and jobs that do what a row needs."""

import os
import subprocess
import time

import anyio
import anyio.lowlevel
import msgspec
from benchmarks.work import COLLECTION, OWNED, Report, make_report, make_thing

from middlewared import Audience, Context, Event, Plugin
from middlewared_jobs import Job, job

plugin = Plugin("bench", requires=("jobs",))
#: Seconds between two bursts of reports, and two looks at whether a job shall end.
BURST_SECONDS, LOOK_SECONDS = 0.02, 0.005
#: Nobody lets them run for so long.
LONG_SECONDS = 3600.0
PIECE = 1 << 20


@plugin.method(read_only=True, immediate=True)
def typed(
    ctx: Context,
    pool: str,
    dataset: str,
    recursive: bool,
    count: int,
    ratio: float,
    tags: list[str],
    limits: dict[str, int],
    description: str | None,
    started: int,
    owner: str,
) -> Report:
    """Make a report."""
    return make_report(pool, owner, count)


class Thing(msgspec.Struct):
    """An item of row 3.

    Attributes:
        id: its number.
        version: rises.
        lines: so that it has 1 kB.
    """

    id: int
    version: int
    lines: list[str]


plugin.collection(OWNED, Thing, doc="Things of accounts.", authenticated=True)


@plugin.method(read_only=True)
async def publish(
    ctx: Context,
    ticks: int,
    items: int,
    name: str = COLLECTION,
    owner: int | None = None,
) -> None:
    """Publish a change of so many items in each of so many ticks of the loop."""
    audience = Audience(owner, frozenset())
    for tick in range(ticks):
        for number in range(items):
            event = Event(
                name, "changed", number, make_thing(number, tick), audience=audience
            )
            ctx.events.publish(event)
        await anyio.lowlevel.checkpoint()


@plugin.method
@job
async def storm(job: Job, seconds: float, rate: int) -> int:
    """Report so many times a second; the last report names itself."""
    began, reports = time.monotonic(), 0
    while (past := time.monotonic() - began) < seconds:
        while reports < past * rate:
            reports += 1
            job.set_progress(99 * past / seconds, str(reports))
        await anyio.sleep(BURST_SECONDS)
    job.set_progress(100, f"{reports}, the last")
    return reports


@plugin.method
@job(abortable=True)
async def waits(job: Job) -> None:
    """Wait until it is aborted."""
    await anyio.sleep(LONG_SECONDS)


@plugin.method
@job(abortable=True)
def looks(job: Job) -> None:
    """Look again and again whether it is aborted."""
    while not job.aborted:
        time.sleep(LOOK_SECONDS)
    job.check_aborted()


@plugin.method
@job(abortable=True, process=True)
def apart(job: Job) -> None:
    """Sleep in a child process that does nothing about SIGTERM."""
    time.sleep(LONG_SECONDS)


@plugin.method
@job(logs=True, process=True)
def copies(job: Job, path: str) -> None:
    """Copy a file to the log, with the program that the rival uses."""
    subprocess.run(["cat", path], stdout=job.logs_fd, check=True)


@plugin.method
@job(logs=True)
async def writes(job: Job, seconds: float, rate: int) -> int:
    """Write so many lines a second, each with the time it was written."""
    began, lines = time.monotonic(), 0
    while (past := time.monotonic() - began) < seconds:
        due = int(past * rate) - lines
        now = time.time()
        text = "".join(f"{now:.6f} line {lines + n}\n" for n in range(due))
        os.write(job.logs_fd.fileno(), text.encode())
        lines += due
        await anyio.sleep(BURST_SECONDS)
    return lines
