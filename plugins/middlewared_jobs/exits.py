"""How a job comes out, and its steps with it; pure."""

from collections.abc import Mapping

import msgspec

from middlewared import Date
from middlewared_jobs.notes import Exit
from middlewared_jobs.record import JobRecord
from middlewared_jobs.spec import CountRole
from middlewared_jobs.states import State

__all__ = ["COMPLETED", "close_steps", "exit_of"]

#: How most jobs come out.
COMPLETED = Exit("COMPLETED", "OK")


def close_steps(record: JobRecord, state: State, exit_: Exit, now: int) -> None:
    """End the steps that the body left open, as the job ends."""
    for place, step in enumerate(record.steps):
        if step.state is State.RUNNING:
            record.steps[place] = msgspec.structs.replace(
                step,
                state=state,
                exit=exit_,
                time_finished=Date(now),
                time_modified=Date(now),
            )


def exit_of(
    record: JobRecord, roles: Mapping[str, CountRole], chosen: Exit | None
) -> Exit:
    """Say how a job that returned came out.

    Args:
        record: the job.
        roles: what its counts mean.
        chosen: what its body said.
    """
    if chosen is not None:
        return chosen
    failed = bool(record.counts) and any(
        number > 0 and roles.get(name, name) == CountRole.FAILED
        for name, number in record.counts.items()
    )
    if record.item_errors or failed:
        return Exit("COMPLETED_WITH_ERRORS", "COMPLETED_WITH_ERRORS")
    return COMPLETED
