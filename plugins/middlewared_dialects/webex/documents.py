"""The documents of the Webex dialect, and what they say of a job."""

from collections.abc import Sequence
from typing import Any

from middlewared import Date
from middlewared_dialects.organisation import Organisation
from middlewared_dialects.spelling import elapsed, iso, webex_id
from middlewared_dialects.vocabulary import WebexWords, words_of, words_of_step
from middlewared_dialects.webex.families import Family
from middlewared_jobs import ItemError, JobRecord, StepRecord

__all__ = [
    "Document",
    "Rendering",
    "error_item",
    "errors_page",
    "failure_item",
]

Document = dict[str, Any]
#: Attributes of a record that its family shows as members of their own.
EXTRAS = (
    "operationType",
    "sourceLocationId",
    "targetLocationId",
    "target",
    "locationId",
    "locationName",
    "deviceCount",
    "locationCustomizationsEnabled",
    "updatedCount",
    "advisoryCount",
    "vendorId",
    "allowAdminInviteEmails",
    "csvFile",
    "csvFileExpiryTime",
    "fileFormat",
)

#: The same, but only where a job is shown by its id.
ALONE = ("csvFileDownloadUrl",)


def tracking_id(record: JobRecord) -> str:
    """Give the tracking id of a job; one of its own when its caller gave none."""
    return record.tracking_id or f"NA_{record.uid}"


class Rendering:
    """Renders jobs of one family.

    Args:
        family: the family.
        organisation: who the installation is.
        now: milliseconds since 1970-01-01 UTC.
    """

    def __init__(self, family: Family, organisation: Organisation, now: int) -> None:
        self._family = family
        self._organisation = organisation
        self._now = now

    def started(self, record: JobRecord) -> Document:
        """Give the job as a start answers it (StartJobResponseObject)."""
        return self._job(record, [self._start_execution(record)], named=True)

    def listed(self, record: JobRecord, executions: Sequence[JobRecord]) -> Document:
        """Give the job as lists show it: without its name."""
        return self._job(record, self._executions(executions), named=False)

    def by_id(self, record: JobRecord, executions: Sequence[JobRecord]) -> Document:
        """Give the job as it is shown by its id."""
        job = self._job(record, self._executions(executions), named=True)
        return job | {n: record.attributes[n] for n in ALONE if n in record.attributes}

    def _job(
        self, record: JobRecord, executions: list[Document], *, named: bool
    ) -> Document:
        family, organisation = self._family, self._organisation
        words = words_of(record).webex
        source = record.source_customer or organisation.id
        target = record.target_customer or organisation.id
        job: Document = {"name": family.name} if named else {}
        job["id"] = webex_id("JOB_ID", record.uid)
        if family.job_type:
            job["jobType"] = family.name
        job |= {
            "trackingId": tracking_id(record),
            "sourceUserId": webex_id("PEOPLE", organisation.user_id(record.owner)),
            "sourceCustomerId": webex_id("ORGANIZATION", source),
            "targetCustomerId": webex_id("ORGANIZATION", target),
            "instanceId": record.instance or record.id,
            "jobExecutionStatus": executions,
            "latestExecutionStatus": words.status,
            "latestExecutionExitCode": words.exit_code,
            "counts": dict(record.counts),
        }
        if family.percentage:
            job["percentageComplete"] = record.progress.percent or 0
        return job | {n: record.attributes[n] for n in EXTRAS if n in record.attributes}

    def _start_execution(self, record: JobRecord) -> Document:
        """Give an execution as a start shows it: without end and steps."""
        shown = self._execution(record)
        shown.pop("endTime", None)
        shown.pop("stepExecutionStatuses", None)
        return shown

    def _executions(self, records: Sequence[JobRecord]) -> list[Document]:
        return [self._execution(record) for record in records]

    def _execution(self, record: JobRecord) -> Document:
        steps = self._steps(record)
        busy = sum(ms for _, ms in steps)
        modified = record.time_modified or record.time_created
        return {
            "id": record.id,
            "startTime": iso(record.time_started or record.time_created),
            **_ended(record.time_finished),
            "lastUpdated": iso(modified),
            **_words(words_of(record).webex),
            "createdTime": iso(record.time_created),
            "timeElapsed": elapsed(busy),
            **({"stepExecutionStatuses": [step for step, _ in steps]} if steps else {}),
        }

    def _steps(self, record: JobRecord) -> list[tuple[Document, int]]:
        """Give the steps that have begun, and how long each took in milliseconds.

        A job without steps has one that is the whole of it.
        """
        if not record.steps and record.time_started is not None:
            return [self._whole(record)]
        begun = [step for step in record.steps if step.time_started is not None]
        return [self._step(step) for step in begun]

    def _step(self, step: StepRecord) -> tuple[Document, int]:
        assert step.time_started is not None  # noqa: S101 - it has begun
        return self._one(
            step.id,
            step.name,
            step.time_started,
            step.time_finished,
            step.time_modified or step.time_started,
            words_of_step(step).webex,
        )

    def _whole(self, record: JobRecord) -> tuple[Document, int]:
        assert record.time_started is not None  # noqa: S101 - it has begun
        return self._one(
            record.id,
            "Process",
            record.time_started,
            record.time_finished,
            record.time_modified or record.time_started,
            words_of(record).webex,
        )

    def _one(
        self,
        number: int,
        name: str,
        start: Date,
        end: Date | None,
        modified: Date,
        words: WebexWords,
    ) -> tuple[Document, int]:
        took = max(0, (self._now if end is None else end.ms) - start.ms)
        step = {
            "id": number,
            "startTime": iso(start),
            **_ended(end),
            "lastUpdated": iso(modified),
            **_words(words),
            "name": f"{self._family.name}{name}",
            "timeElapsed": elapsed(took),
        }
        return step, took


def _ended(end: Date | None) -> Document:
    return {} if end is None else {"endTime": iso(end)}


def _words(words: WebexWords) -> Document:
    return {"statusMessage": words.status, "exitCode": words.exit_code}


def error_item(record: JobRecord, error: ItemError) -> Document:
    """Give one item of a job's errors."""
    said = {
        "description": error.text,
        "code": error.code,
        "locationId": error.location,
        "location": error.location,
    }
    return {
        "itemNumber": error.seq,
        "item": error.item,
        "errorType": error.severity,
        "trackingId": f"{tracking_id(record)}_{error.seq}",
        "error": {"key": error.key, "message": [said]},
    }


def errors_page(items: list[Document], offset: int, limit: int, total: int) -> Document:
    """Give a page of errors."""
    paging: Document = {
        "next": [],
        "prev": None,
        "limit": limit,
        "offset": offset,
        "pages": None,
        "count": total,
    }
    return {"items": items, "paging": paging}


def failure_item(record: JobRecord) -> Document:
    """Give the failure of a whole job as an item of its errors."""
    code = record.exc_info.type if record.exc_info is not None else "FAILED"
    return error_item(record, ItemError(0, "", code, record.error or "", "500"))
