"""One table for all: total over what a job can be, and final where a job is final."""

from typing import Any

import pytest
from jobs_records import make_record

from middlewared import Date
from middlewared_dialects.vocabulary import VOCABULARY, words_of, words_of_step
from middlewared_jobs import Exit, Phase, State, StepRecord
from middlewared_jobs.states import FINAL

ROWS = sorted(VOCABULARY.items(), key=str)


def test_every_phase_has_its_rows() -> None:
    """No phase is without words, and only those that end have an exit."""
    assert {phase for phase, _ in VOCABULARY} == set(Phase)
    ended = {phase for phase, kind in VOCABULARY if kind is not None}
    assert ended == {Phase.FINISHED, Phase.ABORTED}
    assert len([k for p, k in VOCABULARY if p in ended and k is None]) == 0


@pytest.mark.parametrize(("key", "words"), ROWS)
def test_words_are_those_of_the_record(key: Any, words: Any) -> None:
    """A record in this phase with this exit gets these words."""
    phase, kind = key
    exit_ = None if kind is None else Exit(kind, "CODE")
    for state in words.states:
        record = make_record(1, phase=phase, exit=exit_, state=state)
        assert words_of(record) is words


@pytest.mark.parametrize(
    ("dialect", "final"),
    [
        ("webex", {"COMPLETED", "FAILED", "ABANDONED"}),
        ("arcgis", {"COMPLETED", "FAILED"}),
        ("ocapi", {"finished", "aborted"}),
        ("infolink", {"completed", "completedWithError", "stopped"}),
    ],
)
def test_final_is_final_everywhere(dialect: str, final: set[str]) -> None:
    """A client of a dialect stops to ask exactly when the job has ended."""
    for _, words in ROWS:
        said = getattr(words, dialect)
        word = said.execution_status if dialect == "ocapi" else said.status
        assert (word in final) is (words.states <= FINAL), word


@pytest.mark.parametrize("dialect", ["webex", "arcgis", "ocapi", "infolink"])
def test_words_lead_back_to_the_native_state(dialect: str) -> None:
    """Whatever a dialect says of an ended job names one native state, or says so.

    InfoLink has one word for a failure and for a success with errors (settled
    conflict 30); ArcGIS shows by ``isCancelled`` which failure is an abort.
    """
    meanings: dict[Any, set[State]] = {}
    for _, words in ROWS:
        if words.states <= FINAL:
            meanings.setdefault(getattr(words, dialect), set()).update(words.states)
    ambiguous = {said for said, states in meanings.items() if len(states) > 1}
    expected = 1 if dialect == "infolink" else 0
    assert len(ambiguous) == expected


def test_steps_have_words() -> None:
    """As they wait, run and end."""
    step = StepRecord(id=1, name="scan", time_started=Date(1))
    assert words_of_step(step).ocapi.execution_status == "pending"
    step.state = State.RUNNING
    assert words_of_step(step).webex.status == "STARTED"
    step.state, step.exit = State.ABORTED, Exit("STOPPED", "ABORTED")
    assert words_of_step(step).webex.status == "ABANDONED"
    step.state, step.exit = State.FAILED, Exit("FAILED", "ERROR", "no disk")
    assert words_of_step(step).ocapi.exit == "error"
