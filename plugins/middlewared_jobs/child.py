"""A child: the process that runs the bodies of process jobs, one after another.

The handler runs in the main thread, where SIGTERM raises `JobAborted`. A second thread
reads orders and ends the process when the server goes, a third one sends progress.
"""

import contextlib
import faulthandler
import importlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import msgspec

from middlewared import Context, Date, Plugin, PluginError, ejson
from middlewared.clock import Clock, SystemClock
from middlewared.context import Services
from middlewared.plugin import Method
from middlewared.settings import Settings, decode_table
from middlewared_jobs.body import secret_texts
from middlewared_jobs.current_job import Job, JobAborted
from middlewared_jobs.declared import spec_of
from middlewared_jobs.desk import ClosedDesk
from middlewared_jobs.dying import set_name
from middlewared_jobs.frames import (
    Begun,
    FrameError,
    Frames,
    Order,
    Pause,
    Quit,
    Raised,
    Returned,
    Setup,
    ToChild,
    Update,
    encode,
)
from middlewared_jobs.jobfiles import JobFiles
from middlewared_jobs.joblog import JobLog, make_silent
from middlewared_jobs.largeresult import keep_large
from middlewared_jobs.notebook import Latest, Notebook
from middlewared_jobs.outcome import EncodedResult, encode_result
from middlewared_jobs.pausing import Gate
from middlewared_jobs.pipes import Body, open_pipes
from middlewared_jobs.place import Place
from middlewared_jobs.record import CoreGetJobsItemProgress, JobRecord
from middlewared_jobs.recorder import sendable_progress
from middlewared_jobs.remote import describe
from middlewared_jobs.states import State
from middlewared_jobs.step import Step
from middlewared_jobs.texts import sendable

__all__ = ["EXIT_NO_PIPE", "main"]

logger = logging.getLogger(__name__)

#: Exit code of a child whose body closed the pipe.
EXIT_NO_PIPE = 117
#: Seconds between two updates of progress.
UPDATE_SECONDS = 0.05
#: Seconds between two tries to raise in the body, while it is in code of ours.
PRESS_SECONDS = 0.005
#: Bytes of an order, besides those that every frame may have.
MAX_ORDER = 64 * 2**20
BLOCK = 1 << 16

T = TypeVar("T")


class Pipe:
    """The child's end of the pipe to the server.

    A body may close its descriptor, and a file that it opens then may get the number:
    before each write the number is checked.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.forked = False
        self._socket = sock
        self._identity = self._look()
        self._lock = threading.Lock()
        self._frames = Frames(ToChild, MAX_ORDER)

    def _look(self) -> tuple[int, int]:
        found = os.fstat(self._socket.fileno())
        return found.st_dev, found.st_ino

    def leave(self) -> None:
        """Let go of the pipe in a process that the body forked: it is not the job."""
        self.forked = True
        with contextlib.suppress(OSError):  # the body closed it
            if self._look() == self._identity:
                os.close(self._socket.detach())

    def send(self, message: msgspec.Struct) -> None:
        """Write a message; ends the process when the pipe is gone."""
        frame = encode(message)
        if self.forked:
            return
        with self._lock:
            try:
                if self._look() != self._identity:
                    os._exit(EXIT_NO_PIPE)
                self._socket.sendall(frame)
            except OSError:
                os._exit(EXIT_NO_PIPE)

    def receive(self) -> Iterator[Any]:
        """Give what the server says, until it closes its end."""
        while True:
            try:
                data = self._socket.recv(BLOCK)
            except OSError:
                return
            if not data:
                return
            yield from self._frames.feed(data)


class ChildServices(Services):
    """What a body may reach from a child: settings, of the kernel and of plugins."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self._setup = setup
        self.provide(Settings, setup.settings)
        self.provide(Clock, SystemClock())  # type: ignore[type-abstract]  # by protocol

    def get(self, kind: type[T]) -> T:
        """Return the settings of this type.

        Raises:
            PluginError: it lives in the server.
        """
        found = self._found.get(kind)
        if found is None:
            plugin = self._setup.tables.get(f"{kind.__module__}.{kind.__qualname__}")
            if plugin is None:
                raise PluginError(
                    f"{kind.__name__} lives in the server, a process job can reach "
                    "settings only"
                )
            table = self._setup.settings.tables.get(plugin, {})
            found = decode_table(table, kind, name=f"table {plugin!r}")
            self._found[kind] = found
        return found  # type: ignore[return-value]  # keyed by type


