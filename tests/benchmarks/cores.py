"""Which core a program runs on: servers on one, what loads them on the others."""

import contextlib
import os
from collections.abc import Iterator

__all__ = ["LOAD_CORES", "SERVER_CORES", "pin_load", "server_side"]

_CORES = sorted(os.sched_getaffinity(0))
#: The first core is the servers'; with one core only, all share it.
SERVER_CORES = frozenset(_CORES[:1])
LOAD_CORES = frozenset(_CORES[1:] or _CORES)


def pin_load() -> None:
    """Keep this thread, and what it starts, off the core of the servers."""
    os.sched_setaffinity(0, LOAD_CORES)


@contextlib.contextmanager
def server_side() -> Iterator[None]:
    """Start what is started in here on the core of the servers."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, SERVER_CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
