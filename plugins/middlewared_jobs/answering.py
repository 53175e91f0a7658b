"""What a call of a job method is answered: the id at once, or the end of the job."""

import logging
from functools import partial

from middlewared.call import Call
from middlewared_jobs.outcome import abort_error, encoding_error, rebuild_error
from middlewared_jobs.run import Run
from middlewared_jobs.states import State

__all__ = ["answer_accepted"]

logger = logging.getLogger(__name__)


def answer_accepted(call: Call, run: Run) -> None:
    """Answer with the id of a job that is on disk, or wait for its end to answer."""
    if call.legacy_jobs:
        call.finish_encoded(b"%d" % run.id)
    elif run.record.final:
        _answer_end(call, run)
    else:
        run.waiters += (partial(_answer_end, call, run),)


def _answer_end(call: Call, run: Run) -> None:
    record = run.record
    if record.state is State.ABORTED:
        call.fail(abort_error(record))
    elif record.state is State.FAILED:
        _answer_failure(call, run)
    elif run.clear is None:
        call.fail(encoding_error(record))
    else:
        call.finish_encoded(run.clear)


def _answer_failure(call: Call, run: Run) -> None:
    if run.error is not None:
        try:
            call.fail(run.error)
        except Exception:  # noqa: BLE001 - an author's exception without a text
            logger.debug("the error of job %d cannot be sent", run.id)
        else:
            return
    call.fail(rebuild_error(run.record))
