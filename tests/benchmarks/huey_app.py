"""Huey with SQLite, as its guide shows; the folder is in the environment."""

import os

from huey import SqliteHuey

queue = SqliteHuey("bench", filename=f"{os.environ['BENCH_HUEY']}/huey.db", fsync=False)


@queue.task()  # type: ignore[untyped-decorator]  # it has no types
def noop(value: int) -> int:
    """Return *value*."""
    return value
