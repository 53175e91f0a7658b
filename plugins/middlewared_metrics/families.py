"""A snapshot as families of metrics, in the words and units of Prometheus."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from middlewared_jobs import count_live
from middlewared_metrics.snapshot import Bars, Snapshot, file_sizes

__all__ = ["write_out"]

#: Where bodies of jobs run; shown also when none does.
EXECUTORS = ("loop", "thread", "process")

Labelled = Iterable[tuple[Sequence[str], float]]


class _Families(Collector):
    """Gives the families of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Write out every family."""
        snapshot = self._snapshot
        yield InfoMetricFamily(
            "middlewared",
            "The program.",
            {"version": version("middlewared"), "python": platform.python_version()},
        )
        yield from _jobs(snapshot)
        yield from _calls(snapshot)
        yield from _connections(snapshot)
        yield from _inside(snapshot)


def write_out(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """Write a snapshot; it takes some milliseconds, so call it in a thread.

    Args:
        snapshot: the figures.
        accept: the header of the request, which chooses the format.

    Returns:
        The text, and its content type.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(_Families(snapshot))
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none (prometheus-client 0.26)
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


def _gauge(name: str, words: str, labels: Sequence[str], values: Labelled) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _counter(name: str, words: str, labels: Sequence[str], values: Labelled) -> Metric:
    family = CounterMetricFamily(name, words, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _histogram(
    name: str, words: str, labels: Sequence[str], values: Mapping[str, Bars]
) -> Metric:
    family = HistogramMetricFamily(name, words, labels=labels)
    for label, bars in values.items():
        bounds = [*map(str, bars.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(bars.counts), strict=True))
        family.add_metric([label] if labels else [], buckets, bars.total)
    return family


def _jobs(snapshot: Snapshot) -> Iterator[Metric]:
    live = count_live(snapshot.runs)
    labels = ("method", "state")
    yield _gauge(
        "middlewared_jobs",
        "Jobs that have not ended.",
        labels,
        (((m, state.value), n) for (m, state), n in sorted(live.states.items())),
    )
    yield _gauge(
        "middlewared_jobs_waiting", "Length of the queue.", (), [((), live.waiting)]
    )
    yield _gauge(
        "middlewared_jobs_running",
        "Jobs that run, by where their bodies do.",
        ("executor",),
        (((kind,), live.running.get(kind, 0)) for kind in EXECUTORS),
    )
    yield _counter(
        "middlewared_jobs_ended",
        "Jobs that have ended since the start of the server.",
        labels,
        (((m, state.value), n) for (m, state), n in sorted(snapshot.ended.items())),
    )
    yield _histogram(
        "middlewared_job_duration_seconds",
        "From the first start of a job to its end.",
        ("method",),
        snapshot.durations,
    )
    yield _histogram(
        "middlewared_job_wait_seconds",
        "From the call to the first start of a job.",
        (),
        {"": snapshot.waits},
    )


def _calls(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter(
        "middlewared_rpc_calls",
        "Calls that were answered, or had no id; a job call when it is answered.",
        ("method", "outcome"),
        sorted(snapshot.calls.items()),
    )
    yield _counter(
        "middlewared_rpc_refused",
        "Requests that never came to a method.",
        ("reason",),
        (((reason,), n) for reason, n in snapshot.refused.items()),
    )


def _connections(snapshot: Snapshot) -> Iterator[Metric]:
    traffic = snapshot.traffic
    yield _gauge(
        "middlewared_connections",
        "Open WebSocket connections, by whether somebody is logged in.",
        ("login",),
        ((("yes" if login else "no",), n) for login, n in snapshot.connections.items()),
    )
    yield _gauge(
        "middlewared_subscriptions",
        "Subscriptions of all connections.",
        (),
        [((), snapshot.subscriptions)],
    )
    for name, words, value in (
        ("connections_opened", "WebSocket connections let in.", traffic.opened),
        ("received_bytes", "Bytes received over WebSockets.", traffic.received),
        ("sent_bytes", "Bytes sent over WebSockets.", traffic.sent),
        ("events_sent", "Events queued for a client.", traffic.events),
        ("events_conflated", "Events that gave way to newer ones.", traffic.conflated),
    ):
        yield _counter(f"middlewared_{name}", words, (), [((), value)])
    yield _counter(
        "middlewared_connections_aborted",
        "Connections cut off: queue_full and stalled are clients that were too slow.",
        ("reason",),
        (((reason,), n) for reason, n in sorted(traffic.aborted.items())),
    )


def _inside(snapshot: Snapshot) -> Iterator[Metric]:
    for name, words, bars in (
        ("db_commit_seconds", "Time of a commit, fsync included.", snapshot.commits),
        ("db_commit_writes", "Writes that were committed together.", snapshot.groups),
        ("loop_lag_seconds", "How late the event loop was.", snapshot.lag),
    ):
        yield _histogram(f"middlewared_{name}", words, (), {"": bars})
    yield _gauge(
        "middlewared_db_size_bytes",
        "Size of the database's files.",
        ("file",),
        (((what,), size) for what, size in file_sizes(snapshot.database).items()),
    )
    yield _gauge("middlewared_tasks", "Tasks that run.", (), [((), snapshot.tasks)])
