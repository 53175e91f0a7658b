"""Where a job is, finer than its state: the phases that other job APIs tell apart."""

from enum import StrEnum

__all__ = ["Phase"]


class Phase(StrEnum):
    """The finer state of a job; every phase belongs to one or two states.

    WAITING is pending, retrying or restarting; RUNNING is one of the others but the
    last two; finished is SUCCESS or FAILED, aborted is ABORTED.
    """

    PENDING = "pending"
    RUNNING = "running"
    #: Asked to pause; the body has not come to the next step yet.
    PAUSING = "pausing"
    PAUSED = "paused"
    #: Asked to go on; the body has not noticed yet.
    RESUMING = "resuming"
    RESUMED = "resumed"
    #: Waits for its first start, as a restart of an earlier job.
    RESTARTING = "restarting"
    RESTARTED = "restarted"
    #: Waits for its next attempt.
    RETRYING = "retrying"
    RETRIED = "retried"
    ABORTING = "aborting"
    ABORTED = "aborted"
    FINISHED = "finished"
