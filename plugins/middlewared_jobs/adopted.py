"""A child process that a body started itself, tied to the life of its job."""

import asyncio
import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from middlewared import CallError
from middlewared_jobs.run import Run
from middlewared_jobs.survivors import birth_of, end_survivors

__all__ = ["Adopted", "Save", "adopt", "release"]

#: Writes the row of a job and calls back.
Save = Callable[[Run, Callable[[Exception | None], None]], None]


class Adopted:
    """The child, as those who end jobs see it; safe from any thread.

    Nothing is sent to it once it is let go, or when its number is somebody else's.

    Args:
        pid: its number, also that of its session and process group.
        birth: tells it from later processes with this number.
        data_dir: of the server; in the environment of the child, see `CHILD_OF`.
        grace: seconds that it has after an abort; None for ``abort_grace``.
    """

    def __init__(
        self, pid: int, birth: str, data_dir: Path, grace: float | None
    ) -> None:
        self.pid = pid
        self.grace = grace
        self._birth = birth
        self._data_dir = data_dir
        self._gone = False
        self._lock = threading.Lock()

    def ask(self) -> None:
        """Ask its process group to end; what stands still is woken to hear it."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill its process group."""
        self._signal(signal.SIGKILL)

    def let_go(self) -> None:
        """Kill what is left of its session, and forget its number; waits a little."""
        with self._lock:
            before, self._gone = self._gone, True
        if not before:
            end_survivors([(self.pid, self._birth)], self._data_dir)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if not self._gone and birth_of(self.pid) == self._birth:
                # It may be a zombie, or run with the rights of somebody else.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, number)


async def adopt(run: Run, save: Save, pid: int, grace: float | None) -> None:
    """Tie a child to a job; see `Job.adopt`."""
    if run.adopted is not None:
        raise CallError(
            f"The job has adopted process {run.adopted.pid} already", errno.EBUSY
        )
    birth = birth_of(pid)
    if birth is None or os.getsid(pid) != pid:
        raise CallError(
            f"Process {pid} cannot be adopted, expected a child that leads a session "
            "of its own",
            errno.EINVAL,
        )
    data_dir = run.context.settings.data_path
    run.adopted = adopted = Adopted(pid, birth, data_dir, grace)
    run.record.child_pid, run.record.child_started = pid, birth
    if run.job.aborted:
        adopted.ask()
    written: asyncio.Future[Exception | None]
    written = asyncio.get_running_loop().create_future()

    def saved(exc: Exception | None) -> None:
        if not written.done():
            written.set_result(exc)

    save(run, saved)
    failure = await written
    if failure is not None:
        raise CallError(f"The job could not be written: {failure}", errno.EIO)


def release(run: Run) -> None:
    """End what is left of an adopted child; see `Job.release`."""
    adopted, run.adopted = run.adopted, None
    if adopted is not None:
        adopted.let_go()
