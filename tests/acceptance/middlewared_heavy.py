"""Jobs that are hard on the server: results of any size, storms of progress."""

import hashlib
import threading
import time
from collections.abc import Callable

from middlewared import Plugin
from middlewared_jobs import Job, job

plugin = Plugin("heavy", requires=("jobs",))


@plugin.method
@job
def text(job: Job, size: int) -> str:
    """Return a long text."""
    return "x" * size


@plugin.method
@job
def rows(job: Job, count: int) -> list[dict[str, int | str]]:
    """Return many small objects."""
    return [{"id": number, "name": f"row {number:08}"} for number in range(count)]


@plugin.method
@job
async def text_in_loop(job: Job, size: int) -> dict[str, str]:
    """Return a long text from the loop."""
    return {"text": "x" * size}


@plugin.method
@job(process=True)
def text_apart(job: Job, size: int) -> str:
    """Return a long text from a child process."""
    return "x" * size


def _in_threads(work: Callable[[int], None], threads: int) -> float:
    """Run something in threads; give the seconds it took."""
    running = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    began = time.perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return time.perf_counter() - began


@plugin.method
@job
def storm(job: Job, calls: int, threads: int) -> list[float]:
    """Do work item by item, bare and with progress for each; give both times."""
    each = calls // threads
    done = [""] * threads

    def bare(place: int) -> None:
        for number in range(each):
            done[place] = digest(number)

    def told(place: int) -> None:
        for number in range(each):
            done[place] = digest(number)
            job.set_progress(100 * number / each, "storm")

    return [_in_threads(bare, threads), _in_threads(told, threads)]


def digest(number: int) -> str:
    """Do what a loop over small items may do with one of them."""
    return hashlib.sha256(b"item %d" % number).hexdigest()


@plugin.method
@job(logs=True)
def talk(job: Job, lines: int) -> None:
    """Write many lines to the log."""
    for number in range(lines):
        job.log.info("line %d", number)
