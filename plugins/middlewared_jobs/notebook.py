"""The notebook of one job: written by its body from any thread, read by the loop."""

import errno
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from middlewared import CallError, Date, ejson
from middlewared_jobs.notes import (
    EXIT_KINDS,
    Exit,
    ExitKind,
    ItemError,
    Notes,
    Severity,
    StepRecord,
    TextMessage,
)
from middlewared_jobs.progress import MAX_PERCENT, clamp
from middlewared_jobs.record import CoreGetJobsItemProgress, JobRecord
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.states import State
from middlewared_jobs.texts import check_opaque, sendable

__all__ = ["MAX_COUNTS", "MAX_STEPS", "Latest", "Notebook", "step_id"]

#: Steps that one job may have; their numbers are made of the job's.
MAX_STEPS = 1024
#: Names of counts that one job may have.
MAX_COUNTS = 1000


def step_id(job: int, place: int) -> int:
    """Number a step: unlike any other step's, and rising with the job's number."""
    return job * MAX_STEPS + place


class Latest(msgspec.Struct, frozen=True):
    """What a body set since somebody looked last.

    Attributes:
        progress: as it is now.
        description: as it is now.
        notes: what is new besides, None when nothing is.
    """

    progress: CoreGetJobsItemProgress
    description: str | None
    notes: Notes | None = None


