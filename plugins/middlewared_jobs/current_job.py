"""What a running job's body may use: the `Job` that is its first parameter."""

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Literal

import anyio.from_thread
import msgspec

from middlewared import CallError, Context, Credentials, ejson
from middlewared.context import Services
from middlewared_jobs.desk import Desk
from middlewared_jobs.joblog import SILENT, JobLog
from middlewared_jobs.notebook import Latest, Notebook
from middlewared_jobs.notes import ExitKind, ItemError, Severity
from middlewared_jobs.pausing import Gate
from middlewared_jobs.pipes import NO_PIPES, JobPipes, not_open
from middlewared_jobs.record import CoreGetJobsItemCredentials, JobRecord
from middlewared_jobs.step import JobAborted, Step, StepSpec

__all__ = ["Job", "JobAborted", "JobContext"]

#: Held while a body's first note makes what it needs for that.
_making = threading.Lock()


class JobContext(Context):
    """What a body may reach; jobs that are called through it are its children.

    Attributes:
        job: the number of the job.
    """

    __slots__ = ("job",)

    def __init__(
        self, services: Services, credentials: Credentials | None, job: int
    ) -> None:
        super().__init__(services, None, credentials)
        self.job = job


class Job:
    """One run of a job method, as its body sees it.

    Everything here is safe to use from the body's own thread and from threads it
    starts, while the body runs. What is noted is shown and stored at most
    ``progress_interval`` seconds later; a crash may lose that much.

    Attributes:
        log: for lines in the job's log; drops them when the job has none.
        aborted: somebody asked to abort the job. The body of a thread job looks at it
            or calls `check_aborted`; an ``async`` body is cancelled instead.
        pipes: what was uploaded to the job, and where it writes what is downloaded.
    """

    def __init__(
        self,
        record: JobRecord,
        desk: Desk,
        catalog: Mapping[int, str] | None = None,
    ) -> None:
        self.log: logging.Logger = SILENT
        self.aborted = False
        self.pipes: JobPipes = NO_PIPES
        self._log: JobLog | None = None
        self._desk = desk
        self._record = record
        # Made when they are needed: most short jobs have no use for them.
        self._context: Context | None = None
        self._opened: Notebook | None = None
        self._barred: Gate
        self._catalog = catalog or {}
        self._checkpoint: bytes | msgspec.Raw = record.checkpoint

    @property
    def context(self) -> Context:
        """The services, with the rights of who started the job.

        Jobs that are called through it are children of this one, and are aborted with
        it.
        """
        if self._context is None:
            self._context = self._desk.make_context()
        return self._context

    def _open(self) -> Notebook:
        """Make what the body notes in, and with it what it passes between two steps."""
        with _making:
            if self._opened is None:
                notebook = self._desk.open_notebook()
                self._barred = Gate(notebook)
                self._opened = notebook
            return self._opened

    @property
    def _notebook(self) -> Notebook:
        return self._opened or self._open()

    @property
    def _gate(self) -> Gate:
        if self._opened is None:
            self._open()
        return self._barred

    def _take_notes(self) -> Latest | None:
        """Give what the body noted since the last time, None when nothing."""
        return None if self._opened is None else self._opened.take()

    @property
    def id(self) -> int:
        """The job's number."""
        return self._record.id

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._record.attempt

    @property
    def is_restart(self) -> bool:
        """Whether this job goes on where an earlier one ended (``job.restart``)."""
        return self._record.is_restart

    @property
    def credentials(self) -> CoreGetJobsItemCredentials | None:
        """Who started the job."""
        return self._record.credentials

    @property
    def logs_fd(self) -> BinaryIO:
        """The log file for raw bytes, as a child process writes them; unbuffered.

        Raises:
            CallError: the job is declared without ``logs=True``.
        """
        if self._log is None:
            raise CallError("This job has no logs")
        return self._log.file

    def set_progress(
        self,
        percent: float | None = None,
        description: str | None = None,
        extra: Any = None,
        *,
        indeterminate: bool = False,
    ) -> None:
        """Say how far the job is; cheap enough for every item of a loop.

        Clients see the newest value, at most four times a second. None leaves a value
        as it is.

        Args:
            percent: clamped to 0..100 and cut to an integer.
            description: what the job does now.
            extra: anything more that can be encoded, at most 64 KiB.
            indeterminate: the job cannot say how far it is; percent becomes null.
        """
        notebook = self._opened or self._open()  # a body may call this all the time
        notebook.set_progress(percent, description, extra, indeterminate=indeterminate)

    def set_description(self, description: str | None) -> None:
        """Change what the job is, for people."""
        self._notebook.set_description(description)

    def check_aborted(self) -> None:
        """Raise `JobAborted` when somebody asked to abort the job."""
        if self.aborted:
            raise JobAborted

    def check_pipe(self, name: str) -> None:
        """Let a job pass that has a pipe, ``input`` or ``output``.

        Raises:
            CallError: EINVAL, it has not.
        """
        if name not in self.pipes:
            raise not_open(name)

    async def adopt(self, pid: int, *, grace: float | None = None) -> None:
        """Tie a child process of the body to the job; returns when that is on disk.

        An abort sends SIGTERM to its process group, and SIGKILL after *grace* seconds
        if the job has not ended. If the server dies, what is left of its session is
        killed at the next start, before any lock is free: known by `CHILD_OF` in the
        environment when the child itself is gone. Start it with a session of its own,
        let it do nothing before this returns, and call `release` when it has ended.
        From the thread of a plain ``def`` body: ``anyio.from_thread.run``.

        Args:
            pid: number of the child.
            grace: seconds after an abort; by default ``abort_grace``.

        Raises:
            CallError: EINVAL, it leads no session; EBUSY, there is an adopted child
                already; EIO, the database could not be written; EOPNOTSUPP, the body
                runs in a child process itself, and all it starts ends with that.
        """
        await self._desk.adopt(pid, grace)

    def release(self) -> None:
        """Kill what the adopted child left in its session, and let it go.

        Call it when the child has ended and before it is waited for, since its number
        may be used again from then on. Reads the process table.
        """
        self._desk.release()

    # Other jobs.

    async def start(self, method: str, *params: Any) -> int:
        """Start another job, a child of this one, and return its id.

        It has the rights of this one, and is aborted with it.

        Args:
            method: full name of a job method.
            params: plain values, as a client would send them.

        Raises:
            CallError: it is refused.
        """
        self._desk.check_open()
        number: int = await self.context.call("job.submit", method, list(params))
        return number

    async def wrap(self, number: int) -> Any:
        """Wait for another job with its progress shown as that of this one.

        Safe to cancel: the other one goes on, unless it is a child of this one and this
        one is aborted. Meanwhile it may have the slot of this one.

        Args:
            number: of the job, from `start` for example.

        Returns:
            Its result, as plain values.

        Raises:
            Exception: what the other one raised; CallError ECANCELED, it was aborted.
            CallError: EPERM, it belongs to somebody else; EOPNOTSUPP, in a process job.
        """
        return await self._desk.wrap(number)

    def start_sync(self, method: str, *params: Any) -> int:
        """Do what `start` does, in the thread of a plain ``def`` body."""
        self._desk.check_open()
        return anyio.from_thread.run(self.start, method, *params)

    def wrap_sync(self, number: int) -> Any:
        """Do what `wrap` does, in the thread of a plain ``def`` body."""
        self._desk.check_open()
        return anyio.from_thread.run(self.wrap, number)

    # The record.

    def step(
        self,
        name: str,
        *,
        scope: str | None = None,
        total: int | None = None,
        description: str = "",
    ) -> Step:
        """Begin a step: ``async with job.step("scan", total=9) as step``, or ``with``.

        Entering it waits while the job is asked to pause. In a restart, or a later
        attempt of a ``restartable`` job, a step that succeeded is ``skipped``.

        Args:
            name: of a step that the method declares, or a new one.
            scope: what it works on, when the same step runs for several.
            total: items it has to do, so that `Step.advance` tells the percentage.
            description: for people; of a step that is not declared.
        """
        spec = StepSpec(name=name, scope=scope, total=total, description=description)
        return Step(self._notebook, self._gate, self.check_aborted, spec)

    def message(
        self,
        code: int | str | None,
        text: str | None = None,
        severity: Severity = "info",
        **values: Any,
    ) -> None:
        """Add a message to the record; the newest ``max_messages`` are kept.

        Args:
            code: of the message, for programs; may be None.
            text: for people; without it, the text that the method declares for the
                code, with *values* put in.
            severity: info, warning, error or abort.
            values: for the declared text.

        Raises:
            CallError: there is no text, and none is declared for the code.
        """
        if text is None:
            template = self._catalog.get(code) if isinstance(code, int) else None
            if template is None:
                raise CallError(f"message {code!r} has no text and none is declared")
            text = template.format(**values)
        self._notebook.add_message(code, text, severity)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count of the record.

        Raises:
            CallError: E2BIG, there are too many counts.
        """
        self._notebook.count(name, number)

    def error_item(
        self,
        item: str,
        code: str,
        text: str,
        *,
        key: str = "400",
        location: str | None = None,
        severity: Literal["ERROR", "WARNING"] = "ERROR",
    ) -> None:
        """Note an item that could not be done, and go on with the others.

        A job with such items that returns is SUCCESS, its exit COMPLETED_WITH_ERRORS.

        Args:
            item: which one.
            code: of the error, for programs.
            text: for people.
            key: a number in the manner of HTTP statuses, as text.
            location: where the item belongs.
            severity: ERROR or WARNING.
        """
        self._notebook.add_item_error(
            ItemError(0, item, code, text, key, location, severity)
        )

    def set_scopes(self, scopes: Iterable[str]) -> None:
        """Say what the job works on."""
        self._notebook.set_scopes(scopes)

    def set_attribute(self, name: str, value: Any) -> None:
        """Put a value of one's own into the record.

        Raises:
            CallError: it has no form on the wire, or is too large.
        """
        self._notebook.set_attribute(name, value)

    def set_exit(
        self, code: str, message: str | None = None, kind: ExitKind = "COMPLETED"
    ) -> None:
        """Choose how the job comes out, if it returns.

        Args:
            code: of one's own, for programs.
            message: for people.
            kind: COMPLETED, COMPLETED_WITH_ERRORS or COMPLETED_WITH_PENDING.

        Raises:
            CallError: the kind is another one.
        """
        self._notebook.set_exit(code, message, kind)

    def checkpoint(self, data: Any) -> None:
        """Remember where a later attempt or a restart may go on.

        It is stored within ``progress_interval`` seconds: after a crash, work since
        the last stored one is done again.

        Raises:
            CallError: it has no form on the wire, or is too large.
        """
        self._checkpoint = self._notebook.set_checkpoint(data)

    @property
    def checkpointed(self) -> Any:
        """What was remembered last, None when nothing was.

        By this attempt, by an earlier one, or by the job that this one restarts.
        """
        return ejson.decode(bytes(self._checkpoint))

    def _open_log(self, log: JobLog) -> None:
        self._log = log
        self.log = log.logger
