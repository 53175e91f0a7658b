"""Eighth promise: the record is complete; each field is stored, shown and replayed."""

from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.commits import Job, Row, Write
from benchmarks.promised.counted import CountingWriter
from benchmarks.promised.found import Found
from benchmarks.promised.told import ITEMS, KEEP
from benchmarks.promised.typed import SETTINGS
from benchmarks.sketch import NODE, RUNNING, SUCCESS, Change, encode, frame_of, now

from middlewared import Date, Event
from middlewared.events import Message
from middlewared.inserts import Insert
from middlewared_jobs.announcement import size_of
from middlewared_jobs.change import FIXED, change_of
from middlewared_jobs.exits import COMPLETED, close_steps
from middlewared_jobs.notes import Exit
from middlewared_jobs.outcome import EncodedResult, record_aborted, record_success
from middlewared_jobs.phase import Phase
from middlewared_jobs.record import (
    AT_FIRST,
    AT_LAST,
    Abort,
    EncodingFailure,
    JobRecord,
    encode_item,
    item_of,
)
from middlewared_jobs.recorder import take_notes
from middlewared_jobs.rows import (
    CHANGES,
    REWRITE,
    VARYING,
    fixed_values,
    varying_values,
)
from middlewared_jobs.states import FINAL, check_move
from middlewared_jobs.store import NO_CHANGE
from middlewared_jobs.tracking import apply_spec

__all__ = ["Recorded"]

#: What few new jobs have stands last, of both; the time of the end stands first.
FIXED_USUAL, USUAL_END = FIXED.index("lock"), VARYING.index("run_at")
NEW = Insert("jobs", (*FIXED[:FIXED_USUAL], *VARYING[1:USUAL_END]))
NEW_RARE = Insert("jobs", (*FIXED, *VARYING))
NO_FIXED = (None,) * (len(FIXED) - FIXED_USUAL)
NO_VARYING = (None,) * (len(VARYING) - USUAL_END)
END = CHANGES[SUCCESS][0]
#: Of what is written again and again until it is there: never over the end.
NOTED = f"{REWRITE} AND time_finished IS NULL"
RUNS, FINISHED = Phase.RUNNING, Phase.FINISHED

_values = msgspec.structs.astuple
_rare_fixed = itemgetter(
    *map(JobRecord.__struct_fields__.index, FIXED[FIXED_USUAL:]),
)


class Noted(msgspec.Struct, eq=False):
    """A job as `take_notes` sees it."""

    job: Any
    record: JobRecord
    exit: Exit | None
    item_errors: list[Any] = []
    paused_at: float | None = None
    paused: float = 0.0
    doing: str | None = None


class RecordingWriter(CountingWriter):
    """Writes new rows, and ends, that have what most have, many at a time."""

    first, last = NEW, END.sql


