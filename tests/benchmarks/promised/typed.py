"""Second promise: rights, typed params, results that have a form, and errors."""

import errno
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.commits import Job, Write
from benchmarks.promised.audited import Audited, AuditingWriter
from benchmarks.sketch import NODE, SUBSCRIBE, now

from middlewared import Date, Plugin, ejson
from middlewared.errors import CallError, InvalidRequest, MethodNotFound
from middlewared.jsonrpc import NO_ID, read_id, read_plain, render_error
from middlewared.plugin import Method
from middlewared_jobs import Job as SeenJob
from middlewared_jobs import job
from middlewared_jobs.declared import spec_of
from middlewared_jobs.notes import Exit
from middlewared_jobs.outcome import EncodedResult, record_success
from middlewared_jobs.phase import Phase
from middlewared_jobs.record import CoreGetJobsItem, EncodingFailure, JobRecord
from middlewared_jobs.rows import REWRITE, varying_values
from middlewared_jobs.settings import JobSettings

__all__ = ["SETTINGS", "Typed"]

SETTINGS = JobSettings()
#: Of values of these types every text is JSON.
PLAIN = frozenset({int, str, bool, type(None)})
#: Seconds before the write of an end that failed is tried again.
RETRY_SECONDS = 1.0

plugin = Plugin("demo", requires=("jobs",))


@plugin.method(roles=["JOB_USER"])
@job
async def noop(job: SeenJob, value: Any = None) -> Any:
    """Return *value*, as the body of row 4 does."""
    return value


class CarefulWriter(AuditingWriter):
    """Writes apart what cannot be written together, and says what could not be."""

    def transact(self, database: sqlite3.Connection, group: list[Write]) -> None:
        """Write a group as one transaction; in the thread."""
        try:
            super().transact(database, group)
        except sqlite3.Error as exc:
            if database.in_transaction:
                database.execute("ROLLBACK")
            if len(group) == 1:
                group[0].failure = exc
                return
            for write in group:
                self.transact(database, [write])

    def report(self, group: list[Write]) -> None:
        """Go on with what is committed, and say what is not."""
        for write in group:
            if write.failure is None:
                write.then(write)
            else:
                self.refused(write)

    def refused(self, write: Write) -> None:
        """Say that something could not be written."""
        job, failure = write.job, write.failure
        write.failure = None
        if write.audit is None:
            self.loop.call_later(RETRY_SECONDS, self.put, write)
        else:
            self.sketch.forget_job(job, f"The job could not be written: {failure}")


class Typed(Audited):
    """Who may not, or sends what does not fit, is told so; so is what has no form.

    Attributes:
        methods: what can be called, by name.
    """

    writer = CarefulWriter

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.methods: Mapping[str, Method] = plugin.methods

    def take(self, raw: bytes, caller: Any) -> None:
        """Take a message of a client."""
        plain = read_plain(raw)
        if plain is None:
            self.refuse(caller, read_id(raw) or b"null", InvalidRequest())
            return
        name, params, number = plain
        method = self.methods.get(name)
        if method is None:
            self.take_other(name, number, caller)
            return
        try:
            method.access.check(self.rights(caller))
            values = method.params.decode(params)
            if values is None:
                values = _bound(method, params)
            self.take_job(method, values, params, number, caller)
        except CallError as exc:
            self.refuse(caller, number, exc)

    def take_other(self, name: str, number: bytes, caller: Any) -> None:
        """Take a call that is no job."""
        if name == SUBSCRIBE:
            self.subscribe(caller, number)
        else:
            self.refuse(caller, number, MethodNotFound())

    def take_job(
        self,
        method: Method,
        values: list[Any],
        params: bytes,
        number: bytes,
        caller: Any,
    ) -> None:
        """Make a job of a call."""
        spec = spec_of(method)
        if params[:1] != b"[" or spec.secret:
            params = ejson.encode(values)
        job = self.job(method.name, msgspec.Raw(params), msgspec.Raw(number), caller)
        job.method, job.spec, job.values, job.number = method, spec, values, number
        self.accept(job)

    def refuse(self, caller: Any, number: bytes, exc: Exception) -> None:
        """Answer with an error."""
        if number != NO_ID:
            self.send(caller, render_error(exc, number, with_trace=False))
            self.flush()

    def forget_job(self, job: Job, why: str) -> None:
        """Say that there is no job after all."""
        self.refuse(job.caller, job.number, CallError(why, errno.EIO))

    async def run(self, job: Job) -> None:
        """Run the body, and write down its end."""
        method = job.method
        value = await method.params.call(method.handler, None, job.values)
        self.returned(job, value)
        del self.tasks[job.id]

    def returned(self, job: Job, value: Any) -> None:
        """Write down what a body returned; what has no form fails no job."""
        results = job.method.results
        try:
            encoded = results.encode(value, clear=False)
            if results.opaque and type(value) not in PLAIN:
                msgspec.json.decode(encoded, type=msgspec.Raw)
                encoded.decode()
        except ValueError as exc:
            self.end_unshown(job, EncodingFailure(type(exc).__name__, repr(exc)))
            return
        if len(encoded) > SETTINGS.max_result:
            self.end_unshown(job, EncodingFailure("TooLarge", str(len(encoded))))
        else:
            self.end(job, encoded)

    # What is odd may take its time, and goes through the real record.

    def end_unshown(self, job: Job, why: EncodingFailure) -> None:
        """Write the end of a job whose result cannot be shown."""
        record = self.record(job)
        result = EncodedResult(None, None, why)
        record_success(record, result, Exit("COMPLETED", "OK"), now())
        self.settle(job, record)

    def record(self, job: Job) -> JobRecord:
        """Give the whole record of a job as it is."""
        item = job.item
        known = {name: getattr(item, name) for name in item.__struct_fields__}
        started = item.time_started is not None
        return JobRecord(
            **known,
            uid="",
            time_created=Date(job.created),
            attempt=1 if started else 0,
            phase=Phase.RUNNING if started else Phase.PENDING,
            lock=job.lock,
            node=NODE,
        )

    def settle(self, job: Job, record: JobRecord) -> None:
        """Write the end of a job that did not come out as most do."""
        for name in CoreGetJobsItem.__struct_fields__:
            setattr(job.item, name, getattr(record, name))
        record.time_modified = Date(now())
        values = (*varying_values(record, None), job.id, 1)
        write = Write(self.over, job, other=(REWRITE, values))
        self.move(write, "changed", now(), None)
        self.writes.put(write)


def _bound(method: Method, params: bytes) -> list[Any]:
    """Bind params the slow way, which says what is wrong.

    Raises:
        ValidationErrors: they do not fit.
    """
    given: Any = ejson.decode(params or b"[]")
    args, named = ([], given) if isinstance(given, dict) else (given, {})
    return method.params.bind(args, named)
