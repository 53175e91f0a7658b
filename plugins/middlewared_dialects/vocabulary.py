"""The one table of what the dialects call a phase and an exit of a job; pure.

Each row is one truth about a job, each column the words of one API for it. A state
that is final here is final for the client of every dialect.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from middlewared_jobs import JobRecord, Phase, State, StepRecord

__all__ = [
    "VOCABULARY",
    "ArcgisWords",
    "InfolinkWords",
    "Kind",
    "OcapiWords",
    "WebexWords",
    "Words",
    "words_of",
    "words_of_step",
]

Kind = Literal[
    "COMPLETED", "COMPLETED_WITH_ERRORS", "COMPLETED_WITH_PENDING", "FAILED", "STOPPED"
]


class WebexWords(msgspec.Struct, frozen=True):
    """``latestExecutionStatus`` and ``latestExecutionExitCode``."""

    status: str
    exit_code: str


class ArcgisWords(msgspec.Struct, frozen=True):
    """``status`` and ``customAttributes.isCancelled``."""

    status: str
    is_cancelled: bool


class OcapiWords(msgspec.Struct, frozen=True):
    """``execution_status``; ``exit`` is that of the exit status, null before the end.

    ``status`` is the upper-cased execution status before the end, the exit code after.
    """

    execution_status: str
    exit: Literal["ok", "error"] | None


class InfolinkWords(msgspec.Struct, frozen=True):
    """``result.status``."""

    status: str


class Words(msgspec.Struct, frozen=True):
    """One row.

    Attributes:
        states: the native states that it goes with.
    """

    states: frozenset[State]
    webex: WebexWords
    arcgis: ArcgisWords
    ocapi: OcapiWords
    infolink: InfolinkWords


def _row(
    states: tuple[State, ...],
    webex: tuple[str, str],
    arcgis: tuple[str, bool],
    ocapi: tuple[str, Literal["ok", "error"] | None],
    infolink: str,
) -> Words:
    return Words(
        frozenset(states),
        WebexWords(*webex),
        ArcgisWords(*arcgis),
        OcapiWords(*ocapi),
        InfolinkWords(infolink),
    )


_WAITING, _RUNNING = (State.WAITING,), (State.RUNNING,)
_STARTING, _STARTED = ("STARTING", "UNKNOWN"), ("STARTED", "UNKNOWN")
_SUBMITTED, _PROCESSING = ("SUBMITTED", False), ("PROCESSING", False)


def _waits(phase: Phase) -> Words:
    return _row(_WAITING, _STARTING, _SUBMITTED, (phase.value, None), "running")


def _runs(phase: Phase) -> Words:
    return _row(_RUNNING, _STARTED, _PROCESSING, (phase.value, None), "running")


#: By phase, and by the kind of exit where there is one.
VOCABULARY: Mapping[tuple[Phase, Kind | None], Words] = {
    (Phase.PENDING, None): _waits(Phase.PENDING),
    (Phase.RETRYING, None): _waits(Phase.RETRYING),
    (Phase.RESTARTING, None): _waits(Phase.RESTARTING),
    (Phase.RUNNING, None): _runs(Phase.RUNNING),
    (Phase.RETRIED, None): _runs(Phase.RETRIED),
    (Phase.RESTARTED, None): _runs(Phase.RESTARTED),
    (Phase.RESUMED, None): _runs(Phase.RESUMED),
    (Phase.PAUSING, None): _runs(Phase.PAUSING),
    (Phase.RESUMING, None): _row(
        _RUNNING, _STARTING, _PROCESSING, ("resuming", None), "running"
    ),
    (Phase.PAUSED, None): _row(
        _RUNNING, ("STARTED", "STOPPED"), _PROCESSING, ("paused", None), "running"
    ),
    (Phase.ABORTING, None): _row(
        _RUNNING, _STARTED, ("PROCESSING", True), ("aborting", None), "stopping"
    ),
    (Phase.ABORTED, "STOPPED"): _row(
        (State.ABORTED,),
        ("ABANDONED", "STOPPED"),
        ("FAILED", True),
        ("aborted", "error"),
        "stopped",
    ),
    (Phase.FINISHED, "COMPLETED"): _row(
        (State.SUCCESS,),
        ("COMPLETED", "COMPLETED"),
        ("COMPLETED", False),
        ("finished", "ok"),
        "completed",
    ),
    (Phase.FINISHED, "COMPLETED_WITH_ERRORS"): _row(
        (State.SUCCESS,),
        ("COMPLETED", "COMPLETED_WITH_ERRORS"),
        ("COMPLETED", False),
        ("finished", "ok"),
        "completedWithError",
    ),
    (Phase.FINISHED, "COMPLETED_WITH_PENDING"): _row(
        (State.SUCCESS,),
        ("COMPLETED", "COMPLETED_WITH_PENDING_ORDERS"),
        ("COMPLETED", False),
        ("finished", "ok"),
        "completed",
    ),
    (Phase.FINISHED, "FAILED"): _row(
        (State.FAILED,),
        ("FAILED", "FAILED"),
        ("FAILED", False),
        ("finished", "error"),
        "completedWithError",
    ),
}


def words_of(record: JobRecord) -> Words:
    """Give the row of a job."""
    kind = None if record.exit is None else record.exit.kind
    return VOCABULARY[record.phase, kind]


_STEP_PHASES = {
    State.WAITING: Phase.PENDING,
    State.RUNNING: Phase.RUNNING,
    State.SUCCESS: Phase.FINISHED,
    State.FAILED: Phase.FINISHED,
    State.ABORTED: Phase.ABORTED,
}


def words_of_step(step: StepRecord) -> Words:
    """Give the row of a step."""
    kind = None if step.exit is None else step.exit.kind
    return VOCABULARY[_STEP_PHASES[step.state], kind]
