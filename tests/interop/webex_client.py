"""A client of Webex's own SDK, unmodified but for the address; prints what it saw.

Run as ``webex_client.py URL TOKEN FOLDER JOB``, JOB being one of recordings: in a
process of its own, since the SDK and its dependencies have warnings of theirs.
"""

# mypy: disable-error-code="union-attr, index, call-arg, arg-type, attr-defined"

import base64
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wxc_sdk import WebexSimpleApi
from wxc_sdk.common import DeviceCustomization, DeviceCustomizations
from wxc_sdk.rest import RestError, RestSession
from wxc_sdk.telephony.jobs import (
    ApplyLineKeyTemplateAction,
    DynamicSettingsUpdateJobItem,
    JobsApi,
    MoveUser,
    MoveUsersList,
    NumberItem,
    SetOrClear,
)

ORGANISATION = (
    base64.urlsafe_b64encode(
        b"ciscospark://us/ORGANIZATION/02124eef-8af7-489c-805b-63cc64018940"
    )
    .decode()
    .rstrip("=")
)
FINAL = ("COMPLETED", "FAILED", "ABANDONED")
PATIENCE = 20.0

Ask = Callable[[], Any]


def until(ask: Ask, *wanted: tuple[str, str | None]) -> Any:
    """Ask until status and exit code are wanted ones; without any, until the end."""
    deadline, job = time.monotonic() + PATIENCE, None
    while time.monotonic() < deadline:
        job = ask()
        said = (job.latest_execution_status, job.latest_execution_exit_code)
        if said in wanted or (not wanted and said[0] in FINAL):
            return job
        time.sleep(0.02)
    raise AssertionError(f"{wanted} did not come, the last was {job}")


def move(good: str, bad: str, *, validate: bool) -> list[MoveUsersList]:
    """Give a move of two users."""
    users = [
        MoveUser(user_id="good", phone_number=good),
        MoveUser(user_id="bad", phone_number=bad),
    ]
    return [MoveUsersList(location_id="LOC", validate_only=validate, users=users)]


def status_of(work: Ask) -> int:
    """Give the HTTP status of what has to be refused."""
    try:
        work()
    except RestError as exc:
        return int(exc.response.status_code)
    return 0


def move_users(jobs: JobsApi) -> Any:
    """Check a move, start it, follow it, list it and its errors."""
    api = jobs.move_users
    wrong = [MoveUsersList(location_id="LOC", validate_only=True, users=[])]
    one = [MoveUser(user_id="bad", phone_number="12")]
    checked = api.validate_or_initiate(
        [MoveUsersList(location_id="LOC", validate_only=True, users=one)]
    )
    started = api.validate_or_initiate(
        move("+15551234567", "12", validate=False)
    ).job_details
    job = until(lambda: api.status(job_id=started.id))
    seen = {
        "checked": [(user.user_id, len(user.errors)) for user in checked.users_list],
        "name": job.name,
        "status": job.latest_execution_status,
        "exit": job.latest_execution_exit_code,
        "counts": [job.counts.total_moves, job.counts.moved, job.counts.failed],
        "steps": [s.name for s in job.job_execution_status[0].step_execution_statuses],
        "listed": [one.id == started.id for one in api.list()],
        "errors": [error.item for error in api.errors(job_id=started.id)],
        "pause": status_of(lambda: api.pause(job_id=started.id)),
        "wrong": status_of(lambda: api.validate_or_initiate(wrong)),
    }
    try:
        api.status(job_id="nothing")
    except RestError as exc:
        seen["unknown"] = exc.detail.description
    return seen


def manage_numbers(jobs: JobsApi, folder: Path) -> Any:
    """Start, pause, resume, abandon and resume again; a second start is refused."""
    api = jobs.manage_numbers
    numbers = [NumberItem(location_id="LOC", numbers=["+15551234567", "12"])]

    def start(gate: str) -> tuple[Any, Ask]:
        target = str(folder / gate)
        job = api.initiate_job("MOVE", numbers, target_location_id=target)
        assert job.job_type == "managenumbers"
        return job.id, lambda: api.status(job_id=job.id)

    number, ask = start("paused")
    until(ask, ("STARTED", "UNKNOWN"))
    seen: dict[str, Any] = {"second": status_of(lambda: start("other"))}
    api.pause(job_id=number)
    (folder / "paused").touch()
    paused = until(ask, ("STARTED", "STOPPED"))
    seen["paused"] = [
        step.exit_code
        for step in paused.job_execution_status[0].step_execution_statuses
    ]
    api.resume(job_id=number)
    done = until(ask)
    seen["resumed"] = [done.latest_execution_status, done.latest_execution_exit_code]
    seen["counts"] = [done.counts.total_numbers, done.counts.numbers_moved]
    seen["operation"] = done.operation_type
    seen["errors"] = [
        (error.item, error.error.key, error.error.message[0].location_id)
        for error in api.errors(job_id=number)
    ]
    number, ask = start("abandoned")
    until(ask, ("STARTED", "UNKNOWN"))
    api.abandon(job_id=number)
    seen["abandoned"] = until(ask).latest_execution_exit_code
    (folder / "abandoned").touch()
    api.resume(job_id=number)
    (newest, *_) = list(api.list(max=2))
    again = until(lambda: api.status(job_id=newest.id))
    seen["again"] = [e.status_message for e in again.job_execution_status]
    seen["listed"] = len(list(api.list(max=1)))
    return seen


