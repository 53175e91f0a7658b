"""A plugin for tests of the dialects: jobs in every one of them, and Webex families.

Bodies wait for files: where the file is does not matter, so that a test in another
process lets them go on.
"""

from pathlib import Path
from typing import Any

import anyio
import msgspec

from middlewared import Plugin
from middlewared_auth import JOB_USER
from middlewared_jobs import Backoff, Job, job

plugin = Plugin("views", requires=("jobs", "dialects"))

#: Folders above a file that a test makes, at least.
DEEP = 4
#: Counts of jobs that the settings file publishes, see `views_server`.
_OTHERS = {
    "line_keys": (),
    "phones": (),
    "dynamic": (),
    "prefix": ("routingPrefixUpdated", "routingPrefixFailed"),
    "recording": ("totalNumberOfUsers", "updatedUsers"),
    "invites": ("userResendInviteSent", "totalUsers"),
}


class Place(msgspec.Struct, rename="camel"):
    """What to watch: files in a folder, named after a job and what it waits for.

    Attributes:
        location_id: the folder; without one nothing is waited for.
        location_name: name of the job.
        force_delete: only for the original.
    """

    location_id: str
    location_name: str = "job"
    force_delete: bool = False

    def file(self, what: str) -> str:
        """Give the path of a file."""
        return str(Path(self.location_id, f"{self.location_name}.{what}"))


class NumberList(msgspec.Struct, rename="camel"):
    """Numbers of a place."""

    location_id: str
    numbers: list[str]


class Numbers(msgspec.Struct, rename="camel"):
    """Numbers that move, when the file that is their target is there."""

    operation: str
    number_list: list[NumberList]
    target_location_id: str = ""
    number_usage_type: str = "NONE"


async def _await_file(path: str) -> None:
    """Wait for a file, if it could be in the folder of a test."""
    awaited = anyio.Path(path)
    if len(awaited.parents) < DEEP or not await awaited.parent.is_dir():
        return
    while not await awaited.exists():  # noqa: ASYNC110 - another process makes it
        await anyio.sleep(0.01)


async def _pass(place: Place, gate: str) -> None:
    """Wait for the gate; an abort waits for a gate of its own."""
    try:
        await _await_file(place.file(gate))
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await _await_file(place.file("abort"))
        raise


@plugin.method(roles=[JOB_USER])
@job(
    lock="views",
    abortable=True,
    pausable=True,
    restartable=True,
    retries=1,
    backoff=Backoff(first=0.01),
    steps=["first", "second"],
    counts={"done": "ok", "failed": "failed"},
    dialects={
        "webex": {"family": "locations/deleteCallingLocation", "body": "place"},
        "arcgis": {"operation": "services/gated", "type": "gated"},
        "ocapi": {"job_id": "Gated"},
        "infolink": {"app": "7", "op": "Gated"},
    },
)
async def gated(job: Job, place: Place) -> str:
    """Wait for a gate in each of two steps; a file ``NAME.fail`` makes it fail."""
    for name in ("first", "second"):
        async with job.step(name) as step:
            if step.skipped:
                continue
            job.message(1500, f"{name} begins")
            await _pass(place, f"{name}.{job.attempt}")
            if await anyio.Path(place.file("fail")).exists():
                raise ValueError(f"{name} is broken")
            job.count("done")
    job.error_item("row 1", "E1", "is bad")
    job.count("failed")
    return place.location_name


@plugin.method(roles=[JOB_USER])
@job(
    lock="alone",
    lock_queue_size=0,
    abortable=True,
    dialects={
        "webex": {"family": "devices/callDeviceSettings"},
        "arcgis": {"operation": "services/alone", "type": "alone"},
        "ocapi": {"job_id": "Alone"},
        "infolink": {"app": "7", "op": "Alone"},
    },
)
async def alone(
    job: Job,
    locationId: str = "",  # noqa: N803 - the wire's word
    locationCustomizationsEnabled: bool = False,  # noqa: N803 - the wire's word
    customizations: dict[str, Any] = {},  # noqa: B006 - never changed
) -> None:
    """Wait for the file *locationId*, alone."""
    job.set_attribute("target", "LOCATION" if locationId else "CUSTOMER")
    job.set_attribute("locationCustomizationsEnabled", locationCustomizationsEnabled)
    await _await_file(locationId)


@plugin.method(roles=[JOB_USER])
@job(
    abortable=True,
    pausable=True,
    restartable=True,
    lock="numbers",
    lock_queue_size=0,
    steps=["prepare", "move"],
    counts=["totalNumbers", "numbersMoved", "numbersFailed"],
    dialects={"webex": {"family": "numbers/manageNumbers", "body": "body"}},
)
async def numbers(job: Job, body: Numbers) -> None:
    """Move numbers; those that do not begin with + fail."""
    job.set_attribute("operationType", body.operation)
    job.set_attribute("targetLocationId", body.target_location_id)
    async with job.step("prepare") as step:
        if not step.skipped:
            every = [number for one in body.number_list for number in one.numbers]
            job.count("totalNumbers", len(every))
            await _await_file(body.target_location_id)
    async with job.step("move"):
        for one in body.number_list:
            for number in one.numbers:
                if number.startswith("+"):
                    job.count("numbersMoved")
                    continue
                job.count("numbersFailed")
                text = f"{number} is no E.164 number"
                job.error_item(number, "BATCH-1017023", text, location=one.location_id)


def _add(name: str, counts: tuple[str, ...]) -> None:
    """Declare a job that ends at once, with one item that failed."""

    @plugin.method(roles=[JOB_USER], name=name)
    @job(abortable=True, counts=list(counts))
    async def run(job: Job, body: dict[str, Any] = {}) -> None:  # noqa: B006 - never changed
        """Count once, and fail at one item."""
        for count in counts:
            job.count(count)
        job.error_item("one", "BATCH-0", "is bad", location="L1")


for _name, _counts in _OTHERS.items():
    _add(_name, _counts)
