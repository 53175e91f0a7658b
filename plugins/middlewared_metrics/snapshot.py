"""All figures at one moment, copied in the loop, for a thread to write out."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from middlewared import Context
from middlewared.database import Database
from middlewared.dispatch import Dispatcher
from middlewared.figures import Histogram, Traffic
from middlewared.registry import Registry
from middlewared.server import Server
from middlewared.tasks import Tasks
from middlewared_jobs import Jobs, State
from middlewared_metrics.lag import LoopLag

__all__ = ["Bars", "Snapshot", "file_sizes", "take_snapshot"]


class Bars(msgspec.Struct, frozen=True):
    """A histogram as it was.

    Attributes:
        bounds: upper bounds of the buckets but the last.
        counts: values in each bucket.
        total: sum of the values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @classmethod
    def of(cls, histogram: Histogram) -> "Bars":
        """Copy a histogram."""
        return cls(histogram.bounds, tuple(histogram.counts), histogram.total)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Every figure.

    Attributes:
        calls: calls that ended, by method and outcome.
        refused: requests that never came to a method, by the reason.
        traffic: what went over the WebSockets.
        connections: open ones, by whether somebody is logged in.
        subscriptions: of all of them.
        runs: jobs that have not ended.
        ended: jobs that have, by method and state.
        durations: seconds that jobs took, by method.
        waits: seconds that jobs waited.
        commits: seconds that commits took.
        groups: writes in a commit.
        lag: seconds that the loop was late.
        tasks: tasks that run.
        database: the file.
    """

    calls: Mapping[tuple[str, str], int]
    refused: Mapping[str, int]
    traffic: Traffic
    connections: Mapping[bool, int]
    subscriptions: int
    runs: list[Any]
    ended: Mapping[tuple[str, State], int]
    durations: Mapping[str, Bars]
    waits: Bars
    commits: Bars
    groups: Bars
    lag: Bars
    tasks: int
    database: Path


def take_snapshot(ctx: Context) -> Snapshot:
    """Copy the figures; call it in the loop."""
    jobs, database = ctx.get(Jobs), ctx.get(Database)
    server = ctx.get(Server)
    connections = {True: 0, False: 0}
    subscriptions = 0
    conflated = server.traffic.conflated
    for connection in server.connections:
        session = connection.session
        conflated += connection.conflated
        if session is not None:
            connections[session.credentials is not None] += 1
            subscriptions += len(session.subscriptions)
    return Snapshot(
        calls=_calls(ctx.get(Registry)),
        refused=dict(ctx.get(Dispatcher).refused),
        traffic=msgspec.structs.replace(
            server.traffic,
            conflated=conflated,
            aborted=dict(server.traffic.aborted),
        ),
        connections=connections,
        subscriptions=subscriptions,
        runs=list(jobs.live.values()),
        ended=dict(jobs.figures.ended),
        durations={name: Bars.of(h) for name, h in jobs.figures.durations.items()},
        waits=Bars.of(jobs.figures.waits),
        commits=Bars.of(database.commits),
        groups=Bars.of(database.groups),
        lag=Bars.of(ctx.get(LoopLag).histogram),
        tasks=len(ctx.get(Tasks)),
        database=database.path,
    )


def _calls(registry: Registry) -> dict[tuple[str, str], int]:
    """Give the calls of methods that were called at all."""
    found: dict[tuple[str, str], int] = {}
    for name, figures in registry.figures.items():
        if figures.ok:
            found[name, "ok"] = figures.ok
        for outcome, number in figures.failed.items():
            found[name, outcome] = number
    return found


def file_sizes(database: Path) -> dict[str, int]:
    """Give the bytes of the database's files that are there, by what they are."""
    names = {"database": "", "wal": "-wal"}
    found = {}
    for what, suffix in names.items():
        try:
            found[what] = os.stat(f"{database}{suffix}").st_size  # noqa: PTH116 - a suffix, not a name
        except FileNotFoundError:
            continue
    return found