class Notebook:
    """Everything that a body says of its job, until the loop takes it.

    Safe from any thread. The record itself belongs to the loop: what is noted waits
    here for it, newest value of each, so that noting is cheap and bounded.

    Args:
        record: of the job, for what it begins with.
        limits: on what may be noted.
        now: gives milliseconds since 1970-01-01 UTC.
        changed: called after every note; with True when it should be seen at once.

    Attributes:
        lock: guards all below; a forked process makes a new one.
        noted_at: when something was noted last, by the monotonic clock: the sign of
            life of the body; 0.0 when nothing was.
    """

    __slots__ = (
        "_attributes",
        "_changed",
        "_counts",
        "_description",
        "_doing",
        "_extra",
        "_item_errors",
        "_job",
        "_limits",
        "_messages",
        "_now",
        "_pending",
        "_percent",
        "_steps",
        "_touched",
        "lock",
        "noted_at",
    )

    def __init__(
        self,
        record: JobRecord,
        limits: JobSettings,
        now: Callable[[], int],
        changed: Callable[[bool], None],
    ) -> None:
        self.lock = threading.Lock()
        self.noted_at = 0.0
        self._limits = limits
        self._now = now
        self._changed = changed
        self._touched = False
        self._set(record.progress)
        self._description = record.description
        self._pending: Notes | None = None
        self._job = record.id
        self._steps = [_copy(step) for step in record.steps]
        self._counts = dict(record.counts)
        self._attributes = dict(record.attributes)
        self._messages = record.messages[-1].seq if record.messages else 0
        self._item_errors = record.item_errors

    # What the loop, or the sender of a child, does.

    def take(self) -> Latest | None:
        """Give what was set since the last time, None when nothing was."""
        with self.lock:
            if not self._touched:
                return None
            self._touched = False  # before the values are read, see `set_progress`
            notes, self._pending = self._pending, None
            if notes is not None:
                notes.steps = {p: _copy(step) for p, step in notes.steps.items()}
                if notes.counts is not None:
                    notes.counts = dict(notes.counts)
                if notes.attributes is not None:
                    notes.attributes = dict(notes.attributes)
            return Latest(self._progress(), self._description, notes)

    def latest(self) -> tuple[CoreGetJobsItemProgress, str | None]:
        """Give progress and description as they are."""
        with self.lock:
            return self._progress(), self._description

    def _progress(self) -> CoreGetJobsItemProgress:
        return CoreGetJobsItemProgress(self._percent, self._doing, self._extra)

    def _set(self, progress: CoreGetJobsItemProgress) -> None:
        self._percent, self._doing = progress.percent, progress.description
        self._extra = progress.extra

    def put(self, latest: Latest) -> None:
        """Note what was noted in a child."""
        with self.lock:
            self._set(latest.progress)
            self._description = latest.description
            if latest.notes is not None:
                _merge(self._draft(), latest.notes)
            self._touched = True
            self.noted_at = time.monotonic()
        self._changed(latest.notes is not None and _urgent(latest.notes))

    # What a body does.

    def set_progress(
        self,
        percent: float | None,
        description: str | None,
        extra: Any,
        *,
        indeterminate: bool,
    ) -> None:
        """Note how far the job is; see `Job.set_progress`."""
        # Without the lock, which many threads would only wait for: each value is set at
        # one go, and of two threads either may be the last one.
        if indeterminate:
            self._percent = None
        elif percent is not None:
            # The usual looked at here: a call takes longer than the look.
            fits = 0 <= percent <= MAX_PERCENT
            self._percent = int(percent) if fits else clamp(percent)
        if description is not None:
            self._doing = description
        if extra is not None:
            self._extra = extra
        self.noted_at = time.monotonic()
        # After the values: who takes them clears this first.
        if not self._touched:
            self._touched = True
            self._changed(False)

    def set_description(self, description: str | None) -> None:
        """Note what the job is."""
        with self.lock:
            if self._description == description:
                return
            self._description = description
        self._note(urgent=False)

    def add_message(
        self, code: int | str | None, text: str, severity: Severity
    ) -> None:
        """Note a message; of many, the newest are kept."""
        with self.lock:
            self._messages += 1
            message = TextMessage(
                self._messages, Date(self._now()), severity, code, sendable(text)
            )
            kept = self._draft().messages
            kept.append(message)
            del kept[: -self._limits.max_messages]
        self._note(urgent=False)

    def count(self, name: str, number: int) -> None:
        """Add to a count.

        Raises:
            CallError: E2BIG, there are too many counts.
        """
        with self.lock:
            _add(self._counts, name, number)
            self._draft().counts = self._counts
        self._note(urgent=False)

    def add_item_error(self, error: ItemError) -> None:
        """Note an item that failed; what is over the limit is counted only."""
        with self.lock:
            self._item_errors += 1
            draft = self._draft()
            draft.item_errors_seen = self._item_errors
            if self._item_errors <= self._limits.max_item_errors:
                now = Date(self._now())
                draft.item_errors.append(
                    msgspec.structs.replace(error, seq=self._item_errors, time=now)
                )
        self._note(urgent=False)

    def set_scopes(self, scopes: Iterable[str]) -> None:
        """Note what the job works on."""
        with self.lock:
            self._draft().scopes = list(scopes)
        self._note(urgent=False)

    def set_attribute(self, name: str, value: Any) -> None:
        """Note a value of the author's own.

        Raises:
            CallError: EINVAL, it has no form on the wire; EMSGSIZE, it is too large.
        """
        plain = msgspec.json.decode(self._encode(value, f"attribute {name!r}"))
        with self.lock:
            self._attributes[name] = plain
            self._draft().attributes = self._attributes
        self._note(urgent=False)

    def set_exit(self, code: str, message: str | None, kind: ExitKind) -> None:
        """Note how the job comes out, if it succeeds.

        Raises:
            CallError: EINVAL, the kind is not the body's to choose.
        """
        if kind not in EXIT_KINDS:
            raise CallError(
                f"kind is {kind!r}, expected one of {', '.join(EXIT_KINDS)}",
                errno.EINVAL,
            )
        with self.lock:
            self._draft().exit = Exit(kind, code, message)
        self._note(urgent=False)

    def set_checkpoint(self, data: Any) -> bytes:
        """Note where a later attempt or restart may go on; give it as it is stored.

        Raises:
            CallError: EINVAL, it has no form on the wire; EMSGSIZE, it is too large.
        """
        encoded = self._encode(data, "the checkpoint")
        with self.lock:
            self._draft().checkpoint = msgspec.Raw(encoded)
        self._note(urgent=False)
        return encoded

    def set_paused(self, paused: bool) -> None:
        """Note that the body stands still between two steps, or goes on."""
        with self.lock:
            self._draft().paused = paused
        self._note(urgent=True)

    # Steps.

    def open_step(self, wanted: StepRecord) -> int | None:
        """Begin a step, one that was declared if it has this name and scope.

        Returns:
            Its place; None when it succeeded before, in an earlier job or attempt.

        Raises:
            CallError: E2BIG, the job has too many steps.
        """
        with self.lock:
            place = self._find(wanted)
            step = self._steps[place]
            if step.state is State.SUCCESS:
                return None
            now = Date(self._now())
            step.state, step.exit = State.RUNNING, None
            step.time_started, step.time_finished = now, None
            step.time_modified = now
            if wanted.total is not None:
                step.total = wanted.total
            self._draft().steps[place] = step
        self._note(urgent=True)
        return place

    def _find(self, wanted: StepRecord) -> int:
        for place, step in enumerate(self._steps):
            if (step.name, step.scope) == (wanted.name, wanted.scope):
                return place
        if len(self._steps) == MAX_STEPS:
            raise CallError(f"A job has at most {MAX_STEPS} steps", errno.E2BIG)
        wanted.id = step_id(self._job, len(self._steps))
        self._steps.append(wanted)
        return len(self._steps) - 1

    def advance_step(
        self, place: int, items: int, percent: float | None, doing: str | None
    ) -> None:
        """Note how far a step is."""
        with self.lock:
            step = self._steps[place]
            step.done += items
            if percent is None and step.total:
                percent = 100 * step.done / step.total
            if percent is not None:
                step.percent = int(max(0, min(100, percent)))
            if doing is not None:
                step.doing = sendable(doing)
            self._touch_step(place, step)
        self._note(urgent=False)

    def count_step(self, place: int, name: str, number: int) -> None:
        """Add to a count of a step.

        Raises:
            CallError: E2BIG, there are too many counts.
        """
        with self.lock:
            step = self._steps[place]
            _add(step.counts, name, number)
            self._touch_step(place, step)
        self._note(urgent=False)

    def close_step(self, place: int, state: State, exit: Exit) -> None:  # noqa: A002 - the record's word
        """End a step."""
        with self.lock:
            step = self._steps[place]
            step.state, step.exit = state, exit
            if state is State.SUCCESS and step.percent is not None:
                step.percent = 100
            step.time_finished = Date(self._now())
            self._touch_step(place, step)
        self._note(urgent=True)

    def _touch_step(self, place: int, step: StepRecord) -> None:
        step.time_modified = Date(self._now())
        self._draft().steps[place] = step

    # The rest.

    def _draft(self) -> Notes:
        if self._pending is None:
            self._pending = Notes()
        return self._pending

    def _note(self, *, urgent: bool) -> None:
        with self.lock:
            self._touched = True
            self.noted_at = time.monotonic()
        self._changed(urgent)

    def _encode(self, value: Any, what: str) -> bytes:
        try:
            encoded = ejson.encode(value)
            check_opaque(encoded)
        except ejson.EncodingError as exc:
            raise CallError(f"{what} cannot be encoded: {exc}", errno.EINVAL) from None
        if len(encoded) > self._limits.max_checkpoint:
            raise CallError(
                f"{what} has {len(encoded)} bytes, the limit max_checkpoint is "
                f"{self._limits.max_checkpoint}",
                errno.EMSGSIZE,
            )
        return encoded


def _copy(step: StepRecord) -> StepRecord:
    return msgspec.structs.replace(step, counts=dict(step.counts))


def _add(counts: dict[str, int], name: str, number: int) -> None:
    if name not in counts and len(counts) == MAX_COUNTS:
        raise CallError(f"A job has at most {MAX_COUNTS} counts", errno.E2BIG)
    counts[name] = counts.get(name, 0) + number


def _urgent(notes: Notes) -> bool:
    return bool(notes.steps) or notes.paused is not None


def _merge(into: Notes, new: Notes) -> None:
    into.steps |= new.steps
    into.messages += new.messages
    into.item_errors += new.item_errors
    into.item_errors_seen = max(into.item_errors_seen, new.item_errors_seen)
    for name in ("counts", "scopes", "attributes", "exit", "checkpoint", "paused"):
        value = getattr(new, name)
        if value is not None:
            setattr(into, name, value)