def _preload(modules: Sequence[str]) -> None:
    """Import what the next job probably needs, while there is time."""
    for name in modules:
        # What cannot be imported fails the job that needs it, and says why.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _find_method(order: Order) -> Method:
    """Import the plugin that declares the job's method.

    Raises:
        PluginError: here it cannot be imported, or declares no such method.
    """
    try:
        module = importlib.import_module(order.module)
    except JobAborted:
        raise
    except Exception as exc:
        raise PluginError(
            f"{order.method} cannot be imported in a child process: module "
            f"{order.module!r}: {type(exc).__name__}: {exc}"
        ) from exc
    plugin = getattr(module, order.attribute, None)
    if not isinstance(plugin, Plugin) or order.method not in plugin.methods:
        raise PluginError(
            f"{order.method} cannot be found in a child process: "
            f"{order.module}.{order.attribute} does not declare it there"
        )
    return plugin.methods[order.method]


def _record_of(order: Order) -> JobRecord:
    """Make the part of the record that a body looks at."""
    return JobRecord(
        id=order.id,
        uid="",
        method=order.method,
        arguments=msgspec.Raw(b"[]"),
        description=order.description,
        progress=order.progress,
        state=State.RUNNING,
        time_created=Date(0),
        credentials=order.shown,
        attempt=order.attempt,
        is_restart=order.is_restart,
        steps=order.steps,
        messages=order.messages,
        counts=order.counts,
        attributes=order.attributes,
        item_errors=order.item_errors,
        checkpoint=order.checkpoint,
    )


def _returned(number: int, result: EncodedResult, *, secret: bool) -> Returned:
    if result.shown is None or result.clear is None:
        return Returned(number, failure=result.failure)
    shown = msgspec.Raw(result.shown)
    if not secret:
        return Returned(number, shown)
    return Returned(number, shown, msgspec.Raw(result.clear), secret=True)


def _take_ends(passage: socket.socket, names: Sequence[str]) -> dict[str, int]:
    """Take the ends of a job's pipes, which were sent before its order."""
    if not names:
        return {}
    _, descriptors, _, _ = socket.recv_fds(passage, 1, len(names))
    return dict(zip(names, descriptors, strict=True))


