"""What the audit log is told of jobs."""

from middlewared.audit import OK, Trail
from middlewared_jobs.run import Run
from middlewared_jobs.submission import Submission

__all__ = ["JobNote"]

#: Bytes of arguments that an entry has; of longer ones only the size is kept.
MAX_ARGUMENTS = 4096


class JobNote:
    """Writes down who started a job, or shares one, however that came about.

    It does not hold the wish, which holds whoever holds this.
    """

    __slots__ = ("_method", "_origin", "_reason", "_trail", "_who")

    def __init__(self, trail: Trail, wish: Submission) -> None:
        quiet = wish.method.access.read_only
        self._trail = None if quiet else trail
        self._who = wish.credentials
        self._origin = None if wish.session is None else wish.session.origin
        self._method = wish.method.name
        self._reason = _reason(wish)

    def accepted(self, run: Run) -> None:
        """Write it down: the job is on disk."""
        if self._trail is None:
            return
        arguments = bytes(run.record.arguments)
        if len(arguments) > MAX_ARGUMENTS:
            arguments = b'["(%d bytes)"]' % len(arguments)
        self._trail.note(
            "JOB",
            OK,
            who=self._who,
            origin=self._origin,
            method=self._method,
            params=arguments,
            job_id=run.id,
            detail=self._reason,
        )


def _reason(wish: Submission) -> str | None:
    if wish.schedule is not None:
        return f"schedule {wish.schedule}"
    return None if wish.parent is None else f"job {wish.parent}"
