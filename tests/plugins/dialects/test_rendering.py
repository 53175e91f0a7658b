"""Every job that there can be renders in every dialect, as its schema says."""

import datetime as dt
import os
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs_records import EPOCH, records
from jobs_stage import running_world
from jsonschema import Draft202012Validator
from msgspec.structs import replace
from openapi_spec_validator import validate

from middlewared import Date
from middlewared_dialects.arcgis.description import SCHEMAS as ARCGIS
from middlewared_dialects.arcgis.documents import job_of
from middlewared_dialects.arcgis.publication import ArcgisPublication
from middlewared_dialects.describing import DOCUMENTS
from middlewared_dialects.infolink.description import SCHEMAS as INFOLINK
from middlewared_dialects.infolink.documents import activity_of, status_of, zone_of
from middlewared_dialects.infolink.publication import InfolinkPublication
from middlewared_dialects.ocapi.description import SCHEMAS as OCAPI
from middlewared_dialects.ocapi.documents import execution_of, with_state
from middlewared_dialects.ocapi.publication import OcapiPublication
from middlewared_dialects.organisation import Organisation
from middlewared_dialects.spelling import job_uid
from middlewared_dialects.vocabulary import VOCABULARY, words_of
from middlewared_dialects.webex.description import SCHEMAS as WEBEX
from middlewared_dialects.webex.documents import Rendering
from middlewared_dialects.webex.families import FAMILIES
from middlewared_jobs import Exit, JobRecord, State, StepRecord
from middlewared_jobs.states import FINAL

SOAK = bool(os.environ.get("SOAK"))
UID = "ff0e7d66-904e-4ddb-b2e5-9dc4894d6999"
ORGANISATION = "02124eef-8af7-489c-805b-63cc64018940"
NOW = EPOCH + 100
_EXITS: dict[State, Exit] = {
    State.SUCCESS: Exit("COMPLETED", "OK"),
    State.FAILED: Exit("FAILED", "ERROR", "broken"),
    State.ABORTED: Exit("STOPPED", "ABORTED"),
}


class Nobody(Organisation):
    """An organisation without accounts."""

    def __init__(self) -> None:
        self.id = ORGANISATION

    def user_id(self, account: int | None) -> str:
        """Give everybody one uuid."""
        return UID


def as_lived(step: StepRecord) -> StepRecord:
    """Give a step the times and the exit that its state has."""
    begun = step.state is not State.WAITING
    ended = step.state in _EXITS
    return replace(
        step,
        exit=_EXITS.get(step.state),
        time_started=Date(EPOCH) if begun else None,
        time_finished=Date(EPOCH + 5) if ended else None,
    )


@st.composite
def lived(draw: st.DrawFn) -> JobRecord:
    """Draw a job in a phase that it can be in, with the exit of that phase."""
    (phase, kind), words = draw(st.sampled_from(sorted(VOCABULARY.items(), key=str)))
    (state,) = words.states
    record = draw(records(7, final=state in _EXITS))
    ended = state in _EXITS
    return replace(
        record,
        uid=UID,
        state=state,
        phase=phase,
        exit=None if kind is None else Exit(kind, draw(st.sampled_from(["OK", "X"]))),
        time_started=None if phase == "pending" else Date(EPOCH),
        time_finished=Date(EPOCH + 9) if ended else None,
        error="broken" if state is State.FAILED else None,
        result=record.result if state is State.SUCCESS else msgspec.Raw(b"null"),
        result_encoding_error=None,
        steps=[as_lived(step) for step in record.steps],
        counts={"moved": 1} if record.counts else {},
    )


def fits(document: Any, name: str, schemas: Mapping[str, Any]) -> None:
    """Check a document against a schema of its dialect."""
    plain = msgspec.json.decode(msgspec.json.encode(document))
    whole = {
        "$ref": f"#/components/schemas/{name}",
        "components": {"schemas": dict(schemas)},
    }
    Draft202012Validator(whole).validate(plain)


@settings(max_examples=60, deadline=None)
@given(record=lived(), family=st.sampled_from(sorted(FAMILIES)))
def test_webex_documents_fit(record: JobRecord, family: str) -> None:
    """Started, listed and shown; the id leads back to the job, the words to its row."""
    rendering = Rendering(FAMILIES[family], Nobody(), NOW)
    fits(rendering.started(record), "Job", WEBEX)
    fits(rendering.listed(record, [record]), "ListedJob", WEBEX)
    shown = rendering.by_id(record, [record, record])
    fits(shown, "Job", WEBEX)
    assert job_uid(shown["id"]) == record.uid
    said = (shown["latestExecutionStatus"], shown["latestExecutionExitCode"])
    words = words_of(record).webex
    assert said == (words.status, words.exit_code)


@settings(max_examples=60, deadline=None)
@given(record=lived())
def test_arcgis_documents_fit(record: JobRecord) -> None:
    """Codes are parallel to messages, and steps are counted."""
    shown = job_of(record, ArcgisPublication("services/x", "x"))
    fits(shown, "JobDocument", ARCGIS)
    attributes = shown.custom_attributes
    assert len(attributes["messageCodes"]) == len(shown.messages)
    assert 0 <= attributes["stepsCompleted"] <= attributes["totalSteps"]
    assert job_uid(shown.job_id) == record.uid


@settings(max_examples=60, deadline=None)
@given(record=lived())
def test_ocapi_documents_fit(record: JobRecord) -> None:
    """With a resource state that is the same for the same job at another time."""
    options = OcapiPublication("X")
    shown = with_state(execution_of(record, options, ["a", "b"], NOW))
    fits(shown, "job_execution", OCAPI)
    later = with_state(execution_of(record, options, ["a", "b"], NOW + 50))
    assert shown["_resource_state"] == later["_resource_state"]
    assert ("exit_status" in shown) is (record.exit is not None)
    assert shown["id"] == str(record.id)


