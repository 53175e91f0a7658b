"""A step, as the body of a job sees it and as its method declares it."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
import msgspec

from middlewared_jobs.notebook import Notebook
from middlewared_jobs.notes import EXIT_KINDS, Exit, ExitKind, StepRecord
from middlewared_jobs.pausing import Gate
from middlewared_jobs.states import State
from middlewared_jobs.texts import sendable

__all__ = ["JobAborted", "Step", "StepSpec"]


class JobAborted(Exception):
    """Raised in the body of a thread job by `Job.check_aborted`; let it through."""


class StepSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A step that a method declares, so that clients know of it before it begins.

    Attributes:
        name: what `Job.step` is called with.
        scope: what it works on, when the same step runs for several.
        description: for people.
        type_id: kind of its implementation, for other systems.
        type_info: name of its implementation, for other systems.
        included_from: the job definition that this step was included from.
        total: items it has to do.
    """

    name: str
    scope: str | None = None
    description: str = ""
    type_id: str = ""
    type_info: str = ""
    included_from: str | None = None
    total: int | None = None

    def record(self, number: int) -> StepRecord:
        """Give the record of the step before it began, with this id."""
        return StepRecord(id=number, **msgspec.structs.asdict(self))


class Step:
    """One step of a running job: a context manager, ``async with`` or ``with``.

    Entering it waits while the job is asked to pause, then the step is RUNNING; it ends
    SUCCESS, or FAILED or ABORTED by what is raised inside. Safe from any thread.

    Attributes:
        skipped: it succeeded in an earlier attempt, or in the job that this one
            restarts: the body leaves its work out. Known once it is entered.
    """

    def __init__(
        self,
        notebook: Notebook,
        gate: Gate,
        check_aborted: Callable[[], None],
        spec: StepSpec,
    ) -> None:
        self.skipped = False
        self._notebook = notebook
        self._gate = gate
        self._check_aborted = check_aborted
        self._spec = spec
        self._place: int | None = None
        self._exit: Exit | None = None

    async def __aenter__(self) -> Self:
        await self._gate.wait()
        return self._open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(exc, aborted=isinstance(exc, anyio.get_cancelled_exc_class()))

    def __enter__(self) -> Self:
        self._gate.wait_in_thread(self._check_aborted)
        return self._open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(exc, aborted=False)

    def _open(self) -> Self:
        self._place = self._notebook.open_step(self._spec.record(0))
        self.skipped = self._place is None
        return self

    def _close(self, exc: BaseException | None, *, aborted: bool) -> None:
        if self._place is None:
            return
        if exc is None:
            state, exit_ = State.SUCCESS, self._exit or Exit("COMPLETED", "OK")
        elif aborted or isinstance(exc, JobAborted):
            state, exit_ = State.ABORTED, Exit("STOPPED", "ABORTED")
        else:
            state = State.FAILED
            exit_ = Exit("FAILED", "ERROR", sendable(exc) or type(exc).__name__)
        self._notebook.close_step(self._place, state, exit_)

    def advance(self, items: int = 1, doing: str | None = None) -> None:
        """Say that items are done; with a total, the percentage follows."""
        if self._place is not None:
            self._notebook.advance_step(self._place, items, None, doing)

    def set_progress(
        self, percent: float | None = None, doing: str | None = None
    ) -> None:
        """Say how far the step is; None leaves a value as it is."""
        if self._place is not None:
            self._notebook.advance_step(self._place, 0, percent, doing)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count of the step.

        Raises:
            CallError: E2BIG, there are too many counts.
        """
        if self._place is not None:
            self._notebook.count_step(self._place, name, number)

    def set_exit(
        self, code: str, message: str | None = None, kind: ExitKind = "COMPLETED"
    ) -> None:
        """Choose how the step comes out, if nothing is raised in it."""
        if kind not in EXIT_KINDS:
            raise ValueError(f"kind is {kind!r}, expected one of {EXIT_KINDS}")
        self._exit = Exit(kind, code, message)
