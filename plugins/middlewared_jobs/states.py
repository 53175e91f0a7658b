"""The states of a job and the legal moves between them; pure."""

from enum import StrEnum

from middlewared.errors import MiddlewareError

__all__ = ["FINAL", "MOVES", "JobStateError", "State", "check_move"]


class State(StrEnum):
    """Where a job is in its life; the last three are final."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    ABORTED = "ABORTED"

    # Enum's own is a Python function, and states are looked up ten times a job.
    __hash__ = str.__hash__


FINAL = frozenset({State.SUCCESS, State.FAILED, State.ABORTED})

#: RUNNING -> WAITING is a retry or a requeue: the next attempt of the same job.
MOVES: dict[State, frozenset[State]] = {
    State.WAITING: frozenset({State.RUNNING, State.ABORTED, State.FAILED}),
    State.RUNNING: FINAL | {State.WAITING},
    State.SUCCESS: frozenset(),
    State.FAILED: frozenset(),
    State.ABORTED: frozenset(),
}


class JobStateError(MiddlewareError):
    """A move that the table does not have; a bug of the job manager."""


def check_move(before: State, after: State) -> None:
    """Let a legal move pass.

    Raises:
        JobStateError: the table does not have it.
    """
    if after not in MOVES[before]:
        raise JobStateError(f"a job cannot move from {before} to {after}")
