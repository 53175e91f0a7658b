"""Python's garbage collector: full collections are seldom, and in proportion."""

import contextlib
import gc
import time
from collections.abc import Iterator
from typing import NoReturn

import anyio

__all__ = ["collect_in_proportion"]

#: Of the time, at most; a collection that takes longer is followed by a longer pause.
SHARE = 0.01
#: Seconds between two full collections, at least.
PAUSE = 10.0
#: Young objects that are looked at together. With Python's 700, a twelfth of a job's
#: time went into looking at objects that were about to go by themselves.
YOUNG = 10_000
#: A threshold that is never reached.
NEVER = 2**31 - 1


async def collect_in_proportion() -> NoReturn:
    """Take over the full collections of this process, until cancelled.

    A full collection looks at every object there is, and nothing else runs meanwhile.
    Python begins one whenever there is a quarter more than at the last: a burst of
    10,000 jobs was stopped nine times, in the end for 0.2 s. What is here at the start
    stays and is not looked at again; young objects are collected when there are many.
    """
    with _taken_over():
        while True:
            began = time.thread_time()
            gc.collect()
            await anyio.sleep(_pause_after(time.thread_time() - began))


def _pause_after(took: float) -> float:
    return max(PAUSE, took / SHARE)


@contextlib.contextmanager
def _taken_over() -> Iterator[None]:
    young, middle, full = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, middle, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, full)
        gc.unfreeze()