def locations(jobs: JobsApi, folder: Path) -> Any:
    """Pause and resume a job whose actions are answered with 202."""
    api = jobs.disable_calling_location
    job = api.initiate(location_id=str(folder), location_name="gone")

    def ask() -> Any:
        return api.status(job_id=job.id)

    until(ask, ("STARTED", "UNKNOWN"))
    api.pause(job_id=job.id)
    for gate in ("first.1", "second.1"):
        (folder / f"gone.{gate}").touch()
    until(ask, ("STARTED", "STOPPED"))
    api.resume(job_id=job.id)
    done = until(ask)
    items = [error.item for error in api.errors(job_id=job.id)]
    listed = [one.id == job.id for one in api.list()]
    return [done.latest_execution_exit_code, items, listed]


def device_settings(jobs: JobsApi) -> Any:
    """Start a job that is answered with 200."""
    change = DeviceCustomization(
        customizations=DeviceCustomizations(),
        custom_enabled=False,
        update_in_progress=False,
    )
    api = jobs.device_settings
    job = api.change(location_id="L", customization=change)
    done = until(lambda: api.status(job_id=job.id))
    errors = list(api.errors(job_id=job.id))
    listed = [one.id == job.id for one in api.list()]
    return [done.latest_execution_exit_code, done.target, listed, errors]


def devices(jobs: JobsApi) -> Any:
    """Run a job of each of the other families of devices."""
    tag = DynamicSettingsUpdateJobItem(
        family_or_model_display_name="X", tag="%A%", action=SetOrClear.set, value="1"
    )
    template = ApplyLineKeyTemplateAction.apply_template
    keys, phones = jobs.apply_line_key_templates, jobs.rebuild_phones
    dynamic = jobs.dynamic_device_settings
    started = [
        (keys, keys.apply(template, template_id="T")),
        (phones, phones.rebuild_phones_configuration("L")),
        (dynamic, dynamic.update_across_org_or_location([tag])),
    ]
    return [follow(api, start.id) for api, start in started]


def follow(api: Any, number: str) -> Any:
    """Follow a job to its end; give what it, its list and its errors say."""
    done = until(lambda: api.status(job_id=number))
    return [
        *(done.name, done.latest_execution_exit_code, done.percentage_complete),
        [one.id == number for one in api.list()],
        [error.item for error in api.errors(job_id=number)],
    ]


def invites(jobs: JobsApi) -> Any:
    """Send activation mails again, for an organisation."""
    api = jobs.activation_emails
    start = api.start(ORGANISATION)
    done = until(lambda: api.status(ORGANISATION, start.id))
    errors = [error.item for error in api.errors(ORGANISATION, start.id)]
    target = done.target_customer_id == ORGANISATION
    return [done.latest_execution_exit_code, done.counts.total_users, target, errors]


def started_elsewhere(jobs: JobsApi, number: str) -> Any:
    """Follow jobs that are not started here."""
    (listed,) = jobs.update_routing_prefix.list()
    prefix = jobs.update_routing_prefix.status(job_id=listed.id)
    # The SDK asks for a list of recording jobs at a path that there is not.
    recording = jobs.call_recording.status(job_id=number)
    return [
        *(prefix.name, prefix.counts.routing_prefix_updated),
        [error.item for error in jobs.update_routing_prefix.errors(listed.id)],
        *(recording.name, recording.counts.updated_users),
        [error.item for error in jobs.call_recording.errors(job_id=number)],
    ]


def main(url: str, token: str, folder: str, number: str) -> None:
    """Use every family of the SDK's jobs."""
    RestSession.BASE = f"{url}/v1"
    jobs = WebexSimpleApi(tokens=token).telephony.jobs
    seen = {
        "move_users": move_users(jobs),
        "manage_numbers": manage_numbers(jobs, Path(folder)),
        "locations": locations(jobs, Path(folder)),
        "device_settings": device_settings(jobs),
        "devices": devices(jobs),
        "invites": invites(jobs),
        "elsewhere": started_elsewhere(jobs, number),
    }
    print(json.dumps(seen))  # noqa: T201 - its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