class Recorded(Found):
    """A job has a record of all fields, and whatever set one, it is written.

    The record stands where the item stood. That a job is a plain one is nowhere known:
    whether a row or a change may be narrow is found by looking at all of it.

    Attributes:
        rows: what varies in the rows of unfinished jobs, as it was written last.
    """

    writer = RecordingWriter

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.rows: dict[int, Row] = {}

    def job(
        self, method: str, arguments: msgspec.Raw, number: msgspec.Raw, caller: Any
    ) -> Job:
        """Make a job of a call."""
        self.last_id = ident = self.last_id + 1
        at = now()
        record: Any = JobRecord(
            id=ident,
            uid=self._uids.take(),
            message_ids=[number],
            method=method,
            arguments=arguments,
            time_created=Date(at),
            credentials=self.who,
            owner=self.rights(caller).account_id,
            instance=ident,
        )
        answer = b'{"jsonrpc":"2.0","result":%d,"id":%b}' % (ident, number)
        return Job(ident, record, caller, number, answer, at)

    def accept(self, job: Job) -> None:
        """Write a job down, with what its method says of it."""
        record: Any = job.item
        apply_spec(record, job.spec, job.values)
        super().accept(job)

    def record(self, job: Job) -> JobRecord:
        """Give the whole record of a job as it is."""
        record: Any = job.item
        return record  # type: ignore[no-any-return]  # it is made so

    # Rows.

    def enter(self, job: Job) -> None:
        """Take down a new job, and that it runs, if it may."""
        write = Write(self.begun, job)
        record: Any = job.item
        record.time_modified = record.time_created
        item = item_of(record)
        self._keep(write, "added", job.created, encode(item), change_of(record))
        if self.may_run(job):
            self._runs(job, job.created)
            # An item differs by no more between the two.
            item.state, item.time_started = RUNNING, record.time_started
            self._keep(write, "changed", job.created, encode(item), change_of(record))
        self.write_new(write)

    def _runs(self, job: Job, at: int) -> None:
        record: Any = job.item
        record.state, record.phase, record.time_started = RUNNING, RUNS, Date(at)
        record.attempt, record.node, record.run_at = 1, NODE, None

    def fill(self, write: Write) -> None:
        """Make the first row of a job."""
        job = write.job
        record: Any = job.item
        record.lock = job.lock
        varying = self.rows[job.id] = varying_values(record, bytes(record.arguments))
        if (
            record.credentials is not self.who
            or varying[0] is not None
            or varying[USUAL_END:] != NO_VARYING
            or _rare_fixed(_values(record)) != NO_FIXED
        ):
            write.other = NEW_RARE, fixed_values(record) + varying
            return
        write.new = (
            record.id, record.uid, record.method, str(record.arguments, "utf-8"),
            record.time_created.ms, self.who_text, record.owner,
            1 if record.abortable else 0, record.instance,
            1 if record.is_restart else 0, *varying[1:USUAL_END],
        )  # fmt: skip

    def _start(self, job: Any) -> None:
        check_move(job.item.state, RUNNING)
        at = now()
        self._runs(job, at)
        write = Write(self.resumed, job)
        self.move(write, "changed", at)
        after = varying_values(job.item, bytes(job.item.arguments))
        change = CHANGES[RUNNING][0]
        if change.makes(self.rows[job.id], after):
            write.other = change.sql, change.values(job.id, after)
        else:
            write.other = REWRITE, (*after, job.id, 1)
        self.rows[job.id] = after
        self.writes.put(write)

    def succeed(self, job: Job, result: bytes) -> None:
        """Write the end of a job that returned."""
        record: Any = job.item
        at = now()
        record.exit = exit_ = job.exit or COMPLETED
        if record.steps:
            close_steps(record, SUCCESS, exit_, at)
        if record.progress is AT_FIRST:
            record.progress = AT_LAST
        else:
            record.progress = msgspec.structs.replace(record.progress, percent=100)
        record.result, record.run_at = msgspec.Raw(result), None
        record.state, record.phase, record.time_finished = SUCCESS, FINISHED, Date(at)
        write = Write(self.over, job)
        self.move(write, "changed", at)
        after = varying_values(record, None)
        if END.makes(self.rows.pop(job.id), after):
            write.end = END.values(job.id, after)
        else:
            write.other = REWRITE, (*after, job.id, 1)
        self.writes.put(write)

    def end_unshown(self, job: Job, why: EncodingFailure) -> None:
        """Write the end of a job whose result cannot be shown."""
        result = EncodedResult(None, None, why)
        record_success(self.record(job), result, job.exit or COMPLETED, now())
        self.settle(job, self.record(job))

    def end_aborted(self, job: Job) -> None:
        """Write the end of a job that was aborted."""
        record = self.record(job)
        if record.abort is None:
            record.abort = Abort(job.aborted or "", Date(now()))
        record_aborted(record, now())
        self.settle(job, record)

    def settle(self, job: Job, record: JobRecord) -> None:
        """Write the end of a job that did not come out as most do."""
        self.rows.pop(job.id, None)
        super().settle(job, record)

    def forget_job(self, job: Job, why: str) -> None:
        """Say that there is no job after all."""
        self.rows.pop(job.id, None)
        super().forget_job(job, why)

    # What a body notes.

    def take_notes(self, job: Job) -> bool:
        """Move what a body noted into the record; tell whether that is anything."""
        if not job.seen.opened:
            return False
        noted: Any = Noted(job.seen, self.record(job), job.exit)
        take_notes(noted, SETTINGS)
        job.exit = noted.exit
        return True

    def tell_notes(self, job: Job) -> None:
        """Tell what a body noted, and write it."""
        super().tell_notes(job)
        self._write_notes(Write(self._noted, job))

    def abort(self, number: int, by: str) -> None:
        """Ask a job to end; one that waits does so."""
        super().abort(number, by)
        job = self.live.get(number)
        if job is None or number in self.ending or self.record(job).abort:
            return
        if job.seen is not None:
            self.take_notes(job)
        record = self.record(job)
        record.abort, record.phase = Abort(by, Date(now())), Phase.ABORTING
        write = Write(self._noted, job)
        self.move(write, "changed", now())
        self._write_notes(write)

    def _write_notes(self, write: Write) -> None:
        job = write.job
        values = varying_values(self.record(job), bytes(job.item.arguments))
        write.other = NOTED, (*values, job.id, 1)
        self.writes.put(write)

    def _noted(self, write: Write) -> None:
        job = write.job
        if job.id in self.rows and write.other is not None:
            self.rows[job.id] = write.other[1][: len(VARYING)]
        for event in write.told:
            self.publish(event)

    # What is kept, and told.

    def move(
        self, write: Write, msg: Message, at: int, change: Change | None = None
    ) -> None:
        """Take down what a job is like, to be kept and to be told; all of it."""
        record: Any = write.job.item
        record.time_modified = Date(at)
        kept = None if record.state in FINAL else change_of(record)
        self._keep(write, msg, at, encode_item(record), kept)

    def _keep(
        self, write: Write, msg: Message, at: int, fields: bytes, kept: bytes | None
    ) -> None:
        self.last_seq += 1
        job = write.job
        size = size_of(self.record(job), kept)
        move = (self.last_seq, at, job.id, msg, size, kept or NO_CHANGE)
        write.moves.append(move)
        write.told.append(self._event(job, msg, fields))

    def event(self, job: Job, msg: str) -> Any:
        """Make what is published of a job as it is now."""
        return self._event(job, msg, encode_item(self.record(job)))

    def _event(self, job: Job, msg: str, fields: bytes) -> Any:
        event = Event(ITEMS, msg, job.id, fields, job.audience, KEEP)  # type: ignore[arg-type]  # one of three
        event.seq, event._frame = self.last_seq, frame_of(msg, job.id, fields)
        return event
