"""The end of a job as whoever waited for it inside the server gets it."""

from middlewared_jobs.outcome import abort_error, encoding_error, rebuild_error
from middlewared_jobs.record import JobRecord
from middlewared_jobs.run import Run
from middlewared_jobs.states import State

__all__ = ["check_succeeded"]


def check_succeeded(record: JobRecord, run: Run | None) -> None:
    """Let a job pass that has succeeded and whose result can be told.

    Args:
        record: of the job, which has ended.
        run: what is still in memory of it.

    Raises:
        Exception: what its body raised; from history, an error with the same text.
        CallError: ECANCELED, it was aborted; EMSGSIZE, its result is too large.
        InternalError: its result cannot be encoded.
    """
    if record.state is State.ABORTED:
        raise abort_error(record)
    if record.state is State.FAILED:
        raise (run.error if run and run.error else rebuild_error(record))
    if record.result_encoding_error is not None:
        raise encoding_error(record)
