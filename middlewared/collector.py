"""Python's garbage collector: full collections are seldom, and in proportion."""

import contextlib
import gc
import time
from collections.abc import Iterator
from typing import NoReturn

import anyio

__all__ = ["collect_in_proportion"]

#: Of the time, at most; a full collection that takes longer is followed by a longer
#: pause.
SHARE = 0.01
#: Seconds between two looks at young objects, and between two full collections, at
#: least.
PAUSE = 10.0
#: Seconds between two full collections, at most, unless `SHARE` says more.
LONGEST = 300.0
#: Python looks at young objects when there are so many more than before, some 2 ms
#: for all of them. With its 700, a sixth of a job's time went into looking at objects
#: that were about to go by themselves.
YOUNG = 10_000
#: A threshold that is never reached.
NEVER = 2**31 - 1


async def collect_in_proportion() -> NoReturn:
    """Take over the collections of this process but the youngest, until cancelled.

    A full collection looks at every object there is, and nothing else runs meanwhile.
    Python begins one whenever there is a quarter more than at the last: a burst of
    10,000 jobs was stopped nine times, in the end for 0.2 s. What is here at the start
    stays and is not looked at again. What was garbage at a look at the young objects
    is gone by then; what became so later, once there are many new objects, or after
    `LONGEST`.
    """
    with _taken_over():
        while True:
            began = time.thread_time()
            gc.collect()
            await _wait_due(_pause_after(time.thread_time() - began))


def _pause_after(took: float) -> float:
    return max(PAUSE, took / SHARE)


async def _wait_due(pause: float) -> None:
    """Wait so long, and until a full collection is worth it; collect young objects."""
    least = time.monotonic() + pause
    most = max(least, time.monotonic() + LONGEST)
    begun = _begun()
    while True:
        await anyio.sleep(PAUSE)
        now, grown = time.monotonic(), _begun() > begun
        if now >= (least if grown else most):
            return
        gc.collect(0)
        begun += 1


def _begun() -> int:
    """Count the collections of young objects."""
    return int(gc.get_stats()[0]["collections"])


@contextlib.contextmanager
def _taken_over() -> Iterator[None]:
    young, middle, full = gc.get_threshold()
    gc.collect()
    gc.freeze()
    # Who survives one collection is not looked at again before the next full one.
    gc.set_threshold(YOUNG, NEVER, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, full)
        gc.unfreeze()
