"""Every job that there can be renders in every dialect, as its schema says."""

from collections.abc import Mapping
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
