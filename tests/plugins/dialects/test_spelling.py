"""Ids and times as the dialects spell them, with the samples of the originals."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared import Date
from middlewared_dialects.spelling import (
    duration_ms,
    elapsed,
    iso,
    job_uid,
    read_webex_id,
    webex_id,
)

SAMPLE = (
    "Y2lzY29zcGFyazovL3VzL0pPQl9JRC9mZjBlN2Q2Ni05MDRlLTRkZGItYjJlNS05ZGM0ODk0ZDY5OTk"
)
UID = "ff0e7d66-904e-4ddb-b2e5-9dc4894d6999"


def test_webex_ids_are_those_of_the_sample() -> None:
    """The published example, both ways."""
    assert webex_id("JOB_ID", UID) == SAMPLE
    assert read_webex_id(SAMPLE) == ("JOB_ID", UID)


@given(st.uuids(), st.sampled_from(["JOB_ID", "PEOPLE", "ORGANIZATION"]))
def test_webex_ids_lead_back(number: uuid.UUID, kind: str) -> None:
    """What was spelled is read, and has no padding."""
    spelled = webex_id(kind, str(number))
    assert "=" not in spelled
    assert read_webex_id(spelled) == (kind, str(number))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing that a client sends as an id is an error of ours."""
    assert read_webex_id(text) is None or text
    assert job_uid(text) is None or text


@pytest.mark.parametrize("text", [UID, f"j{UID}", SAMPLE, UID.upper()])
def test_uids_are_read_in_every_spelling(text: str) -> None:
    """Of all dialects."""
    assert job_uid(text) == UID


def test_ids_of_others_name_no_job() -> None:
    """A person is no job."""
    assert job_uid(webex_id("PEOPLE", UID)) is None
    assert job_uid("5") is None


def test_times_are_those_of_the_samples() -> None:
    """Milliseconds and a Z; lengths without zeros at the end."""
    assert iso(Date(1456998366357)) == "2016-03-03T09:46:06.357Z"
    assert iso(Date(0)) == "1970-01-01T00:00:00.000Z"
    spelled = [elapsed(ms) for ms in (0, 2752, 10300, 60000, 5)]
    assert spelled == ["PT0S", "PT2.752S", "PT10.3S", "PT60S", "PT0.005S"]


def test_durations_count_from_the_start() -> None:
    """To the end, or to now; nothing before the start, and never back in time."""
    assert duration_ms(None, None, 50) == 0
    assert duration_ms(Date(10), None, 50) == 40
    assert duration_ms(Date(10), Date(30), 50) == 20
    assert duration_ms(Date(60), None, 50) == 0