@settings(max_examples=60, deadline=None)
@given(record=lived())
def test_infolink_documents_fit(record: JobRecord) -> None:
    """Status and line in the log; results only of jobs that succeeded."""
    status = status_of(record)
    fits(status, "JobStatus", INFOLINK)
    line = activity_of(record, InfolinkPublication(), zone_of("Europe/Berlin"))
    fits(line, "Activity", INFOLINK)
    assert line.status == status.status
    assert (status.results is not msgspec.UNSET) is (record.state is State.SUCCESS)


class Reading(msgspec.Struct, frozen=True):
    """What a client makes of a document, with nothing but the document.

    Attributes:
        number: what it asks for the job with.
        final: it stops to ask.
        rows: of the table, with these words.
        started: milliseconds since 1970-01-01 UTC.
        ended: the same, None before the end.
    """

    number: str
    final: bool
    rows: set[Any]
    started: int
    ended: int | None


def rows(dialect: str, *words: Any) -> set[Any]:
    """Find the rows of the table in which a dialect has these words."""
    return {
        (row, state)
        for row, all_words in VOCABULARY.items()
        if msgspec.structs.astuple(getattr(all_words, dialect))[: len(words)] == words
        for state in all_words.states
    }


def ms(text: str | None) -> int | None:
    """Read a time in ISO 8601."""
    if text is None:
        return None
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def read_webex(record: JobRecord) -> Reading:
    """Read as wxc_sdk's callers do: until status is one of three."""
    rendering = Rendering(FAMILIES["person/moveLocation"], Nobody(), NOW)
    shown = rendering.by_id(record, [record])
    (execution,) = shown["jobExecutionStatus"]
    status, code = shown["latestExecutionStatus"], shown["latestExecutionExitCode"]
    assert (execution["statusMessage"], execution["exitCode"]) == (status, code)
    assert shown["counts"] == record.counts
    return Reading(
        shown["id"],
        status in ("COMPLETED", "FAILED", "ABANDONED"),
        rows("webex", status, code),
        ms(execution["startTime"]) or 0,
        ms(execution.get("endTime")),
    )


def read_arcgis(record: JobRecord) -> Reading:
    """Read as Esri's MissionJob does: until it is no longer submitted or processed."""
    shown = msgspec.to_builtins(job_of(record, ArcgisPublication("services/x", "x")))
    cancelled = shown["customAttributes"]["isCancelled"]
    return Reading(
        shown["jobId"],
        shown["status"] in ("COMPLETED", "FAILED"),
        rows("arcgis", shown["status"], cancelled),
        shown["startTime"],
        shown["endTime"] or None,
    )


def read_ocapi(record: JobRecord) -> Reading:
    """Read as sfcc-ci does: aborted, finished, or wait; the exit tells how it went."""
    shown = with_state(execution_of(record, OcapiPublication("X"), ["a", "b"], NOW))
    status = shown["execution_status"]
    exit_status = shown.get("exit_status", {"status": None, "code": status.upper()})
    assert shown["status"] == exit_status["code"]
    return Reading(
        shown["id"],
        status in ("aborted", "finished"),
        rows("ocapi", status, exit_status["status"]),
        ms(shown["start_time"]) or 0,
        ms(shown.get("end_time")),
    )


def read_infolink(record: JobRecord) -> Reading:
    """Read status and activity log; with errors, results tell a success."""
    berlin = zone_of("Europe/Berlin")
    status = msgspec.to_builtins(status_of(record))
    line = msgspec.to_builtins(activity_of(record, InfolinkPublication(), berlin))

    def moment(text: str | None) -> int | None:
        if text is None:
            return None
        local = dt.datetime.fromisoformat(text).replace(tzinfo=berlin)
        return round(local.timestamp() * 1000)

    said = rows("infolink", status["status"])
    if status["status"] == "completedWithError":
        good = "results" in status
        said = {(row, s) for row, s in said if (s is State.SUCCESS) is good}
    return Reading(
        line["jobId"],
        status["status"] in ("completed", "completedWithError", "stopped"),
        said,
        moment(line["startTime"]) or 0,
        moment(line.get("endTime")),
    )


@settings(max_examples=300 if SOAK else 60, deadline=None)
@given(record=lived())
@pytest.mark.parametrize(
    "read",
    [read_webex, read_arcgis, read_ocapi, read_infolink],
    ids=lambda r: r.__name__,
)
def test_documents_lead_back_to_the_job(
    read: Callable[[JobRecord], Reading], record: JobRecord
) -> None:
    """The same job, times, end and state; a final one is final for every client."""
    found = read(record)
    kind = None if record.exit is None else record.exit.kind
    assert job_uid(found.number) == record.uid or found.number == str(record.id)
    assert ((record.phase, kind), record.state) in found.rows
    assert found.final is record.final
    states = {state for _, state in found.rows}
    assert (states == {record.state}) if record.final else states.isdisjoint(FINAL)
    assert found.started == (record.time_started or record.time_created).ms
    assert found.ended == (record.time_finished and record.time_finished.ms)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_documents_are_openapi(path: str) -> None:
    """By the judge of the specification."""
    validate(DOCUMENTS[path])


async def test_documents_are_served() -> None:
    """To everybody."""
    async with (
        running_world() as world,
        httpx.AsyncClient(base_url=world.server.url, trust_env=False) as http,
    ):
        for path, document in DOCUMENTS.items():
            found = (await http.get(path)).json()
            assert found == document | {"servers": [{"url": "/"}]}
