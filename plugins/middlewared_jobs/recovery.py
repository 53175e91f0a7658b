"""After a start: what waited waits again, what ran has lost its worker."""

import logging
from collections.abc import Iterable
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from middlewared import (
    CallError,
    Date,
    Plugin,
    PluginError,
    ValidationErrors,
    ejson,
)
from middlewared.access import SYSTEM, Credentials
from middlewared.registry import Registry
from middlewared_jobs.announcement import Announcement, size_of
from middlewared_jobs.change import change_of
from middlewared_jobs.joblog import excerpt
from middlewared_jobs.journal import Journal
from middlewared_jobs.outcome import (
    WorkerLost,
    record_aborted,
    record_attempt,
    record_failure,
)
from middlewared_jobs.phase import Phase
from middlewared_jobs.record import Abort, JobRecord
from middlewared_jobs.retrying import MAX_LOST, count_lost
from middlewared_jobs.seal import Seal
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.spec import JobFunction
from middlewared_jobs.states import State
from middlewared_jobs.store import JobStore, Stored
from middlewared_jobs.survivors import end_survivors

__all__ = ["Recovered", "recover", "rights_of"]

logger = logging.getLogger(__name__)


class Recovered(msgspec.Struct, frozen=True):
    """A waiting job that can run again.

    Attributes:
        stored: the job as it was left.
        values: its bound params.
    """

    stored: Stored
    values: list[object]


async def recover(
    store: JobStore,
    journal: Journal,
    registry: Registry,
    seal: Seal,
    settings: JobSettings,
    data_dir: Path,
    now: int,
) -> list[Recovered]:
    """End the jobs that ran when the server died, and bind those that waited.

    A job whose method vanished, or no longer takes its params, ends FAILED; one whose
    parent's body is gone ends ABORTED. Everything is committed when it returns.

    Returns:
        What waits again, by id.
    """
    waiting: list[Recovered] = []
    unfinished = await store.unfinished()
    await _end_children(unfinished, data_dir)
    orphans = await _find_orphans(store, unfinished)
    for stored in unfinished:
        record = stored.record
        try:
            if record.state is State.RUNNING:
                _lose(record, registry, settings, now)
                _save(store, journal, record, stored.params, now)
            if record.id in orphans:
                _abort_orphan(record, now)
                _save(store, journal, record, None, now)
                continue
            waiting.append(Recovered(stored, _bind(stored, registry, seal)))
        except (WorkerLost, CallError, PluginError) as exc:
            logger.warning("job %d %s: %s", record.id, record.method, exc)
            _keep_excerpt(record)
            if record.state is State.RUNNING and record.attempts:
                record_attempt(record, exc, settings, None, now)
            record_failure(record, exc, settings, now)
            _save(store, journal, record, None, now)
    await _flush(store)
    return waiting


async def _flush(store: JobStore) -> None:
    """Wait until what was handed over is committed: the first client reads it."""
    answered = anyio.Event()
    store.flush(lambda _: answered.set())
    await answered.wait()


def _save(
    store: JobStore,
    journal: Journal,
    record: JobRecord,
    params: bytes | None,
    now: int,
) -> None:
    """Write what became of a job, as a move that clients will be told of."""
    change = None if record.final else change_of(record)
    size = size_of(record, change)
    moved = Announcement(record.id, "changed", change=change, size=size)
    store.save(record, params, None, (), journal.number([moved], now))


async def _end_children(unfinished: Iterable[Stored], data_dir: Path) -> None:
    """Kill what the children of the dead server left, before any lock is free."""
    children = [
        (stored.record.child_pid, stored.record.child_started)
        for stored in unfinished
        if stored.record.child_pid is not None and stored.record.child_started
    ]
    if children:
        ended = await anyio.to_thread.run_sync(end_survivors, children, data_dir)
        for pid in ended:
            logger.warning("killed what was left of child process %d", pid)
    for stored in unfinished:
        stored.record.child_pid = stored.record.child_started = None


