"""Celery with Redis as broker and for results, as its guide shows."""

import os

from celery import Celery

_URL = f"redis+socket://{os.environ['BENCH_CELERY']}/redis.sock"
app = Celery("bench", broker=_URL, backend=_URL)


@app.task  # type: ignore[untyped-decorator]  # it has no types
def noop(value: int) -> int:
    """Return *value*."""
    return value
