"""A client of Webex's own SDK, unmodified but for the address; prints what it saw.

Run as ``webex_client.py URL TOKEN``: in a process of its own, since the SDK and its
dependencies have warnings of theirs.
"""

# mypy: disable-error-code="union-attr, index, call-arg"

import json
import sys
import time

from wxc_sdk import WebexSimpleApi
from wxc_sdk.rest import RestError, RestSession
from wxc_sdk.telephony.jobs import MoveUser, MoveUsersList


def main(url: str, token: str) -> None:
    """Move users, follow the job, list it and its errors, pause and resume one."""
    RestSession.BASE = f"{url}/v1"
    api = WebexSimpleApi(tokens=token).telephony.jobs.move_users
    users = [
        MoveUser(user_id="good", phone_number="+15551234567"),
        MoveUser(user_id="bad", phone_number="12"),
    ]
    move = MoveUsersList(location_id="LOC", validate_only=False, users=users)
    started = api.validate_or_initiate([move]).job_details
    job = api.status(job_id=started.id)
    while job.latest_execution_status not in ("COMPLETED", "FAILED", "ABANDONED"):
        time.sleep(0.05)
        job = api.status(job_id=started.id)
    seen = {
        "name": job.name,
        "status": job.latest_execution_status,
        "exit": job.latest_execution_exit_code,
        "moved": job.counts.moved,
        "failed": job.counts.failed,
        "steps": [s.name for s in job.job_execution_status[0].step_execution_statuses],
        "listed": [one.id == started.id for one in api.list()],
        "errors": [error.item for error in api.errors(job_id=started.id)],
    }
    try:
        api.pause(job_id=started.id)
    except RestError as exc:
        seen["pause"] = exc.response.status_code
    try:
        api.status(job_id="nothing")
    except RestError as exc:
        seen["unknown"] = exc.detail.description
    print(json.dumps(seen))  # noqa: T201 - its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