async def _find_orphans(store: JobStore, unfinished: Iterable[Stored]) -> set[int]:
    """Find jobs that a body started which did not, or will not, come to a good end.

    They are aborted when that body ends, but the server may have ended before. What a
    body that returned left behind is meant to go on.
    """
    left = {stored.record.id for stored in unfinished}
    children = [s.record for s in unfinished if s.record.parent is not None]
    lost: dict[int, bool] = {}
    for parent in {record.parent for record in children if record.parent is not None}:
        found = None if parent in left else await store.get(parent)
        ended_well = found is None or found.state is State.SUCCESS
        lost[parent] = parent in left or not ended_well
    return {r.id for r in children if r.parent is not None and lost[r.parent]}


def _abort_orphan(record: JobRecord, now: int) -> None:
    logger.warning("job %d %s: its parent is gone", record.id, record.method)
    if record.abort is None:
        reason = f"the server ended while job {record.parent}, which started it, ran"
        record.abort = Abort(SYSTEM.username, Date(now), reason=reason)
    _keep_excerpt(record)
    record_aborted(record, now)


def _lose(
    record: JobRecord, registry: Registry, settings: JobSettings, now: int
) -> None:
    """Let a job whose worker is lost wait for another attempt, if its method says so.

    Raises:
        WorkerLost: it ends.
    """
    lost = WorkerLost("the server died while the job ran")
    method = registry.methods.get(record.method)
    spec = None if method is None else method.deferred
    again = isinstance(spec, JobFunction) and spec.spec.requeue
    if record.abort is not None or not again or count_lost(record) >= MAX_LOST:
        raise lost
    logger.warning("job %d %s: %s, it runs again", record.id, record.method, lost)
    record_attempt(record, lost, settings, record.time_started, now)
    record.state, record.phase = State.WAITING, Phase.RETRYING
    record.run_at = None


def _bind(stored: Stored, registry: Registry, seal: Seal) -> list[object]:
    record = stored.record
    method = registry.methods.get(record.method)
    if method is None or not isinstance(method.deferred, JobFunction):
        raise PluginError(
            f"method {record.method} of a waiting job is gone, "
            f"{_server_of(record.method, registry)}"
        )
    spec = method.deferred.spec
    if spec.pipes and spec.check_pipes:
        raise WorkerLost("its upload or download broke off when the server ended")
    params = stored.params
    if params is not None and spec.secret:
        params = seal.open(params)
    name = _named(next(p for p in registry.plugins if p.name == method.plugin))
    if params is None:
        raise PluginError(
            f"the params of a waiting job of {record.method} ({name}) cannot be read"
        )
    try:
        return method.params.bind(ejson.decode(params), {})
    except (ValidationErrors, ValueError) as exc:
        raise PluginError(
            f"{record.method} ({name}) no longer takes the params of a waiting job: "
            f"{str(exc).strip()}"
        ) from None


def _named(plugin: Plugin) -> str:
    return f"{plugin.name} {plugin.version}".rstrip()


def _server_of(method: str, registry: Registry) -> str:
    """Say which plugin could serve a method that none does."""
    namespace = method.rpartition(".")[0]
    found = [_named(p) for p in registry.plugins if namespace in p.namespaces]
    if not found:
        return f"no plugin serves {namespace!r}"
    return f"plugin {' or '.join(found)} has no such job"


def _keep_excerpt(record: JobRecord) -> None:
    if record.logs_path is not None:
        record.logs_excerpt = excerpt(Path(record.logs_path))


def rights_of(record: JobRecord, roles: frozenset[str]) -> Credentials | None:
    """Give the rights that a job of an earlier start runs with."""
    shown = record.credentials
    if shown is None:
        return None
    return Credentials(
        type=shown.type,
        account_id=record.owner,
        username=shown.data.username,
        roles=roles,
        login_id=shown.data.login_id,
        login_at=shown.data.login_at.ms,
    )