class Child:
    """Runs what the server orders, until the server goes.

    Args:
        sock: its end of the pipe to the server.
        passage: where descriptors come through.
    """

    def __init__(self, sock: socket.socket, passage: socket.socket) -> None:
        self._pipe = Pipe(sock)
        self._passage = passage
        self._setup: Setup | None = None
        self._orders: queue.SimpleQueue[Setup | Order] = queue.SimpleQueue()
        #: The job that runs, 0 for none.
        self._number = 0
        self._job: Job | None = None
        #: Ends of its pipes that it does not have yet.
        self._ends: dict[str, int] = {}
        self._job_lock = threading.Lock()
        self._asked = False
        #: The job that the server wants to end, maybe before it began here.
        self._quit = 0
        self._paused = False
        self._interruptible = False
        self._changes = threading.Event()
        self._due = False

    def serve(self) -> NoReturn:
        """Run orders for ever."""
        signal.signal(signal.SIGTERM, self._on_term)
        os.register_at_fork(after_in_child=self._leave_fork)
        for work in (self._read, self._send_updates):
            threading.Thread(target=work, daemon=True).start()
        while True:
            set_name("mw-child")
            match self._orders.get():
                case Setup(modules=modules):
                    _preload(modules)
                case Order() as order:
                    self._run(order)

    # The thread that reads.

    def _read(self) -> None:
        try:
            for message in self._pipe.receive():
                self._take(message)
        except FrameError as exc:
            logger.error("a child ends: %s", exc)  # noqa: TRY400 - the text says it
        finally:
            _end_own_session()

    def _take(self, message: Setup | Order | Pause | Quit) -> None:
        match message:
            case Setup():
                self._setup = message
                logging.getLogger().setLevel(message.settings.log_level.upper())
                self._orders.put(message)
            case Order(paused=paused):
                self._paused = paused
                self._orders.put(message)
            case Pause(number, paused):
                self._paused = paused
                self._set_gate(paused=paused)
            case Quit(number):
                self._quit = number
                threading.Thread(
                    target=self._press, args=(number,), daemon=True
                ).start()

    def _set_gate(self, *, paused: bool) -> None:
        job = self._job
        if job is not None and paused:
            job._gate.close()
        elif job is not None:
            job._gate.open()

    def _press(self, number: int) -> None:
        """Repeat the signal until the body was at a place where it can be raised."""
        main = threading.main_thread().ident
        assert main is not None  # noqa: S101 - it runs
        while self._number == number and self._interruptible:
            signal.pthread_kill(main, signal.SIGTERM)
            time.sleep(PRESS_SECONDS)

    # The thread that sends progress.

    def _noted(self, urgent: bool) -> None:
        if not self._due:
            self._due = True
            self._changes.set()
        if self._asked:
            self._raise_late()

    def _send_updates(self) -> None:
        while True:
            self._changes.wait()
            self._changes.clear()
            # Cleared before the values are read: what changes meanwhile is sent next.
            self._due = False
            with self._job_lock:
                if self._job is not None:
                    self._send_update(self._job)
            time.sleep(UPDATE_SECONDS)

    def _send_update(self, job: Job) -> None:
        latest = job._take_notes()
        if latest is None or self._setup is None:
            return
        limit = self._setup.limits.max_progress_extra
        try:
            shown = sendable_progress(job.id, latest.progress, limit)
        except Exception:  # a border: the extra is the author's, and may change
            logger.exception("the progress of job %d cannot be sent", job.id)
            shown = CoreGetJobsItemProgress(latest.progress.percent)
        text = latest.description
        text = None if text is None else sendable(text)
        self._pipe.send(Update(job.id, Latest(shown, text, latest.notes)))

    # The main thread.

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if self._number == 0:
            os._exit(0)  # nothing is lost
        self._asked = True
        if self._job is not None:
            self._job.aborted = True
        # In code of ours an exception could leave a lock held, or half a line written:
        # there it is raised on the way out, or when `_press` tries again.
        if self._interruptible and not _in_own_code(frame):
            self._interruptible = False
            raise JobAborted

    def _leave_fork(self) -> None:
        """Become an ordinary process in one that the body forked."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._pipe.leave()
        # The threads that may have held these are not in this process.
        self._job_lock, self._changes = threading.Lock(), threading.Event()
        if self._job is not None:
            self._job._notebook.lock = threading.Lock()

    def _raise_late(self) -> bool:
        """Raise on the way out of our code what could not be raised inside it."""
        if (
            self._interruptible
            and threading.current_thread() is threading.main_thread()
        ):
            self._interruptible = False
            raise JobAborted
        return True

    def _check_line(self, _: logging.LogRecord) -> bool:
        return not self._asked or self._raise_late()

    def _run(self, order: Order) -> None:
        self._number = order.id
        set_name(f"mw-job-{order.id}")
        place = Place()
        ended = self._perform(order, place)
        if self._pipe.forked:
            _end_fork(ended)
        fit = place.restore() and not self._asked
        self._pipe.send(msgspec.structs.replace(ended, fit=fit))
        self._number = 0
        if self._asked:
            os._exit(0)  # it came too late for the job

    def _perform(self, order: Order, place: Place) -> Returned | Raised:
        assert self._setup is not None  # noqa: S101 - it came first
        limits = self._setup.limits
        try:
            self._interruptible = True
            try:
                method, value = self._call(order, self._setup, place)
            finally:
                self._interruptible = False
                self._close_job(place)
            found = encode_result(value, method.results, limits.max_result)
            path = JobFiles(self._setup.settings.data_path).result(order.id)
            result = keep_large(found, path, limits.disk_reserve)
        except BaseException as exc:  # noqa: BLE001 - a border: the outcome is recorded
            self._interruptible = False
            aborted = isinstance(exc, JobAborted) and self._asked
            error = describe(exc, limits.max_exception)
            return Raised(order.id, error, aborted=aborted)
        return _returned(order.id, result, secret=method.results.secret)

    def _call(self, order: Order, setup: Setup, place: Place) -> tuple[Method, Any]:
        # Before there is a body nobody repeats the signal, and a child that only just
        # began may not have had it: what it inherited ignores it.
        self._asked = self._asked or self._quit == order.id
        if self._asked:
            raise JobAborted
        self._ends = _take_ends(self._passage, order.pipes)
        method = _find_method(order)
        values = method.params.bind(ejson.decode(order.values), {})
        context = Context(ChildServices(setup), None, order.credentials)
        record = _record_of(order)
        notebook = Notebook(record, setup.limits, SystemClock().time_ms, self._noted)
        catalog = spec_of(method).messages
        job = Job(record, ClosedDesk(context, notebook), catalog)
        # Opened now: in a fork of the body the lock for it might be held for ever.
        assert job._notebook is notebook  # noqa: S101 - it gives what it was given
        if self._paused:
            job._gate.close()
        if order.logs_path is not None:
            secrets = secret_texts(values)
            log = JobLog(Path(order.logs_path), secrets, setup.limits.max_log)
            job._open_log(log)
            place.redirect(log.file.fileno())
        else:
            job.log = make_silent()
        ends, self._ends = self._ends, {}
        job.pipes = open_pipes(ends, Body(loop=False, check=job.check_aborted))
        job.log.addFilter(self._check_line)
        self._job = job
        self._pipe.send(Begun(order.id))
        return method, method.params.call(method.handler, job, values)

    def _close_job(self, place: Place) -> None:
        """Send what the body set last; what its threads set later is dropped."""
        place.restore_output()
        with self._job_lock:
            job, self._job = self._job, None
            if job is not None:
                self._send_update(job)
        for descriptor in self._ends.values():
            os.close(descriptor)
        self._ends = {}
        if job is not None:
            job.pipes.close()
            if job._log is not None:
                job._log.close()


_OWN_FILES = frozenset(
    function.__code__.co_filename
    for function in (
        Child.serve,
        Gate.wait_in_thread,
        Job.set_progress,
        JobLog.close,
        Notebook.take,
        Step.advance,
        encode,
        logging.Logger.info,
    )
)


def _in_own_code(frame: FrameType | None) -> bool:
    """Tell whether a frame is in code of ours that the body called, or in logging."""
    while frame is not None and frame.f_code is not Child._call.__code__:
        if frame.f_code.co_filename in _OWN_FILES:
            return True
        frame = frame.f_back
    return frame is None


def _end_fork(ended: Returned | Raised) -> NoReturn:
    """End a process that the body forked and that came back out of the body."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0 if isinstance(ended, Returned) else 1)


def _end_own_session() -> NoReturn:
    """End with everything the body started: the server is gone."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main(sock: socket.socket, passage: socket.socket) -> NoReturn:
    """Run jobs for the server at the other end of *sock*; never returns.

    Args:
        sock: the pipe.
        passage: a socket that descriptors are passed through.
    """
    try:
        # A crash writes where it happened, to the job's log.
        faulthandler.enable(all_threads=False)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # the interpreter's own
        Child(sock, passage).serve()
    except BaseException:
        logger.exception("a child failed")
        raise
    finally:
        os._exit(1)
