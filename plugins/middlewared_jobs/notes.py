"""What a body notes about its job: steps, messages, counts, items that failed.

A body notes in its thread or its process; `Notes` carry what is new to the loop, where
`apply_notes` puts it into the record.
"""

from typing import Any, Literal

import msgspec

from middlewared import Date
from middlewared_jobs.states import State

__all__ = [
    "EXIT_KINDS",
    "Exit",
    "ExitKind",
    "ItemError",
    "Notes",
    "Severity",
    "StepRecord",
    "TextMessage",
]

Severity = Literal["info", "warning", "error", "abort"]
ExitKind = Literal[
    "COMPLETED",
    "COMPLETED_WITH_ERRORS",
    "COMPLETED_WITH_PENDING",
    "FAILED",
    "STOPPED",
]
#: What a body may choose; the other two follow from how it ended.
EXIT_KINDS = ("COMPLETED", "COMPLETED_WITH_ERRORS", "COMPLETED_WITH_PENDING")


class Exit(msgspec.Struct, frozen=True):
    """How a job or a step came out.

    Attributes:
        kind: the closed list that programs branch on; STOPPED is an abort.
        code: the open one: OK, ERROR, ABORTED, or what the body chose.
        message: for people.
    """

    kind: ExitKind
    code: str
    message: str | None = None


class StepRecord(msgspec.Struct, kw_only=True):
    """One step of a job.

    Attributes:
        id: its number, never that of another step of any job.
        name: what the method calls it.
        scope: what it works on, when the same step runs for several.
        state: as of a job; a step that never began stays WAITING.
        exit: how it came out, null before.
        description: for people.
        type_id: kind of its implementation, for other systems.
        type_info: name of its implementation, for other systems.
        included_from: the job definition that this step was included from.
        percent: 0 to 100, null when it cannot say.
        doing: what it does now.
        total: items it has to do, null when it cannot say.
        done: items it has done.
        counts: its own counts by name.
        time_started: when it began.
        time_finished: when it ended.
        time_modified: when anything of it changed.
        ran_in: the earlier job in which it succeeded; it was not run again.
    """

    id: int
    name: str
    scope: str | None = None
    state: State = State.WAITING
    exit: Exit | None = None
    description: str = ""
    type_id: str = ""
    type_info: str = ""
    included_from: str | None = None
    percent: int | None = None
    doing: str = ""
    total: int | None = None
    done: int = 0
    counts: dict[str, int] = {}
    time_started: Date | None = None
    time_finished: Date | None = None
    time_modified: Date | None = None
    ran_in: int | None = None


class TextMessage(msgspec.Struct, frozen=True):
    """One message of a job.

    Attributes:
        seq: from 1; a gap at the start says that older ones were dropped.
        time: when it was given.
        severity: info, warning, error or abort.
        code: of the message, for programs.
        text: for people.
    """

    seq: int
    time: Date
    severity: Severity
    code: int | str | None
    text: str


class ItemError(msgspec.Struct, frozen=True):
    """One item that a job could not do, while it went on with the others.

    Attributes:
        seq: from 1.
        item: which one.
        code: of the error, for programs.
        text: for people.
        key: a number in the manner of HTTP statuses, as text.
        location: where the item belongs.
        severity: ERROR or WARNING.
        time: when it was noted.
    """

    seq: int
    item: str
    code: str
    text: str
    key: str = "400"
    location: str | None = None
    severity: Literal["ERROR", "WARNING"] = "ERROR"
    time: Date | None = None


class Notes(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is new since the last ones; what is None or empty did not change.

    Attributes:
        steps: the steps that changed, whole, by their place in the job.
        messages: new ones.
        item_errors: new ones.
        item_errors_seen: all that were noted, also those beyond the limit.
        counts: all counts.
        scopes: all scopes.
        attributes: all attributes.
        exit: as the body chose it.
        checkpoint: encoded.
        paused: the body stands still between two steps, or goes on.
    """

    steps: dict[int, StepRecord] = {}
    messages: list[TextMessage] = []
    item_errors: list[ItemError] = []
    item_errors_seen: int = 0
    counts: dict[str, int] | None = None
    scopes: list[str] | None = None
    attributes: dict[str, Any] | None = None
    exit: Exit | None = None
    checkpoint: msgspec.Raw | None = None
    paused: bool | None = None
