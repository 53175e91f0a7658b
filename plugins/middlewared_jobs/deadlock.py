"""Whether a body that waits for a job would wait for ever."""

import errno
from collections.abc import Iterable

from middlewared import CallError
from middlewared_jobs.lockqueue import LockQueue
from middlewared_jobs.roster import Roster
from middlewared_jobs.run import Run
from middlewared_jobs.states import State

__all__ = ["check_deadlock"]


def check_deadlock(outer: Run, inner: Run, roster: Roster, queue: LockQueue) -> None:
    """Let a body wait for a job that can end before its own job does.

    A job that has not started needs its lock and its limits, which are in the hands of
    other jobs until these end; a body that waits ends after what it waits for. Slots
    are lent by who waits, so nobody waits for them for ever.

    Args:
        outer: the job whose body is about to wait.
        inner: the job that it wants to wait for.
        roster: the jobs that run.
        queue: the jobs that wait, and what they need.

    Raises:
        CallError: EDEADLK, it cannot; names both, and the lock if it is one.
    """
    if inner is outer:
        raise CallError(f"Job {outer.id} would wait for itself", errno.EDEADLK)
    if inner.record.state is State.RUNNING and not inner.awaits:
        return
    needs = _collect(inner, roster, queue)
    stuck = {run for run in needs if run is not outer}
    free = {run for run in stuck if _can_end(needs[run], stuck, outer)}
    while free:
        stuck -= free
        free = {run for run in stuck if _can_end(needs[run], stuck, outer)}
    if inner in stuck:
        raise _error(outer, inner, stuck, queue)


#: What a job needs before it ends: of each group, at least one has to end.
_Needs = list[list[Run]]


def _collect(inner: Run, roster: Roster, queue: LockQueue) -> dict[Run, _Needs]:
    """Give what jobs need to end, for a job and all that it depends on."""
    found: dict[Run, _Needs] = {}
    left = [inner]
    while left:
        run = left.pop()
        if run not in found:
            found[run] = _needs(run, roster, queue)
            left += [other for group in found[run] for other in group]
    return found


def _needs(run: Run, roster: Roster, queue: LockQueue) -> _Needs:
    if run.record.state is not State.WAITING:
        return [[other] for other in run.awaits if not other.record.final]
    needs: _Needs = [[other] for other in _before(run, queue)]
    for key, most in run.limits:
        holders = [other for other in roster.running if key in dict(other.limits)]
        if len(holders) >= most:
            needs.append(holders)
    return needs


def _before(run: Run, queue: LockQueue) -> Iterable[Run]:
    """Give the jobs that have the lock of a waiting one, now or before it."""
    return [other for other in queue.before(run) if isinstance(other, Run)]


def _can_end(needs: _Needs, stuck: set[Run], outer: Run) -> bool:
    return all(
        any(other is not outer and other not in stuck for other in group)
        for group in needs
    )


def _error(outer: Run, inner: Run, stuck: set[Run], queue: LockQueue) -> CallError:
    text = f"Job {outer.id} would wait for ever for job {inner.id}"
    if inner.record.state is State.WAITING:
        holder = next(iter(_before(inner, queue)), None)
        what = "a limit"
        if holder is outer or holder in stuck:
            what = f"lock {inner.lock!r}"
        text += f", which needs {what} that is taken until job {outer.id} has ended"
    else:
        text += f", which ends after job {outer.id}"
    return CallError(text, errno.EDEADLK)
